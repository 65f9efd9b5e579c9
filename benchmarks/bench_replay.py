"""The same recording at chunks of 1, 7, 32, 160, 500 samples and speeds 1, 20, unlimited: one hash of decisions."""

import argparse
import logging
import sys
import tempfile
from pathlib import Path

from bci.acquisition.participant import Participant
from bci.acquisition.replay import Replay
from bci.paradigms.motor_imagery import MotorImagery
from bci.runtime.session import Session


def play(device, record=None):
    paradigm = MotorImagery(n_trials=3, pause_s=(0.5, 1.0))
    with Session(device, paradigm, "csp-lda", record=record, seed=1) as session:
        session.calibrate()
        session.fit()
        return session.drive(15.0).hash


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--no-real-time", action="store_true", help="leave out speed 1 (a minute)")
    arguments = parser.parse_args()
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run.xdf"
        hashes = {"live": play(Participant(seed=2), path)}
        for n in (1, 7, 32, 160, 500):
            hashes[f"chunks of {n}"] = play(Replay(path, chunk_samples=n))
        for speed in (20.0, "max") if arguments.no_real_time else (1.0, 20.0, "max"):
            hashes[f"speed {speed}"] = play(Replay(path, speed=speed))
    for name, value in hashes.items():
        print(f"{name:<15} {value[:32]}")
    same = len(set(hashes.values())) == 1
    print("identical" if same else "DIFFERENT")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
