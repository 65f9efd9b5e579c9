"""Cases of markers: an event belongs to the first sample at or after it, whenever it is told."""

from __future__ import annotations

from typing import Any

import numpy as np

from bci.acquisition.conformance.case import Figures, Need, Severity, Step, case
from bci.acquisition.conformance.subject import Heard, Subject
from bci.testing import stream_rules as rules
from bci.testing.contract import require

_CODE = "bci:check"
_BURST = 50
_WAIT_S = 2.0
"""How long a marker may be on its way, s of signal."""


@case(Step.SILVER, Severity.CRITICAL, Need.MARKERS)
def marker_lands_on_its_sample(subject: Subject) -> None:
    """A marker is delivered once, at the first sample at or after its time."""
    with subject.streaming() as device:
        begin = subject.first(device)
        mark_s = float(begin.times[-1]) + 0.5 / begin.info.sfreq
        device.mark(_CODE, mark_s)
        heard = _until_marked(subject, device, begin, 1, mark_s)
    events, truth = rules.found(heard.chunks, _CODE), rules.number_at(heard.full, mark_s)
    require(len(events) == 1, "a marker is delivered once", events)
    require(events[0].sample == truth, f"a marker is at the first sample after it ({truth})", events[0].sample)


@case(Step.SILVER, Severity.MAJOR, Need.MARKERS)
def burst_of_markers_keeps_its_times(subject: Subject) -> Figures:
    """50 markers at once are all delivered, in order, each with its own time and within a sample of it."""
    with subject.streaming() as device:
        begin = subject.first(device)
        period_s = 1 / begin.info.sfreq
        marks_s = float(begin.times[-1]) + period_s * (0.25 + 0.5 * np.arange(_BURST))
        for mark_s in marks_s:
            device.mark(_CODE, float(mark_s))
        heard = _until_marked(subject, device, begin, _BURST, float(marks_s[-1]))
    events = rules.found(heard.chunks, _CODE)
    require(len(events) == _BURST, f"{_BURST} markers are delivered", len(events))
    off_s = np.array([e.time for e in events]) - marks_s
    require(bool((np.abs(off_s) < 1e-3 * period_s).all()), "each marker keeps its time", f"{np.abs(off_s).max():.4f} s")
    off = [abs(e.sample - (rules.number_at(heard.full, t) or 0)) for e, t in zip(events, marks_s, strict=True)]
    require(max(off) <= 1, "each marker is within a sample of its time", f"{max(off)} samples")
    return {"most_off_samples": float(max(off))}


@case(Step.SILVER, Severity.MAJOR, Need.MARKERS)
def late_marker_keeps_its_number(subject: Subject) -> None:
    """A marker for a sample that was delivered already comes at once and within a sample of its true number."""
    with subject.streaming() as device:
        begin = subject.first(device)
        heard = subject.listen(device, begin.info, 0.3)
        old = heard.full[len(heard.full) // 2]
        device.mark(_CODE, float(old.times[0]))
        after = _until_marked(subject, device, heard.full[-1], 1, float(old.times[0]))
    events = rules.found(after.chunks, _CODE)
    require(len(events) == 1, "a late marker is delivered once", events)
    off = abs(events[0].sample - old.start)
    require(off <= 1, f"a late marker keeps its number ({old.start})", events[0].sample)


@case(Step.SILVER, Severity.MAJOR, Need.MARKERS)
def early_marker_waits_for_its_sample(subject: Subject) -> None:
    """A marker for a time to come is delivered with the chunk that holds its sample, never before."""
    with subject.streaming() as device:
        begin = subject.first(device)
        mark_s = float(begin.times[-1]) + 0.3
        device.mark(_CODE, mark_s)
        heard = _until_marked(subject, device, begin, 1, mark_s)
    require(len(rules.found(heard.chunks, _CODE)) == 1, "an early marker is delivered once", "none")
    for chunk in heard.chunks:
        for event in rules.found([chunk], _CODE):
            require(chunk.stop > event.sample, "a marker is not delivered before its sample", event.sample)
            # Two samples: a driver may smooth its times meanwhile.
            late_s = float(chunk.times[-1]) - mark_s if chunk.n_samples else 0.0
            require(late_s >= -2 / chunk.info.sfreq, "an early marker waits for its time", f"{-late_s:.3f} s early")


def _until_marked(subject: Subject, device: Any, begin: Any, n: int, until_s: float) -> Heard:
    """Read until `n` markers and the sample after `until_s` came; `begin` is put before what is read."""

    def done(heard: Heard) -> bool:
        full = heard.full
        return len(rules.found(heard.chunks, _CODE)) >= n and bool(full) and float(full[-1].times[-1]) >= until_s

    heard = subject.listen(device, begin.info, _WAIT_S, done)
    heard.chunks.insert(0, begin)
    return heard


CASES = (
    marker_lands_on_its_sample,
    burst_of_markers_keeps_its_times,
    late_marker_keeps_its_number,
    early_marker_waits_for_its_sample,
)
