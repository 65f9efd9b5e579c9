"""Two people on two amplifiers whose clocks disagree, aligned, recorded and played again. No hardware.

python examples/two_streams.py
"""

import numpy as np

from bci.acquisition.participant import Participant
from bci.acquisition.recorder.xdf_recorder import XdfRecorder
from bci.acquisition.rig import Rig
from bci.acquisition.rig_replay import RigReplay
from bci.clock import MonotonicClock, SkewedClock
from bci.signal.filters import Bandpass
from bci.trial import Slide

wrong = SkewedClock(MonotonicClock(), ppm=200, offset_s=1000.0)
one = Participant(seed=1, channels=("C3", "C4"), speed=1.0)
two = Participant(seed=2, channels=("C3", "C4"), speed=1.0, sfreq=500, clock=wrong)
blocks = {"one": [Bandpass(8, 13)], "two": [Bandpass(8, 13)]}
window = Slide(length_s=1.0, step_s=1.0)

with XdfRecorder("out/two_streams-{n}.xdf") as recorder, Rig({"one": one, "two": two}) as rig:
    rig.record(recorder)
    live = []
    for aligned in rig.windows(window, blocks=blocks, duration_s=15):
        X = aligned.stacked(125.0)  # (n_channels, n_times) of both: what a decoder takes
        live.append(X)
        power = {name: float(np.var(span.data)) for name, span in aligned.streams.items()}
        print(f"{aligned.start_s:9.1f} s  {X.shape}  alpha {power['one']:5.1f} and {power['two']:5.1f} µV²")
    clock = rig.report()["two"]["clock"]

print(f"the second clock: {clock['offset_s']:.4f} s to add, {clock['ppm']:.0f} ppm fast, ± {clock['ppm_error']:.0f}")
with RigReplay(recorder.path) as rig:
    again = [aligned.stacked(125.0) for aligned in rig.windows(window, blocks=blocks)]
same = len(again) == len(live) and all(np.array_equal(a, b, equal_nan=True) for a, b in zip(again, live, strict=True))
print(f"{recorder.path}: {len(again)} windows, {'the same' if same else 'OTHERS'}")
