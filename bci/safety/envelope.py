"""The envelope of an output: cap, slew, time on and off. Pure, standard library only."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

MAX_STEP_S = 0.1
"""A guard that stood still may not make up for it in one jump."""


@dataclass(frozen=True, slots=True)
class Envelope:
    """Limits of one output; the fields are those of `bci.ports.Limits`."""

    low: float = -1.0
    high: float = 1.0
    neutral: float = 0.0
    rise_per_s: float = 4.0
    fall_per_s: float = math.inf
    max_on_s: float = math.inf
    min_off_s: float = 0.0

    def __post_init__(self) -> None:
        bounded = all(math.isfinite(x) for x in (self.low, self.high, self.neutral))
        rates = self.rise_per_s > 0 and self.fall_per_s > 0 and self.max_on_s > 0 and self.min_off_s >= 0
        if not (bounded and self.low <= self.neutral <= self.high and rates):
            raise ValueError(
                "an envelope needs finite low <= neutral <= high, rates and max_on_s above 0 and min_off_s of 0 "
                f"or more, got {self}; correct the limits of the effector"
            )


@dataclass(frozen=True, slots=True)
class Output:
    """Where an output stands: its value, when that was, since when it is on, until when it must rest."""

    value: float
    at_s: float = -math.inf
    on_since_s: float | None = None
    rest_until_s: float = -math.inf


def advance(envelope: Envelope, output: Output, target: float, now_s: float) -> Output:
    """Return the output at `now_s` on its way to `target`, inside the envelope whatever `target` is.

    Away from neutral it moves by at most `rise_per_s`, back by `fall_per_s`. After `max_on_s`
    away from neutral it is there at once, and stays for `min_off_s`, as after any shorter time on.
    """
    e, now_s = envelope, max(now_s, output.at_s)
    if output.on_since_s is not None and now_s - output.on_since_s >= e.max_on_s:
        return release(e, output, now_s)
    if not math.isfinite(target) or now_s < output.rest_until_s:
        target = e.neutral
    value = _move(e, output.value, min(max(target, e.low), e.high), min(now_s - output.at_s, MAX_STEP_S))
    if value == e.neutral:
        return release(e, output, now_s)
    return replace(
        output, value=value, at_s=now_s, on_since_s=now_s if output.on_since_s is None else output.on_since_s
    )


def release(envelope: Envelope, output: Output, now_s: float) -> Output:
    """Return the output at neutral, at once."""
    rest_until_s = output.rest_until_s if output.on_since_s is None else now_s + envelope.min_off_s
    return Output(envelope.neutral, now_s, None, rest_until_s)


def _move(e: Envelope, value: float, target: float, elapsed_s: float) -> float:
    side, wanted = value - e.neutral, target - e.neutral
    if side * wanted < 0 or abs(wanted) < abs(side):
        # Back towards neutral; never beyond it in the same step.
        stop, back = (target if side * wanted > 0 else e.neutral), _reach(e.fall_per_s, elapsed_s)
        return stop if abs(value - stop) <= back else value - math.copysign(back, side)
    rise = _reach(e.rise_per_s, elapsed_s)
    return target if abs(target - value) <= rise else value + math.copysign(rise, target - value)


def _reach(rate_per_s: float, elapsed_s: float) -> float:
    return rate_per_s if math.isinf(rate_per_s) else rate_per_s * elapsed_s
