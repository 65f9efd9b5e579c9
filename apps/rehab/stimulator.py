"""A simulated functional electrical stimulator with the envelope that a real one would need.

Nothing here touches a person: it is the model that shows, and lets be tested, what the guard and a
real driver must hold. Time is explicit, so that any sequence of demands can be replayed.
"""

from __future__ import annotations

import logging
import math
import threading
from dataclasses import dataclass

from bci.clock import Clock, MonotonicClock
from bci.decision import Command
from bci.errors import ConfigError, SafetyError
from bci.ports import Hazard, Limits

log = logging.getLogger(__name__)

RISE_PER_S = 1.0
"""Fastest rise, in caps per second: 10 % of the cap per 100 ms."""
MAX_ON_S = 10.0
"""Longest time with current, s; the pause after it lasts at least as long as the current did."""
TIMEOUT_S = 0.2
"""Without a fresh demand for this long the current is off, s."""
CAP_STEP_MA = 2.0
"""Most by which one act of a person raises the cap, mA."""
DENSITY_LIMIT_MA_CM2 = 2.0
"""Current density, r.m.s., above which IEC 60601-2-10 demands special attention, mA/cm²."""

LIMITS = Limits(
    hazard=Hazard.BODY,
    low=-1.0,  # an intent to open is a valid wish: it means no current
    high=1.0,
    neutral=0.0,
    rise_per_s=RISE_PER_S,
    max_on_s=MAX_ON_S,
    min_off_s=MAX_ON_S,
    max_age_s=0.3,
    safe_state="no current",
)


@dataclass(frozen=True, slots=True)
class Pulse:
    """The shape of the stimulus: balanced two-phase pulses through two equal electrodes.

    Parameters
    ----------
    width_us : float, default=250
        Width of one phase, µs.
    rate_hz : float, default=35
        Pulses per second.
    area_cm2 : float, default=25
        Area of the smaller electrode, cm².
    """

    width_us: float = 250.0
    rate_hz: float = 35.0
    area_cm2: float = 25.0

    def __post_init__(self) -> None:
        values = (self.width_us, self.rate_hz, self.area_cm2)
        if not all(math.isfinite(v) and v > 0 for v in values) or 2e-6 * self.width_us * self.rate_hz > 1:
            raise ConfigError(
                f"a pulse needs a width, a rate and an area above 0 with two phases that fit into one period, got "
                f"{self.width_us} µs, {self.rate_hz} Hz, {self.area_cm2} cm²; use for example 250 µs, 35 Hz, 25 cm²"
            )

    def charge_uc(self, current_ma: float) -> float:
        """Charge of one phase at `current_ma`, µC."""
        return current_ma * self.width_us * 1e-3

    def density_ma_cm2(self, current_ma: float) -> float:
        """Current density (r.m.s.) at `current_ma`, mA/cm²."""
        return current_ma * math.sqrt(2e-6 * self.width_us * self.rate_hz) / self.area_cm2


@dataclass(frozen=True, slots=True)
class Reading:
    """What the stimulator does at one instant: current (mA), cap (mA), charge per phase (µC), density (mA/cm²)."""

    current_ma: float
    cap_ma: float
    charge_uc: float
    density_ma_cm2: float


class SimulatedStimulator:
    """A stimulator that only computes its current; hazard class "touches a body".

    A demand runs from 0 to 1, in caps. The current starts at 0, rises by at most 10 % of the cap per
    100 ms, falls at once, lasts at most 10 s and then pauses for at least as long as it lasted.
    Without a demand for 200 ms it is off. What is not a number is a demand for nothing.

    Parameters
    ----------
    cap_ma : float, optional
        Most current that a person has confirmed for this session, mA. Without it `self_test`
        refuses; a person raises it step by step with `set_cap`.
    max_ma : float, default=20
        What the device can never exceed, mA.
    pulse : Pulse, optional
        Shape of the stimulus, for charge and density.
    clock : Clock, optional
        Monotonic clock; a test passes a `ManualClock`.

    Raises
    ------
    ConfigError
        If `max_ma` is not a current above 0, or the density at `max_ma` exceeds 2 mA/cm².
    SafetyError
        If `cap_ma` is not between 0 and `max_ma`.

    Notes
    -----
    Thread-safe. The envelope is that of the project's safety rules; pulse shape and the limit of the
    density are designed with reference to [1]_, without claiming conformity.

    References
    ----------
    .. [1] IEC 60601-2-10: Particular requirements for the basic safety and essential performance of
       nerve and muscle stimulators, 2012 + A1:2016.
    """

    def __init__(
        self,
        cap_ma: float | None = None,
        max_ma: float = 20.0,
        pulse: Pulse | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.max_ma, self.pulse = float(max_ma), pulse or Pulse()
        density = self.pulse.density_ma_cm2(self.max_ma)
        if not (math.isfinite(self.max_ma) and self.max_ma > 0 and density <= DENSITY_LIMIT_MA_CM2):
            raise ConfigError(
                f"max_ma must be a current above 0 mA and at most {DENSITY_LIMIT_MA_CM2} mA/cm² (r.m.s.), got "
                f"{max_ma} mA and {density:.3g} mA/cm²; lower max_ma or use larger electrodes"
            )
        self._cap_ma = 0.0 if cap_ma is None else self._checked(cap_ma)
        self._clock = clock or MonotonicClock()
        self._lock = threading.Lock()
        self._now_s = self._clock.now()
        self._demand = 0.0
        self._demand_s = -math.inf
        self._current_ma = 0.0
        self._on_s = -math.inf
        self._off_s = -math.inf
        self._pause_s = 0.0

    simulated = True
    """Nobody is touched: it only computes."""

    # ------------------------------------------------------------- Effector
    @property
    def limits(self) -> Limits:
        """The envelope; the guard holds it too."""
        return LIMITS

    def limits_in_words(self) -> str:
        """Return cap, charge and density for a person to confirm."""
        charge_uc, density = self.pulse.charge_uc(self._cap_ma), self.pulse.density_ma_cm2(self._cap_ma)
        return (
            f"at most {self._cap_ma:g} mA, {charge_uc:.2g} µC per phase, {density:.2g} mA/cm² (r.m.s.); rises by 10 % "
            f"of that in 0.1 s, on for {MAX_ON_S:g} s at most, then off for as long as it was on"
        )

    def self_test(self) -> None:
        """Refuse (`SafetyError`) unless a person has set a cap and the current can be switched off."""
        if not self._cap_ma > 0:
            raise SafetyError(
                "a stimulator needs a cap that a person has set for this session, got none; set cap_ma or call set_cap"
            )
        self.halt()
        current_ma = self.reading().current_ma
        if current_ma != 0.0:
            raise SafetyError(f"the current must be 0 mA after halt, got {current_ma} mA; do not use this stimulator")

    def send(self, command: Command) -> None:
        """Demand `command.value` caps from now on; below 0 means nothing."""
        self.demand(command.value, self._clock.now())

    def halt(self) -> None:
        """Switch the current off at once."""
        self.demand(0.0, self._clock.now())

    def close(self) -> None:
        """Switch the current off; any number of times."""
        self.halt()

    # --------------------------------------------------------------- person
    def set_cap(self, cap_ma: float) -> None:
        """Set the cap, mA, as a person has asked for; up by at most 2 mA at a time, down at once.

        Raises
        ------
        SafetyError
            If it is not between 0 and `max_ma`, or too large a step up.
        """
        cap_ma = self._checked(cap_ma)
        with self._lock:
            if cap_ma > self._cap_ma + CAP_STEP_MA + 1e-9:
                raise SafetyError(
                    f"the cap rises by at most {CAP_STEP_MA:g} mA at a time, got {self._cap_ma:g} to {cap_ma:g} mA; "
                    "raise it step by step and ask the person each time"
                )
            self._advance(self._clock.now())
            self._cap_ma = cap_ma
            self._current_ma = min(self._current_ma, self._demand * cap_ma)
            if self._current_ma == 0.0:
                self._switch_off(self._now_s)
        log.info("stimulator cap set to %g mA", cap_ma)

    @property
    def cap_ma(self) -> float:
        """Most current of this session, mA."""
        return self._cap_ma

    def reading(self) -> Reading:
        """Return what the stimulator does now."""
        return self.reading_at(self._clock.now())

    # ----------------------------------------------------- explicit time
    def demand(self, value: float, now_s: float) -> None:
        """Ask for `value` caps at `now_s`, s; a time that steps back counts as the last one."""
        value = min(max(float(value), 0.0), 1.0) if math.isfinite(value) else 0.0
        with self._lock:
            self._advance(now_s)
            self._demand, self._demand_s = value, self._now_s
            self._current_ma = min(self._current_ma, value * self._cap_ma)
            if self._current_ma == 0.0:
                self._switch_off(self._now_s)
            may_start = self._on_s == -math.inf and self._now_s >= self._off_s + self._pause_s
            if may_start and value * self._cap_ma > 0.0:
                self._on_s = self._now_s  # the rise begins; the current itself is still 0

    def reading_at(self, now_s: float) -> Reading:
        """Return what the stimulator does at `now_s`, s."""
        with self._lock:
            self._advance(now_s)
            current = self._current_ma
            cap = self._cap_ma
        return Reading(current, cap, self.pulse.charge_uc(current), self.pulse.density_ma_cm2(current))

    def _advance(self, now_s: float) -> None:
        """Move the model to `now_s`: ramp, and switch off where the time on or the demand ends."""
        now_s = max(now_s, self._now_s) if math.isfinite(now_s) else self._now_s
        elapsed_s, self._now_s = now_s - self._now_s, now_s
        if self._on_s == -math.inf:
            return
        end_s = min(self._demand_s + TIMEOUT_S, self._on_s + MAX_ON_S)
        if now_s >= end_s:
            self._switch_off(end_s)
        else:
            risen = self._current_ma + RISE_PER_S * self._cap_ma * elapsed_s
            self._current_ma = min(risen, self._demand * self._cap_ma)

    def _switch_off(self, when_s: float) -> None:
        if self._on_s != -math.inf:
            self._pause_s, self._off_s = max(0.0, when_s - self._on_s), when_s
        self._on_s, self._current_ma = -math.inf, 0.0

    def _checked(self, cap_ma: float) -> float:
        if not (math.isfinite(cap_ma) and 0.0 <= cap_ma <= self.max_ma):
            raise SafetyError(
                f"the cap must be between 0 and {self.max_ma:g} mA, got {cap_ma} mA; ask the person and set it again"
            )
        return float(cap_ma)
