"""Units of signals: read their many spellings, convert between them."""

from __future__ import annotations

from bci.errors import ConfigError

_VOLT = {
    "v": 1.0, "volt": 1.0, "volts": 1.0,
    "mv": 1e-3, "millivolt": 1e-3, "millivolts": 1e-3,
    "uv": 1e-6, "µv": 1e-6, "μv": 1e-6, "microvolt": 1e-6, "microvolts": 1e-6,
    "nv": 1e-9, "nanovolt": 1e-9, "nanovolts": 1e-9,
}  # fmt: skip


def is_voltage(unit: str) -> bool:
    """Return whether `unit` is a spelling of a voltage."""
    return unit.strip().lower() in _VOLT


def factor(unit: str, to: str = "uV") -> float:
    """Return what a value in `unit` is multiplied with to be in `to`.

    Raises
    ------
    ConfigError
        If either is not a voltage.
    """
    for name in (unit, to):
        if not is_voltage(name):
            raise ConfigError(
                f"expected a voltage such as V, mV, uV or nV, got {name!r}; state the unit of the channel"
            )
    # Through decimal exponents, so that 1e-6 / 1e-9 is 1000 and not nearly so.
    return float(f"{_VOLT[unit.strip().lower()] / _VOLT[to.strip().lower()]:.12g}")
