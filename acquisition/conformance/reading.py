"""Cases of waiting: how long a read takes, what an empty one is, what a late reader gets."""

from __future__ import annotations

import functools

from bci.acquisition.conformance.case import Figures, Need, Severity, Step, case
from bci.acquisition.conformance.subject import GRACE_S, READ_S, Subject
from bci.stream import Chunk
from bci.testing import stream_rules as rules
from bci.testing.contract import require

_BURST = 200
"""Reads without patience, one after another."""
_CATCH_UP_S = 0.5
"""What may still be on its way when a late reader has caught up, s."""


@case(Step.SILVER, Severity.MAJOR)
def read_obeys_its_timeout(subject: Subject) -> Figures:
    """read(t) takes no longer than t, for none, a short and a longer t."""
    worst_s = 0.0
    with subject.streaming() as device:
        for timeout_s in (0.0, 0.0, 0.02, 0.0, 0.3):
            took_s, _ = subject.timed(functools.partial(device.read, timeout_s))
            over_s = took_s - timeout_s
            worst_s = max(worst_s, over_s)
            require(over_s <= GRACE_S, f"read({timeout_s:g}) waits no longer", f"{took_s:.3f} s")
    return {"longest_over_s": worst_s}


@case(Step.SILVER, Severity.MAJOR, Need.LIVE)
def read_returns_when_samples_come(subject: Subject) -> Figures:
    """read(5) returns as soon as samples are there, not when its time is up."""
    took = []
    with subject.streaming() as device:
        for _ in range(3):
            took_s, _ = subject.timed(lambda: device.read(5.0))
            took.append(took_s)
    require(min(took) <= 1.0 + GRACE_S, "read(5) returns with the first samples", f"{min(took):.2f} s")
    return {"read_s": sorted(took)[1]}


@case(Step.SILVER, Severity.MAJOR)
def empty_reads_are_empty_chunks(subject: Subject) -> None:
    """A read that finds nothing returns an empty Chunk with the next number, never None, and loses nothing."""
    with subject.streaming() as device:
        expected: int | None = None
        for _ in range(_BURST):
            chunk = device.read(0.0)
            require(isinstance(chunk, Chunk), "a read that finds nothing returns an empty Chunk", chunk)
            if expected is not None:
                require(chunk.start >= expected, "an empty chunk carries the next number", chunk.start)
            expected = chunk.stop
        after = subject.first(device)
        require(after.start >= (expected or 0), "reading in vain changes no number", after.start)


@case(Step.SILVER, Severity.CRITICAL, Need.LIVE)
def slow_reader_loses_nothing_in_secret(subject: Subject) -> Figures:
    """A reader who sleeps 2 s gets every sample afterwards, or a gap that says how many are missing."""
    with subject.streaming() as device:
        before = subject.first(device)
        sfreq = before.info.sfreq
        begin_s = subject.wall.now()
        subject.wall.sleep_until(begin_s + subject.pause_s)
        full = [before]
        while (passed_s := subject.wall.now() - begin_s) < 2 * subject.pause_s + 1.0:
            chunk = device.read(READ_S)
            if chunk.n_samples:
                full.append(chunk)
            if full[-1].stop - before.stop >= (passed_s - _CATCH_UP_S / 2) * sfreq:
                break
    rules.jumps_are_flagged(full)
    accounted = full[-1].stop - before.stop
    expected = passed_s * sfreq
    slack = _CATCH_UP_S * sfreq + 0.05 * expected
    require(abs(accounted - expected) <= slack, f"{expected:.0f} samples are delivered or said to be lost", accounted)
    delivered = sum(c.n_samples for c in full[1:])
    return {"delivered": float(delivered), "lost": float(accounted - delivered)}


CASES = (
    read_obeys_its_timeout,
    read_returns_when_samples_come,
    empty_reads_are_empty_chunks,
    slow_reader_loses_nothing_in_secret,
)
