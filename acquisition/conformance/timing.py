"""Cases of numbers and times: the sample number is the truth within a stream, time between streams."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bci.acquisition.conformance.case import Exempt, Figures, Need, Severity, Step, case
from bci.acquisition.conformance.subject import Heard, Subject
from bci.stream import Flag
from bci.testing import stream_rules as rules
from bci.testing.contract import require

_AGE_S = 1.0
"""How old the newest sample may be when it is read by a reader who is always there, s."""
_AHEAD_S = 0.05
"""How far a time may lie in the future: an estimate of the rate may be that much ahead, s."""
_PAUSE_S = 0.5
_HOLE_S = 0.1
"""Longer than this (and three samples) no time may be missing between two samples with following numbers, s."""
_RATE = 0.005
"""How far the rate may be off what `StreamInfo` states, relative: more than any crystal, less than a wrong setting."""


@case(Step.SILVER, Severity.CRITICAL, Need.SIGNAL)
def numbers_begin_at_zero(subject: Subject) -> None:
    """The first sample after start() is number 0, or the loss before it is flagged."""
    first = subject.heard.full[0]
    fair = first.start == 0 or (first.start > 0 and Flag.GAP in first.flags)
    require(fair, "samples are numbered from 0 at start()", first.start)


@case(Step.SILVER, Severity.CRITICAL)
def numbers_begin_again_at_restart(subject: Subject) -> None:
    """After stop() and start() samples are numbered from 0 again."""
    with subject.streaming() as device:
        subject.restart(device)
        first = subject.first(device)
        fair = first.start == 0 or (first.start > 0 and Flag.GAP in first.flags and first.start < first.info.sfreq)
        require(fair, "samples are numbered from 0 at every start()", first.start)


@case(Step.SILVER, Severity.CRITICAL)
def restart_delivers_nothing_old(subject: Subject) -> None:
    """After a pause between stop() and start() no sample from before the pause is delivered."""
    with subject.streaming() as device:
        begin_s = subject.restart(device, pause_s=_PAUSE_S)
        first = subject.first(device)
        early_s = begin_s - float(first.times[0])
        require(early_s < 0.25, "samples after start() are not older than it", f"{early_s:.3f} s older")


@case(Step.SILVER, Severity.CRITICAL, Need.SIGNAL)
def numbers_never_step_back(subject: Subject) -> None:
    """No sample number is given twice."""
    rules.numbers_do_not_step_back(subject.heard.chunks)


@case(Step.SILVER, Severity.CRITICAL, Need.SIGNAL)
def jumps_are_flagged(subject: Subject) -> None:
    """Where the sample number jumps, the chunk after the gap is flagged GAP."""
    rules.jumps_are_flagged(subject.heard.chunks)


@case(Step.SILVER, Severity.MAJOR, Need.SIGNAL)
def gaps_are_real(subject: Subject) -> None:
    """A chunk is flagged GAP only where the sample number jumps: a false alarm costs a trial."""
    full = subject.heard.full
    for before, after in zip(full, full[1:], strict=False):
        real = after.start > before.stop
        require(real or Flag.GAP not in after.flags, "GAP is flagged where samples are missing only", after.start)


@case(Step.SILVER, Severity.CRITICAL, Need.SIGNAL)
def times_rise(subject: Subject) -> None:
    """Times are finite and rise from sample to sample."""
    rules.times_rise(subject.heard.chunks)


@case(Step.SILVER, Severity.CRITICAL, Need.SIGNAL)
def no_time_is_missing(subject: Subject) -> Figures:
    """Between samples with following numbers no more time passes than a sample: what is lost is counted."""
    heard = subject.heard
    times, numbers = rules.joined_times(heard.chunks), rules.joined_numbers(heard.chunks)
    extra_s = np.diff(times) - np.diff(numbers) / heard.info.sfreq
    worst_s = float(extra_s.max(initial=0.0))
    limit_s = max(_HOLE_S, 3 / heard.info.sfreq)
    where = int(numbers[1:][extra_s.argmax()]) if len(extra_s) else 0
    require(worst_s <= limit_s, "no time is missing where no sample is", f"{worst_s:.3f} s before sample {where}")
    return {"longest_step_s": worst_s}


@case(Step.SILVER, Severity.CRITICAL, Need.SIGNAL)
def rate_is_as_stated(subject: Subject) -> Figures:
    """The rate of the time stamps (least squares) is the stated one within 0.5 %."""
    heard = subject.heard
    rate_hz, error_hz = _rate(rules.joined_times(heard.chunks), rules.joined_numbers(heard.chunks))
    return _judge_rate(heard, rate_hz, error_hz, "samples are stamped")


@case(Step.SILVER, Severity.CRITICAL, Need.SIGNAL, Need.LIVE)
def samples_arrive_at_the_stated_rate(subject: Subject) -> Figures:
    """The rate at which samples arrive (least squares) is the stated one within 0.5 %."""
    heard = subject.heard
    return _judge_rate(heard, *_arrival_rate(heard), "samples arrive")


@case(Step.SILVER, Severity.MAJOR, Need.SIGNAL, Need.LIVE, Need.REPORT)
def measured_rate_is_within_its_error(subject: Subject) -> Figures:
    """The rate that report() says it measured is that at which samples arrive, within the error it states."""
    heard = subject.heard
    said_hz, said_error_hz = heard.report.get("sfreq"), heard.report.get("sfreq_error")
    if said_hz is None or said_error_hz is None:
        raise Exempt("it reports no measured rate (yet)")
    rate_hz, error_hz = _arrival_rate(heard)
    limit_hz = said_error_hz + error_hz
    require(abs(rate_hz - said_hz) <= limit_hz, f"the measured rate is {rate_hz:.4g} ± {limit_hz:.3g} Hz", said_hz)
    return {"said_hz": said_hz, "said_error_hz": said_error_hz, "rate_hz": rate_hz}


@case(Step.SILVER, Severity.CRITICAL, Need.SIGNAL)
def times_are_on_the_session_clock(subject: Subject) -> Figures:
    """The newest sample is at most a second old when it is read, and not from the future."""
    # The first reads may bring what waited while the device was started.
    ages = np.array([a for a in subject.heard.ages if np.isfinite(a)])[2:]
    if not len(ages):
        raise Exempt("too few chunks came to judge their age", untested=True)
    age_s = float(np.median(ages))
    require(-_AHEAD_S <= age_s <= _AGE_S, f"times are on the session clock: an age of 0 to {_AGE_S:g} s",
            f"{age_s:.3f} s")  # fmt: skip
    return {"age_s": age_s}


@case(Step.SILVER, Severity.MAJOR, Need.SIGNAL, Need.REPORT)
def report_agrees_with_what_came(subject: Subject) -> None:
    """What report() counts as delivered and lost is what the reader saw."""
    with subject.fresh() as device:
        info = device.open()
        device.start()
        heard = subject.listen(device, info, min(1.0, subject.seconds))
        report = device.report()
    full = heard.full
    before = full[0].start if Flag.GAP in full[0].flags else 0
    lost = full[-1].stop - full[0].start - heard.n_samples + before
    require(report["delivered"] == heard.n_samples, f"report() says {heard.n_samples} delivered", report["delivered"])
    require(report["lost"] == lost, f"report() says {lost} lost", report["lost"])


def _arrival_rate(heard: Heard) -> tuple[float, float]:
    arrivals = np.array([t for t, c in zip(heard.arrivals, heard.chunks, strict=True) if c.n_samples])
    # The first chunk may have waited while the device was started.
    return _rate(arrivals[1:], np.array([c.stop for c in heard.full])[1:])


def _rate(times: NDArray[np.float64], numbers: NDArray[np.int64]) -> tuple[float, float]:
    """Return slope of number against time and what its error may be, Hz: residuals follow one another within 0.25 s."""
    if len(times) < 3:
        raise Exempt("too few samples came to judge the rate", untested=True)
    t, n = times - times.mean(), numbers - numbers.mean()
    slope = float((t * n).sum() / (t * t).sum())
    span_s = float(times[-1] - times[0])
    independent = max(4.0, min(float(len(times)), span_s / 0.25))
    # The error of a slope with k independent residuals over a span T is sd * sqrt(12 / k) / T.
    return slope, float(3 * np.std(n - slope * t) * np.sqrt(12 / independent) / max(span_s, 1e-9))


def _judge_rate(heard: Heard, rate_hz: float, error_hz: float, what: str) -> Figures:
    stated_hz = heard.info.sfreq
    allowed_hz = _RATE * stated_hz + error_hz
    require(
        abs(rate_hz - stated_hz) <= allowed_hz,
        f"{what} at {stated_hz:g} ± {allowed_hz:.3g} Hz",
        f"{rate_hz:.4g} Hz",
    )
    return {"rate_hz": rate_hz, "error_hz": error_hz}


CASES = (
    numbers_begin_at_zero,
    numbers_begin_again_at_restart,
    restart_delivers_nothing_old,
    numbers_never_step_back,
    jumps_are_flagged,
    gaps_are_real,
    times_rise,
    no_time_is_missing,
    rate_is_as_stated,
    samples_arrive_at_the_stated_rate,
    measured_rate_is_within_its_error,
    times_are_on_the_session_clock,
    report_agrees_with_what_came,
)
