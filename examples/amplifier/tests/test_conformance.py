"""The conformance kit, short, against the emulator; `bci device check amp8 --emulated` runs all of it."""

from bci_amp8.driver import Amp8
from bci_amp8.emulator import Amp8Emulator

from bci.acquisition.conformance.grade import grade, reached
from bci.acquisition.conformance.subject import Subject
from bci.acquisition.conformance.suite import run_cases


def test_driver_reaches_platinum():
    with Amp8Emulator() as emulator:
        subject = Subject(lambda: Amp8(**emulator.settings), emulator, seconds=2.0, cycles=10)
        results = run_cases(subject)
    assert reached(grade(results)) == "platinum", [(r.case.name, r.reason) for r in results if r.outcome != "passed"]
