"""Time of one chunk of 64 channels x 32 samples at 1 kHz through each filter block, next to scipy in the same run.

Also what an adaptive canceller and a notch leave of the mains. Fails if a block takes longer than 1 ms a chunk or than
scipy, or if the canceller leaves more than the notch where the mains wanders; machines differ, so only ratios count.
"""

import argparse
import sys

import numpy as np
from bench_chain import medians_us
from scipy import signal

from bci.signal.bank import FilterBank
from bci.signal.chain import Chain
from bci.signal.detrend import Detrend
from bci.signal.filters import Bandpass, Notch
from bci.signal.fir import Fir
from bci.signal.fractional import FractionalDelay
from bci.signal.line import LineCanceller
from bci.signal.resample import Resample
from bci.stream import Channel, Chunk, StreamInfo

N_CHANNELS, N_SAMPLES, SFREQ = 64, 32, 1000.0
INFO = StreamInfo("bench", SFREQ, tuple(Channel(f"c{i}") for i in range(N_CHANNELS)))
BANDS = tuple((4.0 + 4 * k, 8.0 + 4 * k) for k in range(9))
DATA = np.random.default_rng(0).standard_normal((N_SAMPLES, N_CHANNELS))


def block_step(block):
    block.prepare(INFO)
    times, start = np.arange(N_SAMPLES) / SFREQ, 0

    def step():
        nonlocal start
        block.process(Chunk(DATA, times, start, INFO))
        start += N_SAMPLES

    return step


def sos_step(*cascades):
    states = [np.zeros((len(sos), 2, N_CHANNELS)) for sos in cascades]

    def step():
        for k, sos in enumerate(cascades):
            _, states[k] = signal.sosfilt(sos, DATA, axis=0, zi=states[k])

    return step


def fir_step(n_taps):
    taps = signal.firwin(n_taps, [8, 30], pass_zero=False, fs=SFREQ)
    state = np.zeros((n_taps - 1, N_CHANNELS))

    def step():
        nonlocal state
        _, state = signal.lfilter(taps, [1.0], DATA, axis=0, zi=state)

    return step


def butter(band):
    return signal.butter(4, band, "bandpass", fs=SFREQ, output="sos")


def rows():
    elliptic = signal.ellip(4, 0.5, 40, [8, 30], "bandpass", fs=SFREQ, output="sos")
    yield "band-pass, elliptic", Bandpass(8, 30, family="elliptic"), sos_step(elliptic)
    yield "fir, 101 taps", Fir(8, 30, n_taps=101), fir_step(101)
    yield "fir, 909 taps", Fir(8, 30, n_taps=909), fir_step(909)
    yield "filter bank, 9 bands", FilterBank(BANDS), sos_step(*map(butter, BANDS))
    for to_hz in (250.0, 512.0, 2000.0):
        yield f"resample to {to_hz:g} Hz", Resample(to_hz), None
    yield "fractional delay", FractionalDelay(np.linspace(0, 0.001, N_CHANNELS).tolist()), None
    yield "line canceller, 3 harm.", LineCanceller(), None
    yield "detrend", Detrend(), None


def speed(rounds):
    slow = 0
    print(f"{'block':<26}{'us':>8}{'scipy us':>10}{'ratio':>8}")
    for name, block, theirs in rows():
        ours, *other = medians_us([block_step(block), *([theirs] if theirs else [])], rounds, 20)
        slow += ours > 1000 or any(ours > o for o in other)
        print(f"{name:<26}{ours:>8.1f}" + "".join(f"{o:>10.1f}{o / ours:>8.1f}" for o in other))
    return slow


def rms(x):
    return float(np.sqrt(np.mean(x**2)))


def mains():
    """Print what is left of the mains from 5 s on, for frequencies that stay and wander."""
    sfreq, rng = 250.0, np.random.default_rng(0)
    info = StreamInfo("bench", sfreq, INFO.channels[:8])
    t = np.arange(15000) / sfreq
    b, a = signal.butter(1, 5, fs=sfreq)
    brain = signal.lfilter(b, a, 60 * rng.standard_normal((15000, 8)), axis=0) + 2 * rng.standard_normal((15000, 8))
    notched = Chain([Notch(50.0, 3)]).run(brain, info)
    worse = 0
    print(f"\n{'mains':<26}{'in uV':>8}{'canceller':>10}{'notch':>8}")
    still, wandering = np.full_like(t, 50.0), 50 + 0.2 * np.sin(2 * np.pi * t / 60)
    for name, hz in (("50 Hz", still), ("50.2 Hz", still + 0.2), ("49.8 to 50.2 Hz a minute", wandering)):
        phase = 2 * np.pi * np.cumsum(hz) / sfreq
        line = 40 * np.linspace(0.5, 2.0, 8) * np.sin(phase[:, None] + np.arange(8))
        ours = rms((Chain([LineCanceller()]).run(brain + line, info) - brain)[1250:])
        theirs = rms((Chain([Notch(50.0, 3)]).run(brain + line, info) - notched)[1250:])
        worse += ours > theirs and name != "50 Hz"
        print(f"{name:<26}{rms(line):>8.1f}{ours:>10.2f}{theirs:>8.2f}")
    return worse


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=40)
    bad = speed(parser.parse_args().rounds)
    return min(bad + mains(), 1)


if __name__ == "__main__":
    sys.exit(main())
