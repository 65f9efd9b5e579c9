"""A closed loop of your own: no hardware, live, or from a recording, with the same file.

python examples/closed_loop.py                                    a simulated person
python examples/closed_loop.py brainflow:synthetic                any BrainFlow board
python examples/closed_loop.py lsl:MyAmplifier                    any LSL stream
python examples/closed_loop.py replay:out/closed_loop-1.xdf       what was recorded: same decisions
"""

import sys

from bci import Command, Decision, Session
from bci.paradigms.motor_imagery import MotorImagery


def show(decision: Decision, command: Command | None) -> None:
    if command is not None and decision.stop % 250 == 0:
        bar = "#" * round(20 * abs(command.value))
        print(f"{decision.stop_s:8.1f} s  {decision.label:<6} {decision.confidence:.2f}  {bar}")


device = sys.argv[1] if len(sys.argv) > 1 else "participant"
recording = None if device.startswith("replay") else "out/closed_loop-{n}.xdf"

with Session(device, MotorImagery(n_trials=8), "csp-lda", record=recording, seed=1) as session:
    session.calibrate()
    print("calibration:", session.fit())
    run = session.drive(duration_s=60, on_decision=show)

print("driving:", run.score)
print("recording:", session.recording)
print("decisions:", len(run.decisions), "SHA-256", run.hash)
