"""In what unit the times of a table are: by the name of their column, by what the caller says, never by a guess."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bci.acquisition.formats.found import Settings
from bci.errors import ConfigError, FormatError

UNITS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
"""What a time can be in, and how many seconds that is."""
_WORDS = {
    "s": ("s", "sec", "secs", "second", "seconds"),
    "ms": ("ms", "msec", "msecs", "millis", "millisecond", "milliseconds"),
    "us": ("us", "µs", "μs", "usec", "usecs", "micros", "microsecond", "microseconds"),
    "ns": ("ns", "nsec", "nsecs", "nanos", "nanosecond", "nanoseconds"),
}
_UNIT_OF = {word: unit for unit, words in _WORDS.items() for word in words}
_ANY = "|".join(sorted(_UNIT_OF, key=len, reverse=True))
# "time", "timestamp_ms", "Time [ms]", "t(µs)", "times/s"; a plural is no unit
_NAME = re.compile(
    rf"(?:times?|t|ts|time[ _]?stamps?|elapsed(?:[ _]?time)?)(?:[ _.,:/\-]+({_ANY})|[ _.]*[\[(] ?({_ANY}) ?[\])])?",
    re.IGNORECASE,
)
_SLOW_HZ = 2.0
"""Below, numbers taken for seconds are more likely ms, µs or ns: no signal of a body is sampled so slowly."""
_USUAL_HZ = (20.0, 100_000.0)
_NEAR = 1.25
"""How far, as a factor, the rate that a caller gives may be from that of the times."""


def column_of_times(names: list[str]) -> int | None:
    """Return the first column whose name says that it holds times; None if there is none."""
    return next((k for k, name in enumerate(names) if _NAME.fullmatch(name.strip())), None)


def in_seconds(
    times: NDArray[np.float64], name: str, settings: Settings, path: Path, warn: Callable[[str], None]
) -> NDArray[np.float64]:
    """Return times in s.

    Parameters
    ----------
    times : ndarray, shape (n_samples,)
        As they stand in the file.
    name : str
        Of their column; a unit in it counts unless `settings.time_unit` says another.
    settings : Settings
        Without a unit anywhere, its `sfreq` tells it.
    path : Path
        The file.
    warn : callable
        Told what was concluded.

    Raises
    ------
    ConfigError
        If `settings.time_unit` is no unit.
    FormatError
        If nobody says the unit, and the rate would be below 2 Hz were they in seconds; from there to 20 Hz they are
        taken for seconds, and that is said.
    """
    if settings.time_unit is not None:
        return times * UNITS[_checked(settings.time_unit)]
    said = _NAME.fullmatch(name.strip())
    if said is not None and (unit := said[1] or said[2]):
        return times * UNITS[_UNIT_OF[unit.lower()]]
    step = float(np.median(np.diff(times))) if len(times) > 1 else 0.0
    if not 1.0 / _USUAL_HZ[0] < step < np.inf:
        return times
    if settings.sfreq is not None:
        fitting = [u for u, s in UNITS.items() if 1 / _NEAR < step * s * settings.sfreq < _NEAR]
        if fitting:
            if fitting[0] != "s":
                warn(f"{path.name}: the times in {name!r} are taken for {fitting[0]}, as sfreq says")
            return times * UNITS[fitting[0]]
    if step > 1.0 / _SLOW_HZ:
        raise FormatError(
            f"expected the unit of the times in {name!r} of {path}, it has none, and {_readings(step)}; say it with "
            f"time_unit=ms (s, us, ns), or give sfreq=HZ",
            where=f"column {name!r}",
        )
    warn(f"{path.name}: the times in {name!r} are taken for s; {_readings(step)}; time_unit=ms says another")
    return times


def _checked(unit: str) -> str:
    found = _UNIT_OF.get(unit.strip().lower())
    if found is None:
        raise ConfigError(f"time_unit is one of {', '.join(UNITS)}, got {unit!r}; choose one of them")
    return found


def _readings(step: float) -> str:
    """Say what rates a step is in every unit that gives a usual one."""
    rates = {unit: 1 / (step * seconds) for unit, seconds in UNITS.items()}
    usual = [f"{rates[u]:.6g} Hz were they {u}" for u in UNITS if _USUAL_HZ[0] <= rates[u] <= _USUAL_HZ[1]]
    return f"a step of {step:g} is " + ", ".join([f"{rates['s']:.4g} Hz were they s", *usual])
