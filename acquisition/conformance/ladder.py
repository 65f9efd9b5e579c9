"""Cases of the lifecycle: closed, open, streaming, and back, in every order."""

from __future__ import annotations

import contextlib
import pickle
from collections.abc import Callable

from bci.acquisition.conformance.case import Figures, Need, Severity, Step, case
from bci.acquisition.conformance.subject import GRACE_S, Subject
from bci.errors import BciError
from bci.ports import Device
from bci.stream import StreamInfo
from bci.testing.contract import require
from bci.testing.stream_rules import fails, never_raises

_END_S = 1.0
"""How long `stop` and `close` may take, s."""
_REPR = 1000
"""Longest text that a log line can bear, characters."""


@case(Step.BRONZE, Severity.CRITICAL)
def has_the_five_verbs(subject: Subject) -> None:
    """A device has open, start, read, stop and close."""
    with subject.fresh() as device:
        require(isinstance(device, Device), "has open, start, read, stop and close", type(device).__name__)


@case(Step.GOLD, Severity.MINOR, Need.COUNTS)
def making_it_holds_nothing(subject: Subject) -> None:
    """Making the object connects to nothing: no thread, no handle before open()."""
    with subject.fresh():
        pass  # the first may load a library
    before = subject.held()
    with subject.fresh():
        after = subject.held()
    for what in ("threads", "handles"):
        require(after[what] <= before[what], f"making the object opens no {what}", after[what] - before[what])


@case(Step.BRONZE, Severity.MAJOR)
def refuses_use_before_open(subject: Subject) -> None:
    """start() and read() of a closed device raise."""
    with subject.fresh() as device:
        fails("start() before open()", device.start)
        fails("read() before open()", lambda: device.read(0.0))


@case(Step.BRONZE, Severity.MAJOR)
def describes_its_stream(subject: Subject) -> None:
    """open() returns a StreamInfo."""
    with subject.fresh() as device:
        info = device.open()
        require(isinstance(info, StreamInfo), "open() returns a StreamInfo", info)


@case(Step.BRONZE, Severity.MAJOR)
def refuses_double_open(subject: Subject) -> None:
    """open() of an open device raises, and the device stays usable."""
    with subject.fresh() as device:
        device.open()
        fails("open() of an open device", device.open)
        device.start()
        subject.first(device)


@case(Step.BRONZE, Severity.MAJOR)
def refuses_double_start(subject: Subject) -> None:
    """start() of a streaming device raises, and the device streams on."""
    with subject.streaming() as device:
        fails("start() of a streaming device", device.start)
        subject.first(device)


@case(Step.BRONZE, Severity.MAJOR)
def refuses_read_before_start(subject: Subject) -> None:
    """read() of a device that is open and not started raises."""
    with subject.fresh() as device:
        device.open()
        fails("read() before start()", lambda: device.read(0.0))


@case(Step.BRONZE, Severity.MAJOR)
def refuses_read_after_stop(subject: Subject) -> None:
    """read() after stop() raises."""
    with subject.streaming() as device:
        device.stop()
        fails("read() after stop()", lambda: device.read(0.0))


@case(Step.BRONZE, Severity.MAJOR)
def refuses_use_after_close(subject: Subject) -> None:
    """start() and read() after close() raise."""
    with subject.streaming() as device:
        device.close()
        fails("start() after close()", device.start)
        fails("read() after close()", lambda: device.read(0.0))


@case(Step.BRONZE, Severity.MINOR)
def stops_twice(subject: Subject) -> None:
    """stop() of a device that is open and does not stream has no effect."""
    with subject.streaming() as device:
        device.stop()
        never_raises("stop() of a stopped device", device.stop)


@case(Step.BRONZE, Severity.MAJOR)
def closes_from_every_state(subject: Subject) -> None:
    """close() works from every state, any number of times, and never raises."""

    def climb(device: Device, verbs: int) -> None:
        for verb in (device.open, device.start, lambda: subject.first(device), device.stop)[:verbs]:
            verb()

    for verbs, state in ((0, "closed"), (1, "open"), (3, "streaming"), (4, "stopped")):
        with subject.fresh() as device:
            climb(device, verbs)
            never_raises(f"close() of a device that is {state}", device.close)
            never_raises("close() twice", device.close)


@case(Step.BRONZE, Severity.MAJOR)
def starts_again_after_stop(subject: Subject) -> None:
    """A device that was stopped can be started again."""
    with subject.streaming() as device:
        device.stop()
        never_raises("start() after stop()", device.start)
        subject.first(device)


@case(Step.BRONZE, Severity.MAJOR)
def opens_again_after_close(subject: Subject) -> None:
    """A device that was closed can be opened again and describes the same stream."""
    with subject.fresh() as device:
        info = device.open()
        device.start()
        subject.first(device)
        device.close()
        again = device.open()
        require(again == info, "open() after close() describes the same stream", again)
        device.start()
        subject.first(device)


@case(Step.BRONZE, Severity.MAJOR)
def errors_are_of_the_family(subject: Subject) -> None:
    """What is raised for wrong use is a DeviceError (or another BciError), which a session can handle."""

    def judge(what: str, call: Callable[[], object]) -> None:
        try:
            call()
        except BciError:
            return
        except Exception as error:  # noqa: BLE001 - a stranger's driver
            require(False, f"{what} raises a BciError", error)

    with subject.fresh() as device:
        judge("start() before open()", device.start)
        judge("read() before open()", lambda: device.read(0.0))
        device.open()
        judge("read() before start()", lambda: device.read(0.0))
        judge("open() of an open device", device.open)


@case(Step.SILVER, Severity.MINOR)
def stops_within_a_second(subject: Subject) -> Figures:
    """stop() and close() of a streaming device take at most a second each."""
    with subject.streaming() as device:
        stop_s, _ = subject.timed(device.stop)
        close_s, _ = subject.timed(device.close)
    require(stop_s <= _END_S + GRACE_S, f"stop() takes at most {_END_S:g} s", f"{stop_s:.2f} s")
    require(close_s <= _END_S + GRACE_S, f"close() takes at most {_END_S:g} s", f"{close_s:.2f} s")
    return {"stop_s": stop_s, "close_s": close_s}


@case(Step.SILVER, Severity.MINOR)
def can_be_shown_and_described(subject: Subject) -> None:
    """repr() is short and pickling is harmless; the StreamInfo survives pickling."""
    with subject.streaming() as device:
        text = repr(device)
        require(len(text) <= _REPR, f"repr() has at most {_REPR} characters", len(text))
        with contextlib.suppress(Exception):  # refused in whatever words, or a copy: both are fine
            pickle.dumps(device)
        subject.first(device)
        device.close()
        info = device.open()
        require(pickle.loads(pickle.dumps(info)) == info, "a StreamInfo survives pickling", info)


@case(Step.GOLD, Severity.MAJOR)
def two_can_live_side_by_side(subject: Subject) -> None:
    """A second instance either works beside the first or is refused with a DeviceError; the first is not disturbed."""
    with subject.streaming() as one, subject.fresh() as other:
        before = subject.first(one)
        try:
            other.open()
            other.start()
            subject.first(other)
            other.close()
        except BciError:
            pass  # one holder at a time is honest
        chunk = subject.first(one)
        lost = chunk.start - before.stop
        require(lost <= 0, "a second instance takes no samples from the first", f"{lost} samples lost")


CASES = (
    has_the_five_verbs,
    making_it_holds_nothing,
    refuses_use_before_open,
    describes_its_stream,
    refuses_double_open,
    refuses_double_start,
    refuses_read_before_start,
    refuses_read_after_stop,
    refuses_use_after_close,
    stops_twice,
    closes_from_every_state,
    starts_again_after_stop,
    opens_again_after_close,
    errors_are_of_the_family,
    stops_within_a_second,
    can_be_shown_and_described,
    two_can_live_side_by_side,
)
