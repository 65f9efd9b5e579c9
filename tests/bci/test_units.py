import pytest

from bci.errors import ConfigError
from bci.units import factor, is_voltage


@pytest.mark.parametrize(
    ("unit", "to", "times"),
    [("V", "uV", 1e6), ("mV", "uV", 1e3), ("uV", "uV", 1.0), ("nV", "uV", 1e-3), ("uV", "V", 1e-6), ("uV", "nV", 1e3)],
)
def test_factor_is_exact(unit, to, times):
    assert factor(unit, to) == times


@pytest.mark.parametrize("unit", ["uV", "µV", "μV", "microvolts", " uv "])
def test_every_spelling_of_microvolt_is_read(unit):
    assert factor(unit) == 1.0


@pytest.mark.parametrize("unit", ["", "degC", "n/a", "g"])
def test_what_is_no_voltage_is_refused(unit):
    assert not is_voltage(unit)
    with pytest.raises(ConfigError, match="expected a voltage"):
        factor(unit)
