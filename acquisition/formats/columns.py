"""Tables of numbers as streams: names, units, times and marks of CSV and NumPy files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bci.acquisition.formats.found import Cut, Settings, pieces
from bci.acquisition.stamps import numbered
from bci.errors import FormatError
from bci.stream import Channel, Kind, StreamInfo
from bci.units import factor, is_voltage

_MANY = 0.1
"""If more than this share of the steps is no whole number of periods, the rate that they gave is told as unsure."""
_EXACT = 0.25
"""Times further from a whole number of periods than this share of one were not stamped by counting."""


def described(
    names: Sequence[str], sfreq: float, settings: Settings, unit: str, path: Path
) -> tuple[float, StreamInfo]:
    """Return what converts the numbers to µV and the description of the stream.

    Parameters
    ----------
    names : sequence of str
        Channel names.
    sfreq : float
        Sampling rate, Hz.
    settings : Settings
        Its `unit` overrules `unit`.
    unit : str
        Unit that the file says; "" for µV.
    path : Path
        The file.
    """
    unit = settings.unit or unit or "uV"
    voltage = is_voltage(unit)
    kind = Kind.EEG if voltage else Kind.MISC
    doubled = sorted({n for n in names if list(names).count(n) > 1})
    if doubled or not names:
        raise FormatError(
            f"expected one or more channels of different names in {path}, got "
            f"{'two called ' + doubled[0] if doubled else 'none'}; rename the columns",
        )
    channels = tuple(Channel(name, kind, "uV" if voltage else unit) for name in names)
    return factor(unit) if voltage else 1.0, StreamInfo("", checked_rate(sfreq, path), channels)


def checked_rate(sfreq: float, path: Path) -> float:
    """Return `sfreq`; `FormatError` if it is no sampling rate."""
    if not 0 < sfreq < 1e9:
        raise FormatError(f"expected a sampling rate above 0 Hz for {path}, got {sfreq:g}; give it as sfreq=HZ")
    return sfreq


def timed(
    times: NDArray[np.float64], sfreq: float | None, path: Path, warn: Callable[[str], None]
) -> tuple[float, list[Cut]]:
    """Return the rate and the contiguous pieces.

    Parameters
    ----------
    times : ndarray, shape (n_samples,)
        When each sample was taken, s.
    sfreq : float, optional
        Nominal rate, Hz; one by the median spacing if not given.
    path : Path
        The file.
    warn : callable
        Told that the times fit no rate, where none is given.

    Notes
    -----
    Times that lie on a grid (to a quarter of a period) are sample numbers; others came late or early, and what is
    lost is told from them as `bci.acquisition.stamps.numbered` does.
    """
    bad = ~np.isfinite(times)
    if bad.any() or len(times) < 2:
        row = int(np.argmax(bad)) if bad.any() else len(times)
        raise FormatError(
            f"expected a time in each of two or more rows of {path}, got none in row {row}; take another copy, or "
            f"leave the time column out and give sfreq=HZ",
            where=f"sample {row}", readable=f"{int((~bad).sum())} samples",
        )  # fmt: skip
    spacing = np.diff(times)
    if sfreq is None:
        period = float(np.quantile(spacing, 0.5, method="lower"))  # a step that is there, not the mean of two
        if not 1e-9 < period < 1e6:
            raise FormatError(f"expected rising times in s in {path}, got a usual step of {period:g} s; give sfreq=HZ")
        usual = spacing[np.abs(spacing - period) < 0.5 * period]
        sfreq = float(f"{1 / float(usual.mean()):.6g}")  # printed times are rounded
        steps = spacing * sfreq
        off = float(np.mean(np.abs(steps - np.maximum(1, np.rint(steps))) > _EXACT))
        if off > _MANY:
            warn(
                f"{path.name}: the usual step of its times gives {sfreq:g} Hz, but {100 * off:.0f} % of the steps are "
                "off the grid of that: what is lost is told only by about; if the rate is known, give sfreq=HZ"
            )
    counted = (times - times[0]) * sfreq
    numbers = np.rint(counted)
    exact = bool((np.abs(counted - numbers) < _EXACT).all() and (np.diff(numbers) >= 1).all())
    if exact and numbers[-1] < 1e12:
        whole = numbers.astype(np.int64)
    else:
        whole = numbered(times, sfreq)
    return checked_rate(sfreq, path), pieces(whole)
