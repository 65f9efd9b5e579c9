"""A simulated car that changes lanes when the driver imagines it, and only where that is safe.

Intent to the left or right asks for a lane change; `bci.apps.control.arbiter`
answers. Speed belongs to the car's own car following. Silence, a halt and the
start all mean the same: the car keeps its lane and slows to a stop.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from bci.apps.control import arbiter
from bci.apps.control.highway import PHYSICS_S, Highway
from bci.decision import Command
from bci.errors import ConfigError, SafetyError
from bci.ports import Hazard, Limits, Status

log = logging.getLogger(__name__)

STOP_BRAKE_MPS2 = 2.0
"""Deceleration of the stop, m/s2: below the 3 m/s2 that a standing passenger still finds comfortable."""

HARDEST_BRAKE_MPS2 = 8.0
"""What dry tarmac gives; only car following ever asks for more than the comfortable stop."""

HUMAN_HOLD_S = 3.0
"""For how long the decoder is not listened to after a person took the wheel, s of simulated time."""

_ASK, _RELEASE = 0.5, 0.25
_POLL_S = 0.01
_MAX_EVENTS = 10_000
_SIDES = {-1: "left", 1: "right"}
_HUMAN = {"left": -1, "right": 1, "brake": 0, "go": 0}

_LIMITS = Limits(hazard=Hazard.VEHICLE, rise_per_s=6.0, max_age_s=0.3, safe_state="keeps its lane and slows to a stop")


class Car:
    """Drive in highway-env: imagery left and right asks for lane changes.

    Parameters
    ----------
    seed : int, default=0
        Seed of the traffic.
    render : {False, "window", "frames"}, default=False
        Show a window (arrow keys drive, space stops), keep the last pictures in `frames`, or neither.
    simulated : bool, default=True
        Has to be True: there is no real vehicle behind this output.
    hold_frames : int, default=5
        Commands in a row that must ask for the same side before it counts (100 ms at 20 ms each).
    timeout_s : float, default=0.15
        Silence after which the car stops by itself, whatever became of the guard, s.
    n_vehicles : int, default=18
        Other vehicles within sight.

    Raises
    ------
    ConfigError
        If a setting is out of range, or a real vehicle is asked for.

    Notes
    -----
    A wish counts once: after it the intent has to come back to within ±0.25 before
    the next is heard. The same holds after every stop, so that an intent that is
    held through a stop does nothing when the car sets off again.
    A person always wins: `human` acts at once, and the decoder is not listened to
    for `HUMAN_HOLD_S` after it; a person's brake holds until that person lets go.
    """

    def __init__(
        self,
        seed: int = 0,
        render: Literal[False, "window", "frames"] = False,
        simulated: bool = True,
        hold_frames: int = 5,
        timeout_s: float = 0.15,
        n_vehicles: int = 18,
    ) -> None:
        if not simulated:
            raise ConfigError("the car drives in a simulator only, got simulated=False; leave it at True")
        if render not in (False, "window", "frames"):
            raise ConfigError(f"render must be False, 'window' or 'frames', got {render!r}; choose one of these")
        if hold_frames < 1 or not 0 < timeout_s <= 0.2:
            raise ConfigError(
                "a wish needs 1 command or more and silence ends within 0.2 s, got "
                f"hold_frames={hold_frames} and timeout_s={timeout_s} s; use the defaults"
            )
        self.simulated = simulated
        self.render, self.hold_frames, self.timeout_s = render, hold_frames, timeout_s
        self.rules = arbiter.DEFAULT_RULES
        self.highway = Highway(seed, n_vehicles=n_vehicles)
        self.frames: deque[NDArray[np.uint8]] = deque(maxlen=50)
        self.answer = ""
        self._lock = threading.RLock()  # guards the inbox below; never held while the simulation moves
        self._status = Status()
        self._intent = 0.0
        self._asked, self._n_asked, self._armed = 0, 0, False
        self._wish, self._human = 0, 0
        self._heard = False
        self._halt = ""
        self._heard_s = -math.inf
        self._live = False
        self._stop_cause = "start"
        self._braked = False
        self._human_s = 0.0
        self._standing = False
        self._collided = False
        self._own_change_s = -math.inf
        self._was_changing = False
        self._events: deque[tuple[float, str]] = deque(maxlen=_MAX_EVENTS)
        self._stop: Callable[[], None] | None = None
        self._window: Any = None
        self._painter: Any = None
        self._closed = False

    # ------------------------------------------------------------------ Effector
    @property
    def limits(self) -> Limits:
        """The envelope it must be kept in."""
        return _LIMITS

    def self_test(self) -> None:
        """Prove on an empty road that the stop works; open the window if there is one.

        Raises
        ------
        SafetyError
            If the car does not come to rest in its lane.
        ConfigError
            If a window is asked for and there is no display.
        """
        road = Highway(0, n_vehicles=0)
        for _ in range(int(30 / PHYSICS_S)):
            road.step(_brake(road.speed_mps, arbiter.stop(road.speed_mps, None, STOP_BRAKE_MPS2)))
        at_rest = road.speed_mps < 0.01 and not road.is_changing
        road.close()
        if not at_rest:
            raise SafetyError(
                f"the car should stand still in its lane 30 s after a stop, it drives at {road.speed_mps:.1f} m/s; "
                "do not drive with this installation of highway-env"
            )
        if self.render == "window" and self._window is None:
            from bci.apps.control.picture import Window

            self._window = Window()

    def send(self, command: Command) -> None:
        """Hear an intent from -1 (left) to 1 (right); the answer follows in the next step of the simulation."""
        value = command.value
        if command.name != "intent" or not math.isfinite(value):
            return  # as good as silence: the deadline goes on
        value = min(max(value, -1.0), 1.0)
        with self._lock:
            self._intent, self._heard, self._heard_s = value, True, self._now()
            side = 0 if abs(value) < _ASK else int(math.copysign(1, value))
            self._n_asked = self._n_asked + 1 if side and side == self._asked else int(side != 0)
            self._asked = side
            if abs(value) < _RELEASE:
                self._armed = True
            elif self._armed and self._n_asked >= self.hold_frames:
                self._wish, self._armed = side, False

    def halt(self) -> None:
        """Keep the lane and slow to a stop, until a command comes again."""
        with self._lock:
            self._forget()
            self._halt = "halt"

    def close(self) -> None:
        """Halt and release the simulator and the window."""
        self.halt()
        if self._closed:
            return
        self._closed = True
        if self._window is not None:
            self._window.close()
        self.highway.close()

    # -------------------------------------------------------------- capabilities
    def show(self, status: Status) -> None:
        """Show the guard's state and the cue in the picture."""
        self._status = status

    def take_events(self) -> list[tuple[float, str]]:
        """Return (monotonic time in s, code) of everything since the last call."""
        taken = []
        while self._events:
            taken.append(self._events.popleft())
        return taken

    def attach_stop(self, stop: Callable[[], None]) -> None:
        """Call `stop` when a person presses the space bar or closes the window."""
        self._stop = stop

    def run(self, poll: Callable[[], bool]) -> None:
        """Drive in real time until `poll` returns False; needs the main thread if there is a window."""
        self._live = True
        self._heard_s = -math.inf
        last_s, owed_s, is_drawn = time.monotonic(), 0.0, True
        while poll() and not self._closed:
            now_s = time.monotonic()
            owed_s, last_s = owed_s + now_s - last_s, now_s
            if owed_s >= PHYSICS_S:
                # After a pause of the whole process the road goes on where it was, without catching up.
                owed_s = 0.0 if owed_s > 4 * PHYSICS_S else owed_s - PHYSICS_S
                self._tick()
                is_drawn = False
            elif self._window is not None and not is_drawn:
                self._window.draw(self._draw(), self._on_key)
                is_drawn = True
            else:
                time.sleep(max(0.0, min(_POLL_S, PHYSICS_S - owed_s)))

    # --------------------------------------------------------------- simulation
    def step(self, dt_s: float) -> None:
        """Move the simulation on by `dt_s` (rounded to whole steps of `PHYSICS_S`, at least one), at once."""
        for _ in range(max(1, round(dt_s / PHYSICS_S))):
            self._tick()

    def human(self, key: Literal["left", "right", "brake", "go"]) -> None:
        """Act on a person's key: a lane change that only the road's edge refuses, a stop, or the end of that stop."""
        if key not in _HUMAN:
            raise ConfigError(f"a person's keys are {', '.join(_HUMAN)}, got {key!r}; use one of these")
        with self._lock:
            self._wish, self._human = 0, _HUMAN[key]
            self._human_s = HUMAN_HOLD_S
            self._armed = False
            if key == "brake":
                self._braked, self._halt = True, "human"
            elif key == "go":
                self._braked = False

    def picture(self) -> NDArray[np.uint8]:
        """Return the scene as seen now, shape (height, width, 3), RGB."""
        from bci.apps.control.picture import pixels

        return pixels(self._draw())

    @property
    def state(self) -> str:
        """What the car is doing: driving, stopping, standing or crashed."""
        if self._collided:
            return "crashed"
        return ("standing" if self._standing else "stopping") if self.is_stopping else "driving"

    @property
    def is_stopping(self) -> bool:
        """True from a halt, silence or the start until a command comes."""
        return bool(self._stop_cause or self._halt)

    # ------------------------------------------------------------------- private
    def _tick(self) -> None:
        """One step of the simulation."""
        wish, human = self._read_inbox()
        if human:
            self._turn(human, by_human=True)
        elif wish and not self._stop_cause:
            self._turn(wish, by_human=False)
        road, leader = self.highway, self.highway.leader()
        if self._stop_cause:
            accel = arbiter.stop(road.speed_mps, leader, STOP_BRAKE_MPS2, self.rules)
        else:
            accel = arbiter.follow(road.speed_mps, leader, self.rules)
        road.step(_brake(road.speed_mps, accel))
        self._notice()

    def _read_inbox(self) -> tuple[int, int]:
        """Take what came since the last step; start a stop, or end one when commands come again."""
        with self._lock:
            heard, self._heard = self._heard, False
            wish, self._wish = self._wish, 0
            human, self._human = self._human, 0
            cause, self._halt = self._halt, ""
            if not cause and not self._stop_cause and self._now() - self._heard_s >= self.timeout_s:
                cause = "silence"
                self._forget()
        self._human_s = max(0.0, self._human_s - PHYSICS_S)
        if cause and not self._stop_cause:
            self.highway.keep_lane()
            self._say(f"car:stopping:{cause}")
        self._stop_cause = self._stop_cause or cause
        if heard and self._stop_cause and not self._braked and not self._collided:
            self._stop_cause, self._standing = "", False
            self._say("car:driving")
        return (0 if self._human_s > 0 else wish), human

    def _now(self) -> float:
        """Real time while `run` drives, simulated time under `step`."""
        return time.monotonic() if self._live else self.highway.time_s

    def _turn(self, side: int, by_human: bool) -> None:
        """Ask the arbiter and change lanes, or say why not; a person is refused at the road's edge only."""
        road, who = self.highway, "human:" if by_human else ""
        if by_human:
            at_edge = not 0 <= road.target_lane + side < road.n_lanes
            verdict = arbiter.Verdict(not at_edge, "road edge" if at_edge else "")
        else:
            verdict = arbiter.judge(side, road.situation(side), self.rules)
        if verdict.accepted:
            road.change_lane(side)
            self._own_change_s = road.time_s
        self.answer = f"{who}{_SIDES[side]}:" + ("accepted" if verdict.accepted else f"refused:{verdict.reason}")
        self._say(f"car:{self.answer}")

    def _notice(self) -> None:
        """Report what became different with the last step."""
        road = self.highway
        if self._stop_cause and not self._standing and road.speed_mps < 0.05:
            self._standing = True
            self._say("car:standing")
        if self._was_changing and not road.is_changing:
            self._say(f"car:lane:{road.lane}")
        self._was_changing = road.is_changing
        if road.has_crashed and not self._collided:
            self._collided = True
            self._stop_cause = "collision"
            self._say(f"car:collision:{road.blame(self._own_change_s)}")
        if self.render == "frames":
            self.frames.append(self.picture())

    def _forget(self) -> None:
        """Drop every wish; the caller holds the lock."""
        self._intent, self._asked, self._n_asked, self._armed = 0.0, 0, 0, False
        self._wish, self._heard = 0, False

    def _draw(self) -> Any:
        """Draw the scene on a pygame surface."""
        if self._painter is None:
            from bci.apps.control.picture import Painter  # pygame is loaded only where something is shown

            self._painter = Painter()
        return self._painter.draw(self.highway, self._status, self._intent, self.answer, self.state)

    def _on_key(self, key: str) -> None:
        if key != "stop":
            self.human(key)  # type: ignore[arg-type]  # the window sends the keys that `human` names
            return
        self.halt()
        if self._stop is not None:
            self._stop()

    def _say(self, code: str) -> None:
        self._events.append((time.monotonic(), code))
        log.info("%s", code)


def _brake(speed_mps: float, accel_mps2: float) -> float:
    """Limit an acceleration to what tyres give, and to what brings the car to rest in one step."""
    return max(accel_mps2, -HARDEST_BRAKE_MPS2, -speed_mps / PHYSICS_S)
