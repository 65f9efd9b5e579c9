"""Time of one chunk of 64 channels x 32 samples at 1 kHz through every windowed feature, on one core.

Features compute when a step ends and only take in samples between: "mean" is the time of the processor over all
chunks, whatever else the machine does; "median" and "step", the median of those in which a step ends, are by the
clock. Beside them, in the same run, scipy's welch and scikit-learn's shrunk covariance of the same windows. Fails if
band power or covariance takes more than 1 ms a chunk on average.
"""

import argparse
import sys
import time
import warnings

import numpy as np

from bci.signal.bandpower import BandPower
from bci.signal.connectivity import Connectivity
from bci.signal.covariance import Covariance
from bci.signal.entropy import PermutationEntropy, SampleEntropy, SpectralEntropy
from bci.signal.waveform import LineLength, LogVariance
from bci.stream import Channel, Chunk, StreamInfo

N_CHANNELS, N_SAMPLES, SFREQ = 64, 32, 1000.0
INFO = StreamInfo("bench", SFREQ, tuple(Channel(f"c{i}") for i in range(N_CHANNELS)))
FIVE = [(1, 4), (4, 8), (8, 12), (13, 30), (30, 45)]
METHODS = ("multitaper", "welch", "dft", "ar", "filter")
BLOCKS = {
    **{f"band power, {m}, 1 band": (lambda m=m: BandPower([(8, 12)], m)) for m in METHODS},
    **{f"band power, {m}, 5 bands": (lambda m=m: BandPower(FIVE, m)) for m in METHODS},
    "covariance, oas": Covariance,
    "covariance, ledoit-wolf": lambda: Covariance(shrinkage="ledoit-wolf"),
    "covariance, recursive": lambda: Covariance(memory_s=10.0),
    "log-variance": LogVariance,
    "line length": LineLength,
    "coherence, all 2016 pairs": lambda: Connectivity([(8, 12)], "coherence"),
    "imaginary coherence, all 2016 pairs": lambda: Connectivity([(8, 12)], "imaginary"),
    "phase locking, all 2016 pairs": lambda: Connectivity([(8, 12)], "plv"),
    "permutation entropy": PermutationEntropy,
    "spectral entropy": SpectralEntropy,
    "sample entropy, 0.25 s window": lambda: SampleEntropy(0.25),
}
BAR_MS = 1.0
BARRED = [name for name in BLOCKS if name.startswith(("band power", "covariance"))]


class Peer:
    """What one would write without us: keep the last second, call a library each 0.1 s."""

    def __init__(self, compute):
        self._compute, self._window, self._new = compute, np.zeros((1000, N_CHANNELS)), 0

    def process(self, chunk):
        self._window = np.vstack([self._window[chunk.n_samples :], chunk.data])
        self._new += chunk.n_samples
        if self._new >= 100:
            self._new -= 100
            self._compute(self._window)


def peers():
    from scipy.signal import welch
    from sklearn.covariance import ledoit_wolf, oas

    return {
        "scipy.signal.welch, 1 band": lambda: Peer(lambda w: welch(w, SFREQ, nperseg=500, axis=0)[1][4:7].sum(axis=0)),
        "sklearn oas": lambda: Peer(oas),
        "sklearn ledoit_wolf": lambda: Peer(ledoit_wolf),
    }


def times_ms(block, data, n_chunks):
    spent, used, ends = np.empty(n_chunks), np.empty(n_chunks), np.empty(n_chunks, bool)
    step = getattr(block, "step", 100)
    clock = np.arange(N_SAMPLES) / SFREQ
    for k in range(n_chunks):
        start = k * N_SAMPLES
        rows = data[start % len(data) : start % len(data) + N_SAMPLES]
        chunk = Chunk(rows, clock + start / SFREQ, start, INFO)
        begin, cpu = time.perf_counter(), time.thread_time()
        block.process(chunk)
        used[k] = time.thread_time() - cpu
        spent[k] = time.perf_counter() - begin
        ends[k] = chunk.stop // step > start // step
    full = np.arange(n_chunks) * N_SAMPLES > 2500  # once every window is full
    return used[full] * 1e3, spent[full] * 1e3, ends[full]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--chunks", type=int, default=2000)
    n_chunks = parser.parse_args().chunks
    warnings.simplefilter("ignore")
    data = np.random.default_rng(0).standard_normal((N_SAMPLES * 500, N_CHANNELS)) * 10
    slow = []
    print(f"{'64 channels x 32 samples, 1 kHz':<40}{'mean ms':>9}{'median':>9}{'step':>9}")
    for name, make in {**BLOCKS, **peers()}.items():
        block = make()
        if not isinstance(block, Peer):
            block.prepare(INFO)
        used, spent, ends = times_ms(block, data, n_chunks)
        figures = used.mean(), np.median(spent), np.median(spent[ends])
        print(f"{name:<40}" + "".join(f"{f:>9.3f}" for f in figures))
        if figures[0] > BAR_MS and name in BARRED:
            slow.append(name)
    print(f"over {BAR_MS:g} ms: {', '.join(slow) or 'none'}")
    return min(len(slow), 1)


if __name__ == "__main__":
    sys.exit(main())
