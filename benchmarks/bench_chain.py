"""Time of one chunk through notch, band-pass and common average, next to scipy.signal.sosfilt in the same run.

Fails if the chain is not faster than scipy at every size; machines differ, so only the ratio counts.
"""

import argparse
import sys
import time

import numpy as np

from bci.signal.chain import Chain
from bci.signal.filters import Bandpass, Notch
from bci.signal.spatial import Reference
from bci.stream import Channel, Chunk, StreamInfo

SIZES = ((8, 10, 250.0), (64, 32, 1000.0), (256, 40, 2000.0), (1024, 300, 30000.0))


def chain_step(n_channels, n_samples, sfreq):
    info = StreamInfo("bench", sfreq, tuple(Channel(f"c{i}") for i in range(n_channels)))
    chain = Chain([Notch(50.0, harmonics=False), Bandpass(8.0, 30.0), Reference()])
    chain.prepare(info)
    data = np.random.default_rng(0).standard_normal((n_samples, n_channels))
    times, start = np.arange(n_samples) / sfreq, 0

    def step():
        nonlocal start
        chain.process(Chunk(data, times, start, info))
        start += n_samples

    return step


def scipy_step(n_channels, n_samples, sfreq):
    from scipy.signal import butter, iirnotch, sosfilt

    sos = np.vstack(
        [np.concatenate(iirnotch(50.0, 30.0, fs=sfreq)), butter(4, [8, 30], "band", fs=sfreq, output="sos")]
    )
    data = np.random.default_rng(0).standard_normal((n_samples, n_channels))
    state = np.zeros((len(sos), 2, n_channels))

    def step():
        nonlocal state
        filtered, state = sosfilt(sos, data, axis=0, zi=state)
        filtered -= filtered.mean(axis=1, keepdims=True)

    return step


def medians_us(steps, rounds, repeats):
    """Interleave the steps, so that a busy machine slows all of them."""
    spent = [[] for _ in steps]
    for _ in range(rounds):
        for step, times in zip(steps, spent, strict=True):
            begin = time.perf_counter()
            for _ in range(repeats):
                step()
            times.append((time.perf_counter() - begin) / repeats * 1e6)
    return [float(np.median(t)) for t in spent]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=40)
    rounds = parser.parse_args().rounds
    slower = 0
    print(f"{'channels x samples':<20}{'chain us':>10}{'scipy us':>10}{'ratio':>8}")
    for n_channels, n_samples, sfreq in SIZES:
        repeats = max(1, 200_000 // (n_channels * n_samples) // 4)
        steps = [make(n_channels, n_samples, sfreq) for make in (chain_step, scipy_step)]
        ours, theirs = medians_us(steps, rounds, repeats)
        slower += ours > theirs
        print(f"{n_channels:>6} x {n_samples:<11}{ours:>10.1f}{theirs:>10.1f}{theirs / ours:>8.1f}")
    return min(slower, 1)


if __name__ == "__main__":
    sys.exit(main())
