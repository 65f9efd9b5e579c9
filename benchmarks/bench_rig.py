"""A rig over a simulated hour: clocks 200 ppm off, packets that come late, a stream that is lost and comes back.

Fails if a sample in an aligned window is more than 2 ms from where it truly was (but for the first 15 s, until a clock
of its own is known), a rate is not known to 10 ppm after 10 minutes, samples are neither delivered nor counted as
lost, or the recording does not give the same windows.
"""

import argparse
import hashlib
import logging
import math
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from bci.acquisition.driver import Driver, Samples
from bci.acquisition.recorder.xdf_recorder import XdfRecorder
from bci.acquisition.rig import Rig
from bci.acquisition.rig_replay import RigReplay
from bci.clock import ManualClock, SkewedClock
from bci.errors import DeviceLost, DeviceNotFound
from bci.stream import Channel, Kind, StreamInfo
from bci.trial import Slide

BAR_S, BAR_PPM, SETTLED_S, KNOWN_S, LATE_S = 2e-3, 10.0, 15.0, 600.0, 0.25
CLOCKS = {"eeg": (0.0, 250.0, 10, 0.0), "emg": (200.0, 200.0, 10, 0.010), "gaze": (-200.0, 60.0, 3, 0.030)}
"""Error of the clock (ppm), rate (Hz), samples per packet, mean of the delay beyond the least one (s)."""


class Truthful(Driver):
    """Channel 0 is what its clock showed when the sample was taken. Every hundredth packet or so is 0.3 s late."""

    def __init__(self, clock, sfreq, packet, jitter_s, gone_s=(math.inf, math.inf)):
        super().__init__(clock=clock, silence_s=2.0)
        self.sfreq, self.packet, self.jitter_s, self.gone_s = sfreq, packet, jitter_s, gone_s
        self.rng = np.random.default_rng(1)

    def _open(self):
        if self.gone_s[0] <= self.clock.now() < self.gone_s[1]:
            raise DeviceNotFound("expected the source, it is unplugged; plug it in")
        return StreamInfo("truthful", self.sfreq, (Channel("stamp", Kind.MISC, "s"),))

    def _start(self):
        self.begin_s, self.n, self.due = self.clock.now(), 0, 0.0
        self._plan()

    def _plan(self):
        late_s = self.rng.exponential(self.jitter_s) if self.jitter_s else 0.0
        late_s += 0.3 if self.jitter_s and self.rng.random() < 0.01 else 0.0
        # Packets arrive in order.
        self.due = max(self.due, self.begin_s + (self.n + self.packet - 1) / self.sfreq + late_s)

    @property
    def due_s(self):
        return self.clock.true(self.due)

    def _read(self, timeout_s):
        now_s = self.clock.now()
        if self.gone_s[0] <= now_s < self.gone_s[1]:
            raise DeviceLost("expected samples, the source is unplugged; plug it in")
        if self.due > now_s + timeout_s + 1e-9:
            return None
        times = self.begin_s + (self.n + np.arange(self.packet)) / self.sfreq
        self.n += self.packet
        self._plan()
        return Samples(times[:, None].copy(), times)

    def _stop(self): ...

    def _close(self): ...


def digest(window):
    parts = [np.array([window.start_s])]
    for span in window.streams.values():
        parts += [span.data, span.times, span.numbers, np.array([int(span.flags)])]
    return hashlib.sha256(b"".join(np.ascontiguousarray(p).tobytes() for p in parts)).hexdigest()


def live(path, seconds):
    """Run the rig; return its windows' digests, the errors by stream, the rates found after 10 minutes, the books."""
    clock = ManualClock(500.0)
    skewed = {name: SkewedClock(clock, ppm, 1000.0 * k) for k, (name, (ppm, *_)) in enumerate(CLOCKS.items())}
    lost_s = (500.0 + 0.6 * seconds, 500.0 + 0.6 * seconds + 20.0)
    devices = {name: Truthful(skewed[name], *rest) for name, (_, *rest) in CLOCKS.items()}
    devices["gaze"].gone_s = tuple(map(skewed["gaze"].shown, lost_s))
    digests, errors, found = [], {name: [] for name in CLOCKS}, {}
    stamps = dict.fromkeys(CLOCKS, "own")
    with XdfRecorder(path) as recorder, Rig(devices, clock=clock, late_s=LATE_S, stamps=stamps) as rig:
        rig.record(recorder)
        for window in rig.windows(Slide(1.0, 1.0), duration_s=seconds):
            digests.append(digest(window))
            for name, span in window.streams.items():
                if len(span.times):
                    off_s = span.times - skewed[name].true(0.0) - span.data[:, 0] / (1 + 1e-6 * CLOCKS[name][0])
                    errors[name].append((window.stop_s - rig.begin_s, float(np.abs(off_s).max())))
            if not found and window.stop_s - rig.begin_s >= KNOWN_S:
                found = {name: rig.report()[name]["clock"]["ppm"] for name in CLOCKS}
        return digests, errors, found, rig.report()


def replayed(path):
    with RigReplay(path) as rig:
        return [digest(window) for window in rig.windows(Slide(1.0, 1.0))]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0, help="simulated; the rates need more than 10")
    seconds = 60.0 * parser.parse_args().minutes
    logging.disable(logging.WARNING)
    ok, begin = True, time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rig.xdf"
        digests, errors, found, books = live(path, seconds)
        again = replayed(path)
    head = f"{'stream':<8}{'ppm':>7}{'found':>9}{'largest error ms':>19}{'in the first 15 s':>19}"
    print(head + f"{'samples':>10}{'lost':>7}  at last")
    for name, (ppm, sfreq, *_) in CLOCKS.items():
        worst = max(e for at_s, e in errors[name] if at_s > SETTLED_S)
        first = max(e for at_s, e in errors[name] if at_s <= SETTLED_S)
        counted = books[name]["delivered"] + books[name]["lost"]
        exact = abs(counted - seconds * sfreq * (1 + 1e-6 * ppm)) <= 0.5 * sfreq  # what is still under way
        rate = f"{found[name]:.1f}" if found else "-"
        print(f"{name:<8}{ppm:>7.0f}{rate:>9}{1e3 * worst:>19.2f}{1e3 * first:>19.2f}{books[name]['delivered']:>10}"
              f"{books[name]['lost']:>7}  {books[name]['health']}")  # fmt: skip
        ok &= worst <= BAR_S and exact and books[name]["health"] != "lost"
        ok &= not found or abs(found[name] - ppm) <= BAR_PPM
    ok &= 19 <= books["gaze"]["lost"] / CLOCKS["gaze"][1] <= 23
    print(f"{len(digests)} windows, {'the same' if digests == again else 'OTHERS'} from the recording; "
          f"{seconds:.0f} s in {time.monotonic() - begin:.0f} s")  # fmt: skip
    return 0 if ok and digests == again else 1


if __name__ == "__main__":
    sys.exit(main())
