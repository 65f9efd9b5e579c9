"""1024 channels at 30 kHz: what threshold crossings, spike counts and spiking-band power cost on one core.

Real-time factor: seconds of signal per second of the processor, in chunks of 10 ms, through the public blocks, from the
first chunk on. Fails below 10.
"""

import argparse
import sys
import time

import numpy as np

from bci.signal.spikes import SpikeBandPower, SpikeCount, ThresholdCrossings
from bci.stream import Channel, Chunk, StreamInfo

N_CHANNELS, SFREQ, N_CHUNK, LEAST = 1024, 30_000.0, 300, 10.0
BLOCKS = {
    "threshold crossings, running median": ThresholdCrossings,
    "spike count, running median": lambda: SpikeCount(0.02),
    "spike count, running rms": lambda: SpikeCount(0.02, noise="rms"),
    "spike count, calibrated 0.5 s": lambda: SpikeCount(0.02, calibrate_s=0.5),
    "spike-band power": SpikeBandPower,
}


def firing(rng, n_chunks=20, rate_hz=20.0):
    """Chunks of noise of 10 uV with spikes of -80 uV that last for eight samples."""
    chunks = rng.normal(0, 10, (n_chunks, N_CHUNK, N_CHANNELS))
    n_spikes = rng.poisson(rate_hz * N_CHANNELS * N_CHUNK / SFREQ, n_chunks)
    for chunk, n in zip(chunks, n_spikes, strict=True):
        rows, columns = rng.integers(0, N_CHUNK - 10, n), rng.integers(0, N_CHANNELS, n)
        for k in range(8):
            chunk[rows + k, columns] -= 80.0
    return chunks


def cost(block, chunks, seconds):
    """Return the time of each chunk, s."""
    info = StreamInfo("array", SFREQ, tuple(Channel(f"e{k}") for k in range(N_CHANNELS)))
    block.prepare(info)
    spent = np.empty(round(seconds * SFREQ / N_CHUNK))
    for k in range(len(spent)):
        start = k * N_CHUNK
        chunk = Chunk(chunks[k % len(chunks)], (start + np.arange(N_CHUNK)) / SFREQ, start, info)
        begin = time.thread_time()
        block.process(chunk)
        spent[k] = time.thread_time() - begin
    return spent


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=10.0, help="signal per block")
    seconds = parser.parse_args().seconds
    chunks, slow = firing(np.random.default_rng(0)), []
    print(f"{N_CHANNELS} channels, {SFREQ:g} Hz, chunks of {N_CHUNK}, 20 spikes/s a channel, {seconds:g} s each")
    for name, make in BLOCKS.items():
        spent = cost(make(), chunks, seconds)
        factor = seconds / spent.sum()
        first = (N_CHUNK / SFREQ) * 10 / spent[:10].sum()
        print(f"{name:40s} x{factor:5.1f} real time, first 0.1 s x{first:5.1f}, median {1e3 * np.median(spent):.2f} ms")
        if factor < LEAST:
            slow.append(name)
    if slow:
        sys.exit(f"expected a real-time factor of {LEAST:g}, not reached by {', '.join(slow)}")


if __name__ == "__main__":
    main()
