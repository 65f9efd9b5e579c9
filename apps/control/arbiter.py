"""Which lane changes are safe, and how fast to follow: pure functions, no simulator, no clock.

The decoder only *wishes*. What is allowed is decided here, from distances and
speeds alone, with limits that come from the literature:

* behind: a lane change is critical if a car approaching in the target lane would
  have to brake harder than 3 m/s2, after 0.4 s of reaction, to stay one second of
  travel behind (UN Regulation 79 [1]_, 5.6.4.7);
* ahead: time to collision (Hayward [2]_) of at least 4 s, the value that separates
  encounters in which drivers found themselves in danger (van der Horst and
  Hogema [3]_), at least 1 s of time gap, and no harder braking than the car itself
  finds comfortable when it then follows the new leader (the safety criterion of
  Kesting et al. [4]_);
* nobody else is on the way into the same place.

Speed is never decided by the decoder: it follows the intelligent driver model [5]_.

References
----------
.. [1] UN Regulation No. 79, Uniform provisions concerning the approval of vehicles
       with regard to steering equipment, 03 series of amendments, 5.6.4.7, 2018.
.. [2] J. Hayward. Near-miss determination through use of a scale of danger.
       Highway Research Record 384, 24-34, 1972.
.. [3] R. van der Horst, J. Hogema. Time-to-collision and collision avoidance
       systems. 6th ICTCT workshop, Salzburg, 1993.
.. [4] A. Kesting, M. Treiber, D. Helbing. General lane-changing model MOBIL for
       car-following models. Transportation Research Record 1999, 86-94, 2007.
       doi:10.3141/1999-10
.. [5] M. Treiber, A. Hennecke, D. Helbing. Congested traffic states in empirical
       observations and microscopic simulations. Physical Review E 62, 1805-1824,
       2000. doi:10.1103/PhysRevE.62.1805
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from bci.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Neighbour:
    """Another vehicle, seen from the own car.

    Parameters
    ----------
    gap_m : float
        Distance from bumper to bumper along the road, m; 0 or less is beside the car.
    speed_mps : float
        Its speed, m/s.
    """

    gap_m: float
    speed_mps: float


@dataclass(frozen=True, slots=True)
class Situation:
    """All that a lane change is judged by.

    Parameters
    ----------
    speed_mps : float
        Speed of the own car, m/s.
    lane, n_lanes : int
        Own lane, counted from 0 at the left edge, and how many there are.
    is_changing : bool
        Whether a lane change is under way.
    front, rear : Neighbour, optional
        Next vehicle ahead of and behind the car *in the target lane*, those that
        are moving into it counted.
    """

    speed_mps: float
    lane: int
    n_lanes: int
    is_changing: bool = False
    front: Neighbour | None = None
    rear: Neighbour | None = None


@dataclass(frozen=True, slots=True)
class Rules:
    """Thresholds of the arbiter and parameters of the car following.

    Parameters
    ----------
    min_speed_mps : float
        A car slower than this does not change lanes, m/s.
    min_ttc_s : float
        Least time to collision with the new leader, s [3]_.
    min_time_gap_s : float
        Least time gap to both neighbours, s (UN R79, `t_G`) [1]_.
    min_gap_m : float
        Least distance to both neighbours, m (the model's standstill distance plus a reserve).
    rear_brake_mps2, rear_reaction_s : float
        What is asked at most of a car behind, m/s2, and after which time, s [1]_.
    comfort_brake_mps2 : float
        Hardest braking that a new leader may ask of the own car, m/s2; the `b` of the model is 2/3 of it.
    desired_speed_mps, time_gap_s, standstill_m, accel_mps2, brake_mps2 : float
        `v0`, `T`, `s0`, `a`, `b` of the intelligent driver model [5]_, eq. 3 and 4.
    """

    min_speed_mps: float = 5.0
    min_ttc_s: float = 4.0
    min_time_gap_s: float = 1.0
    min_gap_m: float = 6.0
    rear_brake_mps2: float = 3.0
    rear_reaction_s: float = 0.4
    comfort_brake_mps2: float = 3.0
    desired_speed_mps: float = 25.0
    time_gap_s: float = 1.6
    standstill_m: float = 4.0
    accel_mps2: float = 1.5
    brake_mps2: float = 2.0

    def __post_init__(self) -> None:
        bad = [n for n in self.__slots__ if not (math.isfinite(getattr(self, n)) and getattr(self, n) > 0)]
        if bad:
            raise ConfigError(
                f"the rules of the road must be finite numbers above 0, got {bad[0]}={getattr(self, bad[0])}; "
                "leave it at its default or give a larger value"
            )


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer to one wish; `reason` is empty where it was accepted."""

    accepted: bool
    reason: str = ""


DEFAULT_RULES = Rules()
_BESIDE_M = 1.0


def judge(direction: int, situation: Situation, rules: Rules = DEFAULT_RULES) -> Verdict:
    """Say whether a change to the left (-1) or right (+1) is safe now, and if not, why.

    Parameters
    ----------
    direction : {-1, 1}
        Left or right.
    situation : Situation
        What is around.
    rules : Rules
        Thresholds.

    Returns
    -------
    Verdict
        With the first reason found, in words and with the number that decided.

    Raises
    ------
    ConfigError
        If `direction` is neither -1 nor 1.
    """
    if direction not in (-1, 1):
        raise ConfigError(f"a lane change goes to -1 (left) or 1 (right), got {direction}; ask for one of the two")
    if not math.isfinite(situation.speed_mps):
        return Verdict(False, "own speed unknown")
    if situation.is_changing:
        return Verdict(False, "change in progress")
    if not 0 <= situation.lane + direction < situation.n_lanes:
        return Verdict(False, "road edge")
    if situation.speed_mps < rules.min_speed_mps:
        return Verdict(False, f"too slow {situation.speed_mps:.1f} m/s")
    reason = _front(situation, rules) or _rear(situation, rules)
    return Verdict(not reason, reason)


def follow(speed_mps: float, leader: Neighbour | None, rules: Rules = DEFAULT_RULES) -> float:
    """Return the acceleration of the intelligent driver model, m/s2 (not limited below).

    Parameters
    ----------
    speed_mps : float
        Own speed, m/s.
    leader : Neighbour, optional
        Next vehicle ahead.
    rules : Rules
        The model's parameters.

    References
    ----------
    Treiber et al. 2000, eq. 3 (acceleration) and 4 (desired gap).
    """
    speed = max(speed_mps, 0.0)
    free = 1.0 - (speed / rules.desired_speed_mps) ** 4
    if leader is None:
        return rules.accel_mps2 * free
    closing = speed - leader.speed_mps
    dynamic = speed * rules.time_gap_s + speed * closing / (2 * math.sqrt(rules.accel_mps2 * rules.brake_mps2))
    wanted_m = rules.standstill_m + max(0.0, dynamic)
    return rules.accel_mps2 * (free - (wanted_m / max(leader.gap_m, 0.1)) ** 2)


def stop(speed_mps: float, leader: Neighbour | None, brake_mps2: float, rules: Rules = DEFAULT_RULES) -> float:
    """Return the acceleration that slows to a stop at `brake_mps2`, or harder only where a leader asks for it."""
    if speed_mps <= 0:
        return 0.0
    return min(-brake_mps2, follow(speed_mps, leader, rules))


def critical_gap_m(own_mps: float, rear_mps: float, rules: Rules = DEFAULT_RULES) -> float:
    """Return the distance below which a car behind makes a lane change critical, m (UN R79, 5.6.4.7).

    Notes
    -----
    The regulation's formula holds for a car that approaches. For a slower one the
    distance is one time gap at its own speed, so that it need not brake at all.
    """
    closing = max(0.0, rear_mps - own_mps)
    approach_m = closing * rules.rear_reaction_s + closing**2 / (2 * rules.rear_brake_mps2)
    return max(rules.min_gap_m, approach_m + min(own_mps, max(rear_mps, 0.0)) * rules.min_time_gap_s)


def _front(situation: Situation, rules: Rules) -> str:
    """Why the vehicle ahead in the target lane forbids the change; empty if it does not."""
    front, speed = situation.front, situation.speed_mps
    if front is None:
        return ""
    if not (math.isfinite(front.gap_m) and math.isfinite(front.speed_mps)):
        return "front vehicle unknown"
    if front.gap_m < _BESIDE_M:
        return "vehicle alongside"
    closing = speed - front.speed_mps
    if closing > 0 and front.gap_m / closing < rules.min_ttc_s:
        return f"front vehicle, collision in {front.gap_m / closing:.1f} s"
    if front.gap_m < max(rules.min_gap_m, speed * rules.min_time_gap_s):
        return f"front vehicle {front.gap_m / speed:.1f} s"
    if follow(speed, front, rules) < -rules.comfort_brake_mps2:
        return f"front vehicle asks for {-follow(speed, front, rules):.1f} m/s2 of braking"
    return ""


def _rear(situation: Situation, rules: Rules) -> str:
    """Why the vehicle behind in the target lane forbids the change; empty if it does not."""
    rear = situation.rear
    if rear is None:
        return ""
    if not (math.isfinite(rear.gap_m) and math.isfinite(rear.speed_mps)):
        return "rear vehicle unknown"
    if rear.gap_m < _BESIDE_M:
        return "vehicle alongside"
    if rear.gap_m < critical_gap_m(situation.speed_mps, rear.speed_mps, rules):
        return f"rear vehicle {rear.gap_m / max(rear.speed_mps, 0.1):.1f} s"
    return ""
