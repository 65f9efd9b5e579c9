"""Durations among the settings of a device."""

from __future__ import annotations

from numbers import Real

from bci.errors import ConfigError


def check_durations(**durations_s: object) -> None:
    """Raise `ConfigError` unless each is a number above 0, s; infinity is one."""
    wrong = [f"{name} = {value!r}" for name, value in durations_s.items() if not _is_above_0(value)]
    if wrong:
        verb = "is a number" if len(durations_s) == 1 else "are numbers"
        raise ConfigError(f"{' and '.join(durations_s)} {verb} above 0, in s, got {' and '.join(wrong)}; correct it")


def _is_above_0(value: object) -> bool:
    return not isinstance(value, bool) and isinstance(value, Real) and float(value) > 0
