"""The judge of channels, judged: faults planted into real EEG and a simulated person; how many are found, how soon.

Thresholds were chosen on S001-S006 of eegmmidb; the faults are planted into S007-S012 (or, with --split fit, into the
former). A trial is 16 s of all channels; after 8 s one channel that was good until then gets a fault of random
strength. The same 16 s without the fault tell how often a verdict is wrong. Intervals are 95 % (Clopper-Pearson).
"""

import argparse
import logging
import sys
import time
from dataclasses import dataclass, field

import numpy as np
from scipy.signal import butter, sosfilt

from bci.acquisition.replay import Replay
from bci.datasets.eegmmidb import Eegmmidb
from bci.runtime.score import binomial_interval
from bci.signal.chain import Chain
from bci.signal.filters import Bandpass, Notch
from bci.signal.measures import neighbours
from bci.signal.quality import QualityWatch
from bci.signal.spatial import Reference
from bci.signal.verdict import DEFAULT, Level
from bci.simulation.person import CHANNELS, Person
from bci.stream import Channel, Chunk, StreamInfo

FIT, TEST = [f"S{k:03d}" for k in range(1, 7)], [f"S{k:03d}" for k in range(7, 13)]
LENGTH_S, ONSET_S, END_S = 16.0, 8.0, 14.0
STEP_S = 0.04
WORDS = {"flat": ("flat",), "railed": ("rail", "flat"), "clipped": ("rail", "flat"), "mains": ("mains",),
         "muscle": ("muscle",), "drift": ("drift",), "pop": ("jump",), "uncorrelated": ("alone",),
         "bridged": ("bridge",)}  # fmt: skip
GATE_S = {"flat": 0.2, "railed": 0.2}
LEAST_FOUND, MOST_CLOSED = 0.9, 0.1


# ------------------------------------------------------------------ signals
@dataclass
class Source:
    """Segments of EEG, and whole recordings by name."""

    info: StreamInfo
    recordings: list
    is_integer: bool
    near: np.ndarray = field(init=False)

    def __post_init__(self):
        self.near = neighbours(self.info.channels)

    def segment(self, rng):
        data = self.recordings[rng.integers(len(self.recordings))]
        n = round(LENGTH_S * self.info.sfreq)
        begin = int(rng.integers(0, len(data) - n))
        return data[begin : begin + n].copy()


def real(people):
    data, info, found = Eegmmidb(), None, []
    for person in people:
        for run in (4, 8, 12):
            with Replay(data.path(person, run), chunk_samples=100_000) as device:
                samples = device.read(0.0).data
                info = device.info
            moving = np.flatnonzero(np.diff(samples, axis=0).any(axis=1))
            found.append(np.asarray(samples[: moving[-1] + 1]))  # several files end in zeros
    return Source(info, found, True)


def simulated(seeds, sfreq=250.0):
    info = StreamInfo("person", sfreq, tuple(Channel(name) for name in CHANNELS))
    return Source(info, [Person(CHANNELS, sfreq, seed=s).generate(round(60 * sfreq)) for s in seeds], False)


# ------------------------------------------------------------------ faults
def strength(rng, low, high):
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def plant(fault, data, channel, source, rng):
    """Put `fault` into `data` from the onset on; return whether it is strong enough to close the gate."""
    sfreq = source.info.sfreq
    on = round(ONSET_S * sfreq)
    x, t = data[on:, channel], np.arange(len(data) - on) / sfreq
    closes = fault in ("flat", "railed", "clipped", "pop")
    if fault == "flat":
        x[:] = x[0]
    elif fault == "railed":
        x[:] = rng.choice([-187_500.0, 187_500.0])
    elif fault == "clipped":
        x *= 30.0
        low, high = np.quantile(x, [0.2, 0.8])
        x[:] = np.clip(x, low, high)
    elif fault == "mains":
        amplitude = strength(rng, 200, 2000)
        x += amplitude * np.sin(2 * np.pi * rng.choice([50.0, 60.0]) * t + rng.uniform(0, 2 * np.pi))
        closes = amplitude / np.sqrt(2) >= 1.2 * DEFAULT.mains_bad_uv
    elif fault == "muscle":
        rms = strength(rng, 40, 400)
        band = butter(2, [25.0, 0.45 * sfreq], "band", fs=sfreq, output="sos")
        noise = sosfilt(band, rng.standard_normal(len(x) + 200))[200:]
        x += rms * noise / noise.std()
        closes = rms >= 1.5 * DEFAULT.muscle_bad_uv
    elif fault == "drift":
        slope = strength(rng, 250, 3000) * rng.choice([-1, 1])
        x += slope * t
        closes = abs(slope) >= 1.2 * DEFAULT.drift_bad_uv_s
    elif fault == "pop":
        x += strength(rng, 800, 5000) * rng.choice([-1, 1]) * np.exp(-t / strength(rng, 0.2, 2.0))
    elif fault == "uncorrelated":
        x[:] = source.segment(rng)[on:, rng.integers(data.shape[1])]
    elif fault == "bridged":
        x[:] = data[on:, source.near[channel, 0]] + rng.normal(0, 0.2, len(x))
    if source.is_integer:
        data[on:, channel] = np.round(x)
    return closes


# ------------------------------------------------------------------ one trial
def judged(data, info):
    """Return the times of steps, s, the verdicts at each, and whether samples before it were flagged."""
    watch, n = QualityWatch(info), max(1, round(STEP_S * info.sfreq))
    times, verdicts, flags = [], [], []
    stamps = np.arange(len(data)) / info.sfreq
    for begin in range(0, len(data), n):
        parts = watch.split(Chunk(data[begin : begin + n], stamps[begin : begin + n], begin, info))
        times.append((begin + n) / info.sfreq)
        verdicts.append(watch.quality.channels)
        flags.append(any(p.flags for p in parts))
    return np.array(times), verdicts, np.array(flags)


@dataclass
class Tally:
    """What became of the trials of one fault."""

    n: int = 0
    found: int = 0
    named: int = 0
    strong: int = 0
    closed: int = 0
    delays: list = field(default_factory=list)
    gate_delays: list = field(default_factory=list)


def one(fault, source, rng, tally):
    for _ in range(200):  # a channel that is good until the onset, in a segment whose gate is open
        clean, channel = source.segment(rng), int(rng.integers(source.info.n_channels))
        times, before, was_flagged = judged(clean[: round(ONSET_S * source.info.sfreq)], source.info)
        if not any(v[channel].level for v in before[-50:]) and not was_flagged[-50:].any():
            break
    data = clean.copy()
    closes = plant(fault, data, channel, source, rng)
    times, verdicts, flags = judged(data, source.info)
    after = (times > ONSET_S) & (times <= END_S)
    seen = [(t, v[channel]) for t, v, ok in zip(times, verdicts, after, strict=True) if ok and v[channel].level]
    tally.n += 1
    tally.found += bool(seen)
    tally.named += any(v.fault in WORDS[fault] for _, v in seen)
    if seen:
        tally.delays.append(seen[0][0] - ONSET_S)
    if closes:
        tally.strong += 1
        at = times[after & flags]
        tally.closed += bool(len(at))
        if len(at):
            tally.gate_delays.append(at[0] - ONSET_S)
    return clean


# ------------------------------------------------------------------ tables
def share(k, n):
    low, high = binomial_interval(k, n, 0.95) if n else (np.nan, np.nan)
    return f"{k}/{n} {k / max(n, 1):.2f} [{low:.2f}, {high:.2f}]"


def median_and_longest(values):
    return f"{np.median(values):.2f}, {max(values):.2f}" if values else "-"


def sensitivity(name, source, trials, rng):
    print(f"\n{name}: faults found, named rightly, closing the gate where strong enough; delays in s: median, longest")
    segments, ok = [], True
    for fault in WORDS:
        tally = Tally()
        for _ in range(trials):
            segments.append(one(fault, source, rng, tally))
        print(f"  {fault:<13} found {share(tally.found, tally.n):<26} after {median_and_longest(tally.delays):<11}"
              f" named {share(tally.named, tally.n):<26}"
              f" closed {share(tally.closed, tally.strong):<26} after {median_and_longest(tally.gate_delays)}",
              flush=True)  # fmt: skip
        ok &= tally.found >= LEAST_FOUND * tally.n and tally.closed >= LEAST_FOUND * tally.strong
        ok &= max(tally.gate_delays, default=0.0) <= GATE_S.get(fault, np.inf) + 1e-9
    return segments, ok


def specificity(name, source, trials, rng):
    """Segments as they come, nobody asked whether they are good."""
    closed, by_fault, n_channels = 0, dict.fromkeys([w for words in WORDS.values() for w in words], 0), 0
    by_fault |= {"bad": 0, "doubtful": 0}
    for _ in range(trials):
        _, verdicts, flags = judged(source.segment(rng), source.info)
        closed += bool(flags.any())
        for verdict in verdicts[-1]:
            n_channels += 1
            by_fault["bad"] += verdict.level is Level.BAD
            by_fault["doubtful"] += verdict.level is Level.DOUBTFUL
            if verdict.fault in by_fault:
                by_fault[verdict.fault] += 1
    print(f"\n{name}: nothing planted; the gate is closed at any time in {share(closed, trials)} segments of 16 s")
    print("  channels at the end, by verdict (those of one segment are no independent trials):")
    for fault, k in by_fault.items():
        print(f"  {fault:<13} {share(k, n_channels)}")
    return closed <= MOST_CLOSED * trials


def cost():
    print("\nprocessor time, share of one core")
    ok = True
    for n_channels, sfreq, seconds in ((8, 250.0, 20), (64, 160.0, 20), (64, 1000.0, 20), (1024, 30_000.0, 6)):
        info = StreamInfo("bench", sfreq, tuple(Channel(f"c{i}") for i in range(n_channels)))
        watch, chain = QualityWatch(info), Chain([Notch(50.0, harmonics=False), Bandpass(8.0, 30.0), Reference()])
        chain.prepare(info)
        n = round(0.02 * sfreq)
        data, stamps = np.random.default_rng(0).normal(0, 10.0, (n, n_channels)), np.arange(n) / sfreq
        spent = [0.0, 0.0]
        for step in range(round((5 + seconds) / 0.02)):
            chunk = Chunk(data, stamps, step * n, info)
            for which, run in enumerate((watch.split, chain.process)):
                begin = time.process_time()
                run(chunk)
                spent[which] += (time.process_time() - begin) * (step * n / sfreq >= 5)
        judge, filters = (s / seconds for s in spent)
        print(f"  {n_channels:>5} channels x {sfreq:>6g} Hz: {judge:7.2%}; band-pass, notch and average: {filters:.2%}",
              flush=True)  # fmt: skip
        ok &= judge < 0.03 if n_channels <= 64 else judge < 2 * filters
    return ok


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=40, help="for each fault and source")
    parser.add_argument("--clean", type=int, default=100, help="segments without a fault, for each source")
    parser.add_argument("--split", choices=("test", "fit"), default="test")
    parser.add_argument("--only-cost", action="store_true")
    arguments = parser.parse_args()
    logging.disable(logging.WARNING)
    ok = cost()
    if not arguments.only_cost:
        is_test = arguments.split == "test"
        sources = {"eegmmidb": real(TEST if is_test else FIT),
                   "simulated": simulated(range(100, 106) if is_test else range(6))}  # fmt: skip
        for name, source in sources.items():
            rng = np.random.default_rng(0)
            ok &= sensitivity(name, source, arguments.trials, rng)[1]
            ok &= specificity(name, source, arguments.clean, rng)
    print("\nreached" if ok else "\nNOT REACHED")
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
