"""Cases of what breaks: silence, lost samples, a pulled cable, tried with the maker's emulator."""

from __future__ import annotations

import contextlib
import functools
import statistics
from collections.abc import Callable
from typing import Any

from bci.acquisition.conformance.case import Figures, Need, Severity, Step, case
from bci.acquisition.conformance.emulated import Emulated
from bci.acquisition.conformance.subject import READ_S, Heard, Subject
from bci.errors import BciError, DeviceError, DeviceLost, DeviceNotFound
from bci.stream import Flag
from bci.testing import stream_rules as rules
from bci.testing.contract import require
from bci.testing.stream_rules import never_raises

_SAY_S = 0.25
"""Within this silence or the death of a source is said, s."""
_TRIES = 3
"""The median of as many tries counts: a busy machine may hold up one."""
_END_S = 5.0
"""How long open, start or close of what is not there may take, s."""
_WRAP = 256
"""Counters of one byte begin again after as many samples."""


@case(Step.GOLD, Severity.CRITICAL, Need.EMULATOR)
def silence_is_said(subject: Subject) -> Figures:
    """A device that sends nothing is flagged SILENT (or DeviceLost) within 250 ms."""
    emulator = _emulator(subject)
    said = []
    for _ in range(_TRIES):
        with subject.streaming() as device:
            emulator.freeze(1.0)
            said.append(_until_said(subject, device))
        subject.wall.sleep_until(subject.wall.now() + 1.0)
    typical_s = statistics.median(said)
    require(typical_s <= _SAY_S, f"silence is said within {_SAY_S * 1e3:.0f} ms", f"{typical_s * 1e3:.0f} ms")
    return {"said_after_s": typical_s, "worst_of_3_s": max(said)}


@case(Step.GOLD, Severity.CRITICAL, Need.EMULATOR)
def loss_in_silence_is_counted(subject: Subject) -> Figures:
    """When a silent device is back, what was lost meanwhile is a jump of the number."""
    with subject.streaming() as device:
        begin = subject.first(device)
        _emulator(subject).freeze(0.8)
        expected = 0.8 * begin.info.sfreq
        heard = _until_jump(subject, device, begin)
    jump = _jump(heard)
    slack = 0.1 * expected + 2
    require(abs(jump - expected) <= slack, f"0.8 s of silence is a jump of {expected:.0f} samples", jump)
    return {"jump": float(jump)}


@case(Step.GOLD, Severity.CRITICAL, Need.EMULATOR)
def loss_is_counted_exactly(subject: Subject) -> None:
    """Seven samples that were measured and never sent are a jump of seven."""
    _judge_loss(subject, 7)


@case(Step.GOLD, Severity.CRITICAL, Need.EMULATOR)
def loss_is_flagged(subject: Subject) -> None:
    """The chunk after lost samples is flagged GAP."""
    rules.jumps_are_flagged(_after_loss(subject, 3).full)


@case(Step.PLATINUM, Severity.CRITICAL, Need.EMULATOR)
def loss_of_a_whole_turn_is_counted(subject: Subject) -> None:
    """256 lost samples, after which a counter of one byte looks as if nothing was lost, are a jump of 256."""
    _judge_loss(subject, _WRAP)


@case(Step.GOLD, Severity.MAJOR, Need.EMULATOR)
def unplugged_while_closed_is_not_found(subject: Subject) -> Figures:
    """open() of a device that is not there raises DeviceNotFound within 5 s."""
    with _Unplugged(subject), subject.fresh() as device:
        took_s, error = subject.timed(lambda: _error_of(device.open))
    require(isinstance(error, DeviceNotFound), "open() of an absent device raises DeviceNotFound", error)
    require(took_s <= _END_S, f"open() gives up within {_END_S:g} s", f"{took_s:.2f} s")
    return {"open_s": took_s}


@case(Step.PLATINUM, Severity.MAJOR, Need.EMULATOR)
def unplugged_while_open_is_said(subject: Subject) -> None:
    """start() of a device that was unplugged since open() raises a DeviceError, or the first read says so."""
    with subject.fresh() as device:
        device.open()
        with _Unplugged(subject):
            error = _error_of(device.start)
            if error is None:
                _until_said(subject, device)
            else:
                require(isinstance(error, DeviceError), "start() without a device raises DeviceError", error)
            never_raises("close() of an unplugged device", device.close)


@case(Step.GOLD, Severity.CRITICAL, Need.EMULATOR)
def unplugged_while_streaming_is_said(subject: Subject) -> Figures:
    """A device that is unplugged while it streams raises DeviceLost or says SILENT within 250 ms."""
    said = []
    for _ in range(_TRIES):
        with subject.streaming() as device, _Unplugged(subject):
            said.append(_until_said(subject, device))
    typical_s = statistics.median(said)
    require(typical_s <= _SAY_S, f"unplugging is said within {_SAY_S * 1e3:.0f} ms", f"{typical_s * 1e3:.0f} ms")
    return {"said_after_s": typical_s, "worst_of_3_s": max(said)}


@case(Step.PLATINUM, Severity.MAJOR, Need.EMULATOR)
def closes_while_unplugged(subject: Subject) -> None:
    """stop() or close() of an unplugged device, from every state, ends within 5 s; close() never raises."""
    verbs: tuple[Callable[[Any], object], ...] = (
        lambda device: device.open(),
        lambda device: device.start(),
        lambda device: device.stop(),
    )
    for climb in range(4):
        with subject.fresh() as device:
            for verb in verbs[:climb]:
                verb(device)
            with _Unplugged(subject):
                took_s, _ = subject.timed(
                    functools.partial(never_raises, "close() of an unplugged device", device.close)
                )
            require(took_s <= _END_S, f"close() ends within {_END_S:g} s", f"{took_s:.2f} s")


@case(Step.GOLD, Severity.MAJOR, Need.EMULATOR)
def streams_again_after_replugging(subject: Subject) -> None:
    """After unplugging, close(), replugging and open() the device streams again."""
    with subject.fresh() as device:
        device.open()
        device.start()
        subject.first(device)
        with _Unplugged(subject):
            with contextlib.suppress(Exception):  # how it is said is the business of other cases
                _until_said(subject, device)
            device.close()
        device.open()
        device.start()
        subject.first(device)


@case(Step.PLATINUM, Severity.MAJOR, Need.EMULATOR, Need.COUNTS)
def failed_open_leaks_nothing(subject: Subject) -> None:
    """Twenty times open() without a device leave no thread and no handle behind."""
    with _Unplugged(subject):
        with subject.fresh() as device:
            _error_of(device.open)
        before = subject.held()
        for _ in range(20):
            with subject.fresh() as device:
                _error_of(device.open)
        after = subject.held()
    for what in ("threads", "handles"):
        grown = after[what] - before[what]
        require(grown <= 0, f"a failed open() leaves no {what}", f"{grown:+.0f} after 20")


class _Unplugged:
    """The cable is out inside the block."""

    def __init__(self, subject: Subject) -> None:
        self._emulator = _emulator(subject)

    def __enter__(self) -> None:
        self._emulator.unplug()

    def __exit__(self, *_: object) -> None:
        self._emulator.replug()


def _emulator(subject: Subject) -> Emulated:
    assert subject.emulator is not None  # the need EMULATOR was asked first
    return subject.emulator


def _error_of(call: Callable[[], object]) -> Exception | None:
    try:
        call()
    except Exception as error:  # noqa: BLE001 - a stranger's driver; the case judges it
        return error
    return None


def _until_said(subject: Subject, device: Any) -> float:
    """Read until the source is said to be silent or gone; return how long after the last samples (or now), s."""
    since_s = begin_s = subject.wall.now()
    while subject.wall.now() < begin_s + _END_S:
        try:
            chunk = device.read(READ_S)
        except DeviceLost:
            return subject.wall.now() - since_s
        except BciError as error:
            require(False, "a source that is gone raises DeviceLost", error)
        if Flag.SILENT in chunk.flags:
            return subject.wall.now() - since_s
        if chunk.n_samples:  # they were on their way
            since_s = subject.wall.now()
    require(False, "a source that sends nothing is said to be SILENT", f"nothing within {_END_S:g} s")
    return _END_S


def _judge_loss(subject: Subject, n: int) -> None:
    jump = _jump(_after_loss(subject, n))
    require(jump == n, f"{n} lost samples are a jump of {n}", jump)


def _after_loss(subject: Subject, n: int) -> Heard:
    with subject.streaming() as device:
        begin = subject.listen(device, subject.first(device).info, 0.3).full[-1]
        _emulator(subject).drop(n)
        return _until_jump(subject, device, begin)


def _until_jump(subject: Subject, device: Any, begin: Any) -> Heard:
    def done(heard: Heard) -> bool:
        return _jump(Heard(begin.info, [begin, *heard.chunks])) > 0

    heard = subject.listen(device, begin.info, 2.0, done)
    heard.chunks.insert(0, begin)
    return heard


def _jump(heard: Heard) -> int:
    """Return the samples that are missing among what was heard."""
    numbers = rules.joined_numbers(heard.full)
    return int(numbers[-1] - numbers[0] + 1 - len(numbers))


CASES = (
    silence_is_said,
    loss_in_silence_is_counted,
    loss_is_counted_exactly,
    loss_is_flagged,
    loss_of_a_whole_turn_is_counted,
    unplugged_while_closed_is_not_found,
    unplugged_while_open_is_said,
    unplugged_while_streaming_is_said,
    closes_while_unplugged,
    streams_again_after_replugging,
    failed_open_leaks_nothing,
)
