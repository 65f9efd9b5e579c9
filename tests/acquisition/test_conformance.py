"""The kit against drivers with one fault each, on a manual clock: waiting costs no time, so every case is tried."""

import logging
import threading

import numpy as np
import pytest

from bci.acquisition.conformance.case import Outcome
from bci.acquisition.conformance.mutants.catalogue import MUTANTS
from bci.acquisition.conformance.reference import ReferenceAmplifier, ReferenceDriver
from bci.acquisition.conformance.subject import Subject
from bci.acquisition.conformance.suite import CASES, named, run_cases
from bci.acquisition.participant import Participant
from bci.clock import ManualClock
from bci.errors import ConfigError
from bci.stream import Channel, StreamInfo

# These cannot be broken without breaking others: a driver without verbs, stream or samples fails nearly all.
TOTAL = {"has_the_five_verbs", "describes_its_stream", "delivers_samples"}


@pytest.fixture(autouse=True)
def quiet():
    logging.disable(logging.WARNING)
    yield
    logging.disable(logging.NOTSET)


def results(driver, **options):
    clock = ManualClock(100.0)
    with ReferenceAmplifier(clock) as amplifier:
        subject = Subject(lambda: driver(amplifier), amplifier, wall=clock, cycles=10)
        return run_cases(subject, **options)


def failed(found):
    return [r.case.name for r in found if r.outcome is Outcome.FAILED]


def test_reference_passes_every_case():
    found = results(ReferenceDriver)
    assert [r.case.name for r in found if r.outcome is not Outcome.PASSED] == []


@pytest.mark.parametrize(("name", "mutant"), MUTANTS.items(), ids=lambda x: x if isinstance(x, str) else x.__name__)
def test_mutant_fails_its_case_and_no_other(name, mutant):
    assert failed(results(mutant)) == [name]


def test_every_case_has_a_mutant():
    assert {case.name for case in CASES} == set(MUTANTS) | TOTAL


def test_every_case_is_named_once_and_has_a_rule_of_one_sentence():
    assert len({case.name for case in CASES}) == len(CASES)
    for case in CASES:
        assert case.rule.endswith(".") and ". " not in case.rule, case.name


def test_driver_without_verbs_fails_the_case_of_verbs():
    class Mute:
        def open(self):
            return StreamInfo("mute", 250.0, (Channel("Cz"),))

    assert "has_the_five_verbs" in failed(run_cases(Subject(Mute), named(["has_the_five_verbs"])))


def test_driver_without_a_description_fails_the_case_of_it():
    class Nameless(ReferenceDriver):
        def open(self):
            super().open()

    assert "describes_its_stream" in failed(results(Nameless, cases=named(["describes_its_stream"])))


def test_driver_without_samples_fails_once_and_leaves_the_others_untested():
    class Dead(ReferenceDriver):
        def _read(self, timeout_s):
            self._clock.sleep_until(self._clock.now() + timeout_s)

    found = results(Dead, cases=named(["delivers_samples", "times_rise", "rate_is_as_stated"]))
    assert failed(found) == ["delivers_samples"]
    assert all(r.untested and "samples come" in r.reason for r in found[1:])


def test_driver_that_hangs_does_not_hang_the_kit():
    over = threading.Event()

    class Hangs(ReferenceDriver):
        def _start(self):
            over.wait()

    found = results(Hangs, cases=named(["delivers_samples", "times_rise"]), patience_s=0.2)
    over.set()
    assert failed(found) == ["delivers_samples"]
    assert found[1].untested and "hangs since delivers_samples" in found[1].reason


def test_unknown_case_names_the_nearest():
    with pytest.raises(ConfigError, match="did you mean times_rise"):
        named(["times_ris"])


def test_participant_on_its_own_time_fails_nothing_and_says_why_it_is_exempt():
    found = run_cases(Subject(Participant, seconds=2.0, cycles=3))
    assert failed(found) == []
    reasons = {r.case.name: r.reason for r in found if r.outcome is Outcome.EXEMPT}
    assert reasons["slow_reader_loses_nothing_in_secret"] == "it runs on its own time, not in real time"
    assert reasons["silence_is_said"] == "no emulator"


@pytest.mark.parametrize(("off", "fails"), [(1.002, []), (1.01, ["rate_is_as_stated"])])
def test_rate_may_be_off_by_half_a_percent(off, fails):
    class Off(ReferenceDriver):
        def _open(self):
            info = super()._open()
            return StreamInfo(info.name, info.sfreq * off, info.channels, info.source_id)

    assert failed(results(Off, cases=named(["rate_is_as_stated"]))) == fails


def test_jitter_of_arrival_is_not_taken_for_a_wrong_rate():
    class Jitters(ReferenceDriver):
        def _read(self, timeout_s):
            late_s = 0.03 * np.random.default_rng(self._n).random()
            got = super()._read(timeout_s)
            self._clock.sleep_until(self._clock.now() + late_s)
            return got

    assert failed(results(Jitters)) == []
