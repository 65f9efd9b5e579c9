"""What a gap, an unknown channel and a rail leave behind in filters, on a drifting signal with an offset of millivolts.

Two figures for each chain, both over the root mean square of its output without a fault: the largest value in the half
second after the fault ("peak", beside the largest value without one in the same half second), and the largest
difference to the output without the fault at any time after it ("change"). "carried on" are the same filters of
scipy.signal whose states go on as if nothing was missing, begun in the steady state of the first sample: what
streaming tools do. Fails if, with gaps bridged, the peak is more than twice that without the fault, or the change more
than twice the largest value of the output.
"""

import argparse
import sys

import numpy as np

from bci.signal.chain import Chain
from bci.signal.filters import Bandpass, Highpass, Notch
from bci.signal.fir import Fir
from bci.signal.rails import Rails
from bci.signal.spatial import Reference
from bci.signal.stages import AverageStage, SosStage, fuse
from bci.stream import Channel, Chunk, StreamInfo

SFREQ, N_CHANNELS, CHUNK, LENGTH_S, FAULT_S = 250.0, 8, 25, 60.0, 38.0
RAIL_UV = 187_500.0
INFO = StreamInfo("bench", SFREQ, tuple(Channel(f"c{i}") for i in range(N_CHANNELS)), meta={"range_uv": str(RAIL_UV)})
CHAINS = {
    "8-30 Hz, notch, average": lambda: [Bandpass(8, 30), Notch(50, harmonics=False), Reference()],
    "8-30 Hz": lambda: [Bandpass(8, 30)],
    "1-40 Hz": lambda: [Bandpass(1, 40)],
    "above 0.5 Hz": lambda: [Highpass(0.5)],
    "notch, above 0.5 Hz": lambda: [Notch(50), Highpass(0.5)],
    "above 0.1 Hz": lambda: [Highpass(0.1)],
    "taps 8-30 Hz": lambda: [Fir(8.0, 30.0)],
}


def signals(rng, mains_uv):
    n = round(LENGTH_S * SFREQ)
    t = np.arange(n)[:, None] / SFREQ
    level = rng.standard_normal(N_CHANNELS) * 2000 + t * rng.standard_normal(N_CHANNELS) * 200
    rhythm = 10 * np.sin(2 * np.pi * 10 * t + rng.uniform(0, 2 * np.pi, N_CHANNELS))
    mains = mains_uv * np.sin(2 * np.pi * 50 * t)
    return {
        "rhythm of 10 Hz": level + mains + rhythm + 2 * rng.standard_normal((n, N_CHANNELS)),
        "white noise": level + mains + 10 * rng.standard_normal((n, N_CHANNELS)),
    }


def stream(block, data, missing=range(0)):
    """Return what comes out, at its place; NaN where nothing does."""
    block.prepare(INFO)
    out = np.full(data.shape, np.nan)
    edges = sorted({*range(0, len(data), CHUNK), missing.start, missing.stop, len(data)})
    for a, b in zip(edges[:-1], edges[1:], strict=True):
        if a not in missing:
            out[a:b] = block.process(Chunk(data[a:b], np.arange(a, b) / SFREQ, a, INFO)).data
    return out


def carried_on(blocks, data):
    """Return what scipy's filters make of the samples that came, one after the other."""
    from scipy.signal import sosfilt, sosfilt_zi

    chain = Chain(blocks)
    chain.prepare(INFO)
    for stage in fuse([s for block in blocks for s in block.stages()]):
        if isinstance(stage, SosStage):
            data, _ = sosfilt(stage.sos, data, axis=0, zi=sosfilt_zi(stage.sos)[:, :, None] * data[0])
        elif isinstance(stage, AverageStage):
            data = data - data.mean(axis=1, keepdims=True)
        else:
            return None
    return data


def figures(out, whole, stop):
    """Return (peak, peak without the fault, change, change later than 1 s, largest value), over the rms."""
    steady = whole[round(25 * SFREQ) :]
    scale = np.sqrt(np.mean((steady - steady.mean(axis=0)) ** 2))
    after, change = slice(stop, stop + round(SFREQ / 2)), np.abs(out - whole)[stop:]
    known = np.nan_to_num(change)
    values = (
        np.nanmax(np.abs(out[after])), np.abs(whole[after]).max(), known.max(), known[round(SFREQ) :].max(),
        np.abs(steady).max(),
    )  # fmt: skip
    return [float(v / scale) for v in values]


def gap(make, data, gap_s):
    start = round(FAULT_S * SFREQ)
    missing = range(start, start + round(gap_s * SFREQ))
    whole = stream(Chain(make()), data)
    for gap_policy in ("bridge", "reset"):
        yield gap_policy, figures(stream(Chain(make(), gap=gap_policy), data, missing), whole, missing.stop)
    joined = carried_on(make(), np.delete(data, missing, axis=0))
    if joined is not None:
        placed = np.full(data.shape, np.nan)
        placed[: missing.start], placed[missing.stop :] = joined[: missing.start], joined[missing.start :]
        yield "carried on", figures(placed, whole, missing.stop)


def rail(make, data, rail_s):
    start = round(FAULT_S * SFREQ)
    stop = start + round(rail_s * SFREQ)
    railed, whole = data.copy(), stream(Chain(make()), data)
    railed[start:stop, 0] = RAIL_UV
    for policy in ("bridge", "reset"):
        yield policy, figures(stream(Chain([Rails(), *make()], gap=policy), railed), whole, stop)
    joined = carried_on(make(), railed)
    if joined is not None:
        yield "carried on", figures(joined, whole, stop)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gap", type=float, default=0.4, help="samples missing, s")
    parser.add_argument("--rail", type=float, default=0.5, help="one channel at its rail, s")
    parser.add_argument("--mains", type=float, default=0.0, help="mains in the signal, uV; no bar then")
    given = parser.parse_args()
    failed = 0
    for fault, length_s in ((gap, given.gap), (rail, given.rail)):
        for name, data in signals(np.random.default_rng(0), given.mains).items():
            print(f"\n{fault.__name__} of {length_s:g} s, {name}")
            print(f"{'chain':<26}{'policy':<12}{'peak':>9}{'without':>9}{'change':>9}{'after 1 s':>11}")
            for chain, make in CHAINS.items():
                for policy, (peak, usual, change, late, largest) in fault(make, data, length_s):
                    bad = policy == "bridge" and (peak > 2 * usual or change > 2 * largest)
                    failed += bad and not given.mains
                    mark = "  too much" if bad else ""
                    print(f"{chain:<26}{policy:<12}{peak:>9.2f}{usual:>9.2f}{change:>9.2f}{late:>11.2f}{mark}")
    return min(failed, 1)


if __name__ == "__main__":
    sys.exit(main())
