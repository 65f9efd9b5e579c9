"""Cases of what a device can do beyond streaming: impedance, battery."""

from __future__ import annotations

import math
from typing import Any

from bci.acquisition.conformance.case import Figures, Need, Severity, Step, case
from bci.acquisition.conformance.subject import Subject
from bci.errors import DeviceError
from bci.testing.contract import require

_HIGHEST_KOHM = 100_000.0
"""Above this an electrode hangs in the air: say inf, kOhm."""


@case(Step.SILVER, Severity.MAJOR, Need.IMPEDANCE)
def impedance_is_plausible(subject: Subject) -> Figures:
    """impedance() names channels of the stream, in kOhm from 0 to 100 MOhm (inf: no contact, NaN: unknown)."""
    with subject.fresh() as device:
        info = device.open()
        found, _ = _impedance(device)
        strangers = sorted(set(found) - set(info.ch_names))
        require(bool(found) and not strangers, "impedance() names channels of the stream", strangers or "nothing")
        for name, kohm in found.items():
            fair = math.isnan(kohm) or (math.isinf(kohm) and kohm > 0) or 0 < kohm <= _HIGHEST_KOHM
            require(fair, f"the impedance of {name} lies above 0 and up to {_HIGHEST_KOHM:g} kOhm", kohm)
    known = sorted(v for v in found.values() if math.isfinite(v))
    return {"median_kohm": known[len(known) // 2]} if known else {}


@case(Step.SILVER, Severity.MAJOR, Need.IMPEDANCE)
def streams_after_impedance(subject: Subject) -> None:
    """After impedance() the device streams as before."""
    with subject.fresh() as device:
        device.open()
        if _impedance(device)[1]:
            device.stop()
        device.start()
        subject.first(device)


@case(Step.SILVER, Severity.MINOR, Need.BATTERY)
def battery_is_a_share(subject: Subject) -> Figures:
    """battery() is between 0 and 1, or NaN while it is not known."""
    with subject.streaming() as device:
        left = float(device.battery())
    require(math.isnan(left) or 0 <= left <= 1, "battery() is a share from 0 to 1", left)
    return {} if math.isnan(left) else {"battery": left}


def _impedance(device: Any) -> tuple[dict[str, float], bool]:
    """Measure as soon as the device can (some measure while they stream only); return whether it streams."""
    try:
        return device.impedance(), False
    except DeviceError:
        device.start()
        return device.impedance(), True


CASES = (impedance_is_plausible, streams_after_impedance, battery_is_a_share)
