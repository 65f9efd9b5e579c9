"""The ladder, the report, its seal and its page."""

import json
import logging
import platform
import sys

import pytest

from bci.acquisition.conformance.case import Outcome, Result, Severity, Step, case
from bci.acquisition.conformance.grade import grade, reached
from bci.acquisition.conformance.mutants.lifecycle import StopsSlowly
from bci.acquisition.conformance.page import read_report, render
from bci.acquisition.conformance.reference import ReferenceAmplifier, ReferenceDriver
from bci.acquisition.conformance.report import make_report, summary
from bci.acquisition.conformance.seal import make_key, seal, verify
from bci.acquisition.conformance.subject import Subject
from bci.acquisition.conformance.suite import CASES, run_cases
from bci.clock import ManualClock
from bci.errors import ConfigError, DataError, PluginError


def examined(driver=ReferenceDriver, emulated=True):
    logging.disable(logging.WARNING)
    clock = ManualClock(100.0)
    with ReferenceAmplifier(clock) as amplifier:
        subject = Subject(lambda: driver(amplifier), amplifier if emulated else None, wall=clock, cycles=10)
        with subject.fresh() as device:
            info = device.open()
        report = make_report("reference", subject, run_cases(subject), info)
    logging.disable(logging.NOTSET)
    return report


@pytest.fixture(scope="module")
def report():
    return examined()


@pytest.fixture
def keys(tmp_path):
    path = tmp_path / "maker.pem"
    return path, make_key(path)


def said(report):
    return {step["step"]: step["said"] for step in report["steps"]}


def test_reference_reaches_platinum(report):
    assert report["reached"] == "platinum"
    assert said(report) == dict.fromkeys(map(str, Step), "done")


def test_failed_case_holds_its_step_and_those_above():
    report = examined(StopsSlowly)
    assert report["reached"] == "bronze"
    assert said(report)["silver"] == "failed: stops_within_a_second"
    assert said(report)["gold"] == "needs silver"
    assert "FAILED stops_within_a_second: stop() takes at most 1 s; got '2.00 s'" in summary(report)


def test_untested_case_holds_its_step_and_says_why():
    report = examined(emulated=False)
    assert report["reached"] == "silver"
    assert said(report)["gold"] == "untested: 7 cases (no emulator)"


def test_case_that_does_not_apply_does_not_hold_its_step():
    results = [
        Result(one, Outcome.EXEMPT, "it does not measure impedance")
        for one in (case(step, Severity.MINOR)(_rule) for step in Step)
    ]
    grades = grade(results, [r.case for r in results])
    assert reached(grades) == "platinum"
    assert grades[0].said == "done, exempt: it does not measure impedance"


def test_step_without_a_case_is_not_reached():
    assert reached(grade([])) == "none"


def test_cases_that_were_left_out_keep_every_step_from_being_done():
    first = Result(CASES[0], Outcome.PASSED, "")
    assert reached(grade([first])) == "none" and "left out" in grade([first])[0].said


def test_report_survives_json_and_names_no_host(report):
    text = json.dumps(report)
    assert json.loads(text) == report
    assert platform.node() not in text or len(platform.node()) < 4


def test_sealed_report_is_as_it_was_made(report):
    assert verify(seal(report)).startswith("unsigned")


@pytest.mark.parametrize("field", ["made", "reached", "driver", "cases", "counts"])
def test_changed_report_is_told(report, field):
    sealed = seal(report)
    with pytest.raises(DataError, match="was changed"):
        verify({**sealed, field: "platinum?"})


@pytest.mark.parametrize("ending", ["html", "json"])
@pytest.mark.parametrize("word", ["passed", "counts", "spec", "steps", "driver", "seal"])
def test_report_with_a_word_changed_throughout_is_refused_in_words(report, tmp_path, word, ending):
    sealed = seal(report)
    path = tmp_path / f"report.{ending}"
    text = render(sealed) if ending == "html" else json.dumps(sealed)
    path.write_text(text.replace(word, "other"), encoding="utf-8")
    with pytest.raises(DataError):
        verify(read_report(path))


def test_signed_report_names_its_key(report, keys):
    path, public = keys
    sealed = seal(report, path)
    assert public in verify(sealed, public)
    assert verify(json.loads(json.dumps(sealed))).startswith(f"signed by {public}")


def test_report_resealed_by_another_key_is_told(report, keys, tmp_path):
    path, public = keys
    make_key(tmp_path / "other.pem")
    forged = seal({**report, "reached": "gold"}, tmp_path / "other.pem")
    with pytest.raises(DataError, match="it is signed by"):
        verify(forged, public)
    mixed = {**forged, "seal": {**forged["seal"], "public_key": public}}
    with pytest.raises(DataError, match="does not fit"):
        verify(mixed, public)
    assert path.stat().st_mode & 0o077 == 0


def test_unsigned_report_is_told_where_a_key_is_asked_for(report, keys):
    with pytest.raises(DataError, match="unsigned"):
        verify(seal(report), keys[1])


def test_key_is_never_replaced(keys):
    with pytest.raises(ConfigError, match="exists"):
        make_key(keys[0])


def test_signature_without_the_package_names_the_extra(report, keys, monkeypatch):
    monkeypatch.setitem(sys.modules, "cryptography.exceptions", None)
    with pytest.raises(PluginError, match=r"bci\[sign\]"):
        seal(report, keys[0])
    assert seal(report)["seal"]["signed"] is False


def test_page_holds_its_report(report, tmp_path):
    sealed, path = seal(report), tmp_path / "report.html"
    path.write_text(render(sealed), encoding="utf-8")
    assert read_report(path) == sealed


def test_page_shows_every_rule_and_refers_to_nothing_outside(report):
    page = render(seal(report))
    assert all(c["name"] in page for c in report["cases"])
    assert "http" not in page and "src=" not in page


def test_page_that_shows_something_else_is_told(report, tmp_path):
    path = tmp_path / "report.html"
    page = render(seal(examined(StopsSlowly)))
    path.write_text(page.replace('<div class="badge bronze">bronze', '<div class="badge gold">gold'), encoding="utf-8")
    with pytest.raises(DataError, match="does not show"):
        read_report(path)


def test_text_of_a_driver_cannot_break_the_page(report, tmp_path):
    nasty = {**report, "stream": {"error": "</script><script>alert(1)</script>"}}
    path = tmp_path / "report.html"
    path.write_text(render(seal(nasty)), encoding="utf-8")
    assert "<script>alert" not in path.read_text(encoding="utf-8").replace("<\\/script><script>alert", "")
    assert read_report(path)["stream"] == nasty["stream"]


@pytest.mark.parametrize("text", ["", "[]", "{}", "no report", "<html></html>"])
def test_what_is_no_report_is_refused(text, tmp_path):
    path = tmp_path / "report.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match="expected a"):
        read_report(path)


def test_driver_that_cannot_be_opened_has_a_report_all_the_same():
    report = make_report("none", Subject(lambda: None), [], None)
    assert report["reached"] == "none"
    assert "could not be opened" in render(seal(report))


def _rule(subject):
    """A rule."""
