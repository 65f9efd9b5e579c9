"""What the sample-by-sample blocks cost: 64 channels at 1 kHz in chunks of 32, one core, through the public blocks.

Beside them, in the same run, `scipy.signal.sosfilt` of a band-pass of order 4 on the same chunks. Fails if the median
of a block is above 1 ms a chunk.
"""

import argparse
import sys
import time

import numpy as np
from scipy.signal import butter, sosfilt

from bci.signal.emg import EmgEnvelope
from bci.signal.envelope import Envelope
from bci.signal.heart import HeartRate, RPeaks
from bci.signal.log_power import LogPower
from bci.signal.normalise import Baseline, RobustStandardize, Standardize
from bci.signal.phase import Phase
from bci.signal.rate import EventRate
from bci.signal.spikes import SpikeCount, ThresholdCrossings
from bci.signal.wavelet import Morlet
from bci.stream import Channel, Chunk, StreamInfo

SFREQ, N_CHUNK, N_CHANNELS, MOST_MS = 1000.0, 32, 64, 1.0
BLOCKS = {
    "Standardize": Standardize,
    "RobustStandardize": RobustStandardize,
    "Baseline": Baseline,
    "LogPower": LogPower,
    "Morlet, 10 frequencies from 8 Hz, 100 Hz out": lambda: Morlet(tuple(range(8, 28, 2))),
    "Phase, every sample": lambda: Phase(8.0, 13.0),
    "Phase, every 10 ms": lambda: Phase(8.0, 13.0, step_s=0.01),
    "Envelope": lambda: Envelope(8.0, 13.0),
    "EmgEnvelope, rectified": EmgEnvelope,
    "EmgEnvelope, rms": lambda: EmgEnvelope("rms"),
    "ThresholdCrossings": ThresholdCrossings,
    "SpikeCount": lambda: SpikeCount(0.02),
    "RPeaks": lambda: RPeaks("c0"),
    "HeartRate": lambda: HeartRate("c0"),
    "EventRate": lambda: EventRate("blink"),
}


def costs(call, n):
    spent = np.empty(n)
    for k in range(n):
        begin = time.perf_counter()
        call(k)
        spent[k] = time.perf_counter() - begin
    return 1e3 * spent


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--chunks", type=int, default=2000, help="chunks per block")
    n = parser.parse_args().chunks
    info = StreamInfo("amp", SFREQ, tuple(Channel(f"c{k}") for k in range(N_CHANNELS)))
    data = np.random.default_rng(0).normal(0, 20, (16, N_CHUNK, N_CHANNELS))
    numbers = np.arange(N_CHUNK)
    chunks = [Chunk(data[k % 16], (k * N_CHUNK + numbers) / SFREQ, k * N_CHUNK, info) for k in range(n)]
    sos = butter(4, [8, 13], "bandpass", fs=SFREQ, output="sos")
    state = np.zeros((len(sos), 2, N_CHANNELS))

    def reference(k):
        state[:] = sosfilt(sos, chunks[k].data, axis=0, zi=state)[1]

    slow = []
    rows = {"scipy.signal.sosfilt, band-pass of order 4": costs(reference, n)}
    for name, make in BLOCKS.items():
        block = make()
        block.prepare(info)
        rows[name] = costs(lambda k, block=block: block.process(chunks[k]), n)
        if np.median(rows[name]) > MOST_MS:
            slow.append(name)
    for name, spent in rows.items():
        print(f"{name:48s} median {np.median(spent):6.3f} ms, p99 {np.percentile(spent, 99):6.3f} ms")
    if slow:
        sys.exit(f"expected at most {MOST_MS:g} ms a chunk, not reached by {', '.join(slow)}")


if __name__ == "__main__":
    main()
