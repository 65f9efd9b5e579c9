"""Contact of electrodes: how it is measured, carried with a stream, and told."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from bci.errors import ConfigError, DataError, DeviceError
from bci.ports import Device, MeasuresImpedance
from bci.stream import StreamInfo, listed

KEY = "impedance_kohm"
"""Key of `StreamInfo.meta` under which the contacts that were measured before the stream began are kept, as JSON."""


@dataclass(frozen=True, slots=True)
class Aims:
    """What the person who prepares the electrodes aims at, kOhm; far stricter than what stops a session.

    Parameters
    ----------
    good_kohm : float, default=10
        Good up to here: what clinical practice demands of gel and paste [1]_; many aim at 5 [2]_.
    bad_kohm : float, default=50
        Bad above: amplifiers of today bear 40 kOhm [3]_, and the verdict on a channel is doubtful from 50 on.

    Raises
    ------
    ConfigError
        Unless 0 < good_kohm <= bad_kohm.

    References
    ----------
    .. [1] S. R. Sinha et al. American Clinical Neurophysiology Society guideline 1: minimum technical requirements for
       performing clinical electroencephalography. J Clin Neurophysiol 33:303-307, 2016.
       doi:10.1097/WNP.0000000000000308
    .. [2] J. Gorecka, P. Makiewicz. The dependence of electrode impedance on the number of performed EEG
       examinations. Sensors 19:2608, 2019. doi:10.3390/s19112608
    .. [3] T. C. Ferree et al. Scalp electrode impedance, infection risk, and EEG data quality. Clin Neurophysiol
       112:536-544, 2001. doi:10.1016/S1388-2457(00)00533-2
    """

    good_kohm: float = 10.0
    bad_kohm: float = 50.0

    def __post_init__(self) -> None:
        if not 0 < self.good_kohm <= self.bad_kohm:
            raise ConfigError(
                f"a contact is good up to a value and bad above one that is not smaller, got {self.good_kohm:g} and "
                f"{self.bad_kohm:g} kOhm; as in 10 and 50"
            )

    def word(self, kohm: float) -> str:
        """Return "good", "fair" or "bad"; "unknown" for NaN."""
        if math.isnan(kohm):
            return "unknown"
        return "good" if kohm <= self.good_kohm else "fair" if kohm <= self.bad_kohm else "bad"


def in_words(kohm: float) -> str:
    """Return a contact as a person reads it, as "6.2 kOhm"."""
    if math.isnan(kohm):
        return "unknown"
    if math.isinf(kohm):
        return "no contact"
    return f"{kohm / 1e3:.1f} MOhm" if kohm >= 1e3 else f"{kohm:.0f} kOhm" if kohm >= 100 else f"{kohm:.1f} kOhm"


def refuse_if_unable(device: Any, spec: str = "") -> None:
    """Raise `ConfigError`, with the reason and what to do instead, if `device` does not measure impedance."""
    if isinstance(device, MeasuresImpedance):
        return
    board = getattr(device, "board", None)
    reason = "its driver has no impedance()"
    if board is not None:
        reason = f"no board of BrainFlow ({board!r} here) can be asked for it by this program yet"
    raise ConfigError(
        f"impedance needs a device that measures it, got {type(device).__name__}: {reason}; look at the verdicts on "
        f"the live signal instead (bci view{f' --device {spec}' if spec else ''})"
    )


def measure(device: Device, info: StreamInfo) -> dict[str, float]:
    """Measure the contacts of `device`, which is open and does not stream; it is so again afterwards.

    Some amplifiers measure only before they stream, some only while they do: both are tried.

    Parameters
    ----------
    device : Device
        The source.
    info : StreamInfo
        What its `open` returned.

    Returns
    -------
    dict of str to float
        kOhm by channel; inf where there is no contact, NaN where it is unknown. Electrodes that are no channels
        (reference, ground) are left out.

    Raises
    ------
    ConfigError
        If the device cannot measure it.
    DeviceError
        If the device fails at it.
    """
    refuse_if_unable(device)
    assert isinstance(device, MeasuresImpedance)
    try:
        return of_channels(device.impedance(), info)
    except DeviceError:
        device.start()
        try:
            return of_channels(device.impedance(), info)
        finally:
            device.stop()


def of_channels(kohm: Mapping[str, float], info: StreamInfo) -> dict[str, float]:
    """Return the contacts of the channels of `info`, in their order, without what cannot be one."""
    return {name: float(kohm[name]) for name in info.ch_names if name in kohm and not kohm[name] < 0}


def noted(info: StreamInfo, kohm: Mapping[str, float]) -> StreamInfo:
    """Return `info` with contacts, kOhm by channel; itself if there are none."""
    if not kohm:
        return info
    return replace(info, meta={**info.meta, KEY: json.dumps(plain(kohm))})


def plain(kohm: Mapping[str, float]) -> dict[str, float | str | None]:
    """Return contacts as JSON can hold them: None where unknown, "inf" where there is none."""
    return {name: None if math.isnan(v) else "inf" if math.isinf(v) else v for name, v in kohm.items()}


def from_plain(values: Any) -> dict[str, float]:
    """Return the contacts that `plain` has written; `DataError` for anything else."""
    try:
        return {str(name): math.nan if v is None else float(v) for name, v in values.items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise DataError(
            f"contacts are kOhm by channel, None where unknown, got {str(values)[:60]}; write them so"
        ) from error


def line(kohm: Mapping[str, float], most: int = 5) -> str:
    """Return contacts in a line: how many were measured, the median, and those that are not good; "" for none."""
    if not kohm:
        return ""
    known = sorted(v for v in kohm.values() if not math.isnan(v))
    aims = Aims()
    worse = [f"{name} {in_words(v)}" for name, v in kohm.items() if aims.word(v) in ("fair", "bad")]
    median = f", median {in_words(known[len(known) // 2])}" if known else ""
    beyond = f"; above {aims.good_kohm:g} kOhm: {listed(worse, most)}" if worse else ""
    return f"{len(known)} measured{median}{beyond}"


def contacts_of(info: StreamInfo) -> dict[str, float]:
    """Return the contacts that `info` carries, kOhm by channel; empty where none were measured.

    Raises
    ------
    DataError
        If the entry is not as `noted` writes it.
    """
    text = info.meta.get(KEY)
    if text is None:
        return {}
    try:
        return of_channels(from_plain(json.loads(text)), info)
    except ValueError as error:
        raise DataError(
            f"the contacts of a stream are kOhm by channel, as JSON, got {text[:60]!r}; correct it"
        ) from error
