"""Windows: none lost and none shifted in random schedules; what they cost, and that a long ring costs no more.

A schedule is a stream with gaps, NaN and flags, cut at random, with events on time, late, doubled, on the edges of
chunks, in gaps and before the first sample (`schedules.py`). The windows are compared with a look at the whole array:
samples, times, flags, and the chunk at which they come. Figures: 0 of 10 000 schedules with a lost or shifted window;
the same time per chunk, within 10 %, in a pipeline whose ring holds 1 s and one whose ring holds 60 s.
"""

import argparse
import sys
import time

import numpy as np
import schedules

from bci.signal.filters import Bandpass, Notch
from bci.signal.pipeline import Pipeline
from bci.signal.spatial import Reference
from bci.signal.window import Windower
from bci.stream import Channel, Chunk, StreamInfo
from bci.trial import Locked, Slide

WITHIN = 1.10
N_CHANNELS, SFREQ, CHUNK = 64, 1000.0, 32


def campaign(n):
    """Run `n` schedules; return whether no window was lost or shifted."""
    ok = True
    for name, run in (("locked to events", schedules.locked), ("sliding", schedules.sliding)):
        total = np.zeros(4, int)
        for seed in range(n):
            total += run(schedules.schedule(seed), np.random.default_rng([seed, 1]))
        expected, lost, shifted, wrong = total.tolist()
        print(f"{name:<17} {n} schedules, {expected} windows: {lost} lost, {shifted} shifted, {wrong} miscounted")
        ok &= expected > n and lost == shifted == wrong == 0
    return ok


def chunks_of(info, n):
    """Yield `n` chunks of noise."""
    noise = np.random.default_rng(0).standard_normal((16, CHUNK, info.n_channels))
    for k in range(n):
        yield Chunk(noise[k % 16], np.arange(k * CHUNK, (k + 1) * CHUNK) / info.sfreq, k * CHUNK, info)


def spent(push, chunks):
    """Return the time of each call, s."""
    times = []
    for chunk in chunks:
        begin = time.perf_counter()
        push(chunk)
        times.append(time.perf_counter() - begin)
    return times


def rings(seconds, repeat):
    """Compare a pipeline that keeps 1 s with one that keeps 60 s; return whether they cost the same."""
    info = StreamInfo("amp", SFREQ, tuple(Channel(f"E{k}") for k in range(N_CHANNELS)))
    n, every, alone = round(seconds * SFREQ / CHUNK), {1.0: [], 60.0: []}, []
    ratios = []
    for _ in range(repeat):
        for history_s, times in every.items():
            blocks = [Bandpass(8.0, 30.0), Notch(50.0, harmonics=False), Reference("average")]
            pipeline = Pipeline(blocks, Locked(0.0, 1.0), history_s)
            pipeline.prepare(info)
            times.append(np.median(spent(pipeline.push, chunks_of(info, n))[n // 4 :]))
        ratios.append(every[60.0][-1] / every[1.0][-1])
        alone += spent(Windower(Slide(1.0, 0.1), info).push, chunks_of(info, n))[n // 4 :]
    ratio = float(np.median(ratios))
    for history_s, times in every.items():
        print(f"ring of {history_s:2.0f} s: {1e6 * np.median(times):.1f} us per chunk of {N_CHANNELS} x {CHUNK}")
    print(f"ratio {ratio:.2f} ({', '.join(f'{r:.2f}' for r in ratios)}; at most {WITHIN:.2f})")
    print(f"windows alone, 1 s each 0.1 s: median {1e6 * np.median(alone):.1f} us, mean {1e6 * np.mean(alone):.1f} us")
    return ratio <= WITHIN


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--schedules", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=150.0, help="signal per ring")
    parser.add_argument("--repeat", type=int, default=7, help="pairs of rings")
    given = parser.parse_args()
    ok = [rings(given.seconds, given.repeat), campaign(given.schedules)]
    print("passed" if all(ok) else "FAILED")
    return 0 if all(ok) else 1


if __name__ == "__main__":
    sys.exit(main())
