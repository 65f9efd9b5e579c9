"""The contract of `Effector`, as a checker."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable

from bci.decision import Command
from bci.ports import Effector, HasStop, Hazard, Limits, OwnsLoop, ReportsEvents, ShowsStatus, Status
from bci.testing.contract import require

_BLOCKED_S = 1.0  # a machine under load may take a while; what blocks takes longer
_POLLS = 60


def check_effector(make_effector: Callable[[], Effector], *, drive: bool | None = None) -> None:
    """Check that an effector names its envelope, halts from anywhere and can be closed at any time.

    Parameters
    ----------
    make_effector : callable
        Returns a new effector each time.
    drive : bool, optional
        Whether to send values away from neutral; by default only where nobody is touched or moved.

    Raises
    ------
    ContractError
        Naming the first rule that is broken.

    Notes
    -----
    An effector that needs the main thread (`OwnsLoop`) must be checked on it.
    """
    effector = make_effector()
    require(isinstance(effector, Effector), "has limits, self_test, send, halt and close", effector)
    check_limits(effector.limits)
    effector.halt()  # before anything was opened
    effector.close()
    effector.close()
    effector = make_effector()
    try:
        effector.self_test()
        effector.self_test()  # again after every emergency stop
        if isinstance(effector, OwnsLoop):
            _check_loop(effector, drive)
        else:
            _check_open(effector, drive)
    finally:
        effector.close()
    effector.halt()  # after everything was released
    effector.close()


def check_limits(limits: Limits) -> None:
    """Check that the envelope is one that the guard can hold."""
    lim = limits
    require(isinstance(lim, Limits), "limits is a Limits", lim)
    bounded = all(math.isfinite(x) for x in (lim.low, lim.high, lim.neutral))
    require(bounded and lim.low <= lim.neutral <= lim.high, "low <= neutral <= high, all finite", lim)
    require(lim.rise_per_s > 0 and lim.fall_per_s > 0, "rise_per_s and fall_per_s are above 0", lim)
    require(lim.max_on_s > 0 and lim.min_off_s >= 0, "max_on_s is above 0, min_off_s 0 or more", lim)
    oldest_s = 0.3 if lim.hazard >= Hazard.BODY else 1.0
    require(0 < lim.max_age_s <= oldest_s, f"the signal may be at most {oldest_s} s old", lim.max_age_s)
    require(bool(lim.safe_state.strip()), "the safe state is named in words", lim.safe_state)


def _check_open(effector: Effector, drive: bool | None) -> None:
    limits = effector.limits
    drive = limits.hazard < Hazard.BODY if drive is None else drive
    for value in (limits.neutral, limits.low, limits.high, limits.neutral) if drive else (limits.neutral,):
        began_s = time.monotonic()
        effector.send(Command("intent", value, began_s, 0.3, began_s, "right"))
        require(time.monotonic() - began_s < _BLOCKED_S, "send does not block", time.monotonic() - began_s)
    for _ in range(2):
        effector.halt()
    _halt_elsewhere(effector)
    effector.send(Command("intent", limits.neutral, time.monotonic()))  # a halt is not the end
    effector.halt()
    require(effector.limits == limits, "limits stay as they are", effector.limits)
    if isinstance(effector, ShowsStatus):
        effector.show(Status("active", 0.5, "right", "a sentence"))
    if isinstance(effector, HasStop):
        effector.attach_stop(lambda: None)
    if isinstance(effector, ReportsEvents):
        events = effector.take_events()
        fits = all(isinstance(code, str) and math.isfinite(time_s) for time_s, code in events)
        require(fits, "events are (monotonic time in s, code)", events)


def _halt_elsewhere(effector: Effector) -> None:
    raised: list[BaseException] = []

    def halt() -> None:
        try:
            effector.halt()
        except BaseException as error:  # noqa: BLE001  # handed to the caller, which names the rule
            raised.append(error)

    thread = threading.Thread(target=halt, daemon=True)
    thread.start()
    thread.join(10 * _BLOCKED_S)
    require(not thread.is_alive(), "halt does not wait for the thread that sends", "a halt that hangs")
    require(not raised, "halt raises from no thread", raised)


def _check_loop(effector: OwnsLoop, drive: bool | None) -> None:
    polls = 0

    def poll() -> bool:
        nonlocal polls
        polls += 1
        if polls == 1:
            require(
                threading.current_thread() is here, "poll is called on the thread of run", threading.current_thread()
            )
            _check_open(effector, drive)  # type: ignore[arg-type]  # it is both: checked by the caller
        return polls < _POLLS

    here = threading.current_thread()
    effector.run(poll)
    require(polls >= _POLLS, "run calls poll until it returns False", f"{polls} calls")
