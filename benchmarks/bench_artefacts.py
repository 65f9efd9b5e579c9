"""What the blocks against artefacts cost at 64 channels, and what reconstruction leaves of bursts planted in real EEG.

Each block gets chunks of 32 samples at 1 kHz; the time is that of one chunk, the mean is processor time. Bursts of
noise, 100 to 1500 µV, 0.3 to 1.5 s, at a random place of the head, are planted into recordings of eegmmidb (a cap of 64
channels, 160 Hz), after the first 40 s, which calibrate, blinks and all. What is left is compared with the same
recording without bursts, repaired too. Below the cutoff of 20 standard deviations a burst passes: that is meant.
"""

import argparse
import time
from itertools import pairwise

import numpy as np

from bci.acquisition.replay import Replay
from bci.datasets.eegmmidb import Eegmmidb
from bci.signal.asr import Asr
from bci.signal.asr_calibration import calibrate
from bci.signal.chain import Chain
from bci.signal.detectors import BlinkDetector, JawDetector
from bci.signal.filters import Highpass
from bci.signal.places import directions
from bci.signal.regression import AdaptiveRegress, Regress
from bci.signal.reject import Reject
from bci.signal.spatial import Reference
from bci.signal.surface import Interpolate, SplineLaplacian
from bci.simulation.electrodes import names
from bci.stream import Channel, Chunk, Kind, StreamInfo

MOST_MS = 1.0
LEAST_REDUCTION, STRONG_UV = 10.0, 400.0
EEG = [n for n in names() if n not in ("T3", "T4", "T5", "T6")][:62]
INFO = StreamInfo("amp", 1000.0, (*(Channel(n) for n in EEG), Channel("VEOG", Kind.EOG), Channel("HEOG", Kind.EOG)))


def signal(n, seed=0):
    rng = np.random.default_rng(seed)
    return 10 * rng.standard_normal((n, 64)) @ np.random.default_rng(9).standard_normal((64, 64)) / 8


def cost(block, data):
    """Return the median of the time of a chunk, its 99th percentile, and the mean processor time, ms."""
    block.prepare(INFO)
    spent, busy = [], time.process_time()
    for k in range(len(data) // 32):
        chunk = Chunk(data[32 * k : 32 * k + 32], np.arange(32) / 1000, 32 * k, INFO)
        begin = time.perf_counter()
        block.process(chunk)
        spent.append(1000 * (time.perf_counter() - begin))
    busy = time.process_time() - busy
    return np.median(spent), np.percentile(spent, 99), 1000 * busy / len(spent)


def costs(n_chunks):
    data = signal(32 * n_chunks)
    bursts = data + 300 * np.outer(np.random.default_rng(1).standard_normal(len(data)), np.r_[1, 0.5, np.zeros(62)])
    clean = calibrate(signal(30000, 1), INFO)
    return [
        ("reconstruction, clean signal", cost(Asr(clean), data)),
        ("reconstruction, always repairing", cost(Asr(clean), bursts)),
        ("regression", cost(Regress().fit(data, INFO), data)),
        ("adaptive regression", cost(AdaptiveRegress(), data)),
        ("rejection", cost(Reject(), data)),
        ("blinks", cost(BlinkDetector(), data)),
        ("jaw", cost(JawDetector(), data)),
        ("spline Laplacian", cost(SplineLaplacian(), data)),
        ("interpolation", cost(Interpolate("C3"), data)),
        ("reference at infinity", cost(Reference("infinity"), data)),
    ]


def plant(shape, where, sfreq, rng):
    """Return bursts, shape (n_samples, n_channels), and where and how strong they are."""
    bursts, spans, at = np.zeros(shape), [], int(3 * sfreq)
    while at < shape[0] - 4 * sfreq:
        n = int(rng.uniform(0.3, 1.5) * sfreq)
        size = np.exp(rng.uniform(np.log(100), np.log(1500)))
        near = np.exp(-(1 - where @ where[rng.integers(len(where))]) / 0.1)
        bursts[at : at + n] = size * np.outer(rng.standard_normal(n), near)
        spans.append((at, at + n, size))
        at += n + int(rng.uniform(2, 5) * sfreq)
    return bursts, spans


def repair(person, run, seed):
    """Return size, reduction of power and correlation far away of each burst; the share repaired without any."""
    with Replay(Eegmmidb().path(person, run), chunk_samples=100_000) as device:
        info, samples = device.info, device.read(0.0).data
    moving = np.flatnonzero(np.diff(samples, axis=0).any(axis=1))
    data = Chain([Highpass(1.0)]).run(samples[: moving[-1] + 1], info)
    sfreq = info.sfreq
    first = round(40 * sfreq)
    clean = calibrate(data[round(sfreq) : first], info)
    rest = data[first:]
    where, _ = directions(info.channels)
    bursts, spans = plant(rest.shape, where, sfreq, np.random.default_rng(seed))
    plain, repaired = Asr(clean), Asr(clean)
    before = Chain([plain])
    before.prepare(info)
    times = np.arange(len(rest)) / sfreq
    untouched = before.process(Chunk(rest, times, 0, info)).data
    repaired.prepare(info)
    left = repaired.process(Chunk(rest + bursts, times, 0, info)).data
    late = round(plain.delay_s * sfreq)
    found = []
    for begin, end, size in spans:
        here = slice(begin + late, end + late)
        reduction = (bursts[begin:end] ** 2).sum() / ((left[here] - untouched[here]) ** 2).sum()
        far = (bursts[begin:end] ** 2).sum(axis=0) < 0.01 * rest[begin:end].var(axis=0) * (end - begin)
        alike = [np.corrcoef(left[here, c], untouched[here, c])[0, 1] for c in np.flatnonzero(far)]
        found.append((size, reduction, np.median(alike) if alike else np.nan))
    return found, plain.report()["repaired_s"] / plain.report()["seen_s"]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--chunks", type=int, default=2000)
    parser.add_argument("--people", type=int, default=20, help="how many recordings of eegmmidb, one of each person")
    settings = parser.parse_args()
    is_good = True
    print("64 channels, chunks of 32 samples   median    p99   mean ms")
    for name, (median, p99, mean) in costs(settings.chunks):
        print(f"{name:<35} {median:6.3f} {p99:6.3f} {mean:6.3f}")
        is_good &= median <= MOST_MS
    found, alone = [], []
    for k in range(settings.people):
        bursts, share = repair(f"S{k + 1:03d}", 4, k)
        found += bursts
        alone.append(share)
    if found:
        size, reduction, alike = np.array(found).T
        print("bursts of      number   power down by a factor of: 10th percentile, median")
        for low, high in pairwise((100, 200, 400, 800, 1500)):
            here = reduction[(size >= low) & (size < high)]
            if len(here):
                print(f"{low:>4} to {high:>4} uV {len(here):6} {np.percentile(here, 10):34.1f} {np.median(here):10.0f}")
        print(f"correlation of channels far from a burst: {np.nanmedian(alike):.3f} (median)")
        print(f"repaired where nothing was planted: {100 * np.mean(alone):.1f} % of the time")
        is_good &= np.median(reduction[size >= STRONG_UV]) >= LEAST_REDUCTION
    return 0 if is_good else 1


if __name__ == "__main__":
    raise SystemExit(main())
