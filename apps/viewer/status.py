"""What is going on, in one line."""

from __future__ import annotations

import html
from dataclasses import dataclass

import numpy as np

from bci.apps.viewer import health, look
from bci.apps.viewer.model import Filters, Model
from bci.stream import Flag

_MOST_AGE_S = 3600.0  # beyond, the samples are on a clock of their own and have no age here


@dataclass(slots=True)
class SourceState:
    """What is known about the acquisition, told by its process."""

    name: str = ""
    rate_hz: float = float("nan")
    lost: int | None = None
    dropped_chunks: int = 0
    message: str = ""
    is_over: bool = False


def status_text(model: Model, source: SourceState, is_paused: bool, now_s: float) -> str:
    """Return device, rates, losses, age of the newest sample and filters as rich text; `now_s` is monotonic."""
    sfreq = model.info.sfreq
    rate = source.rate_hz if np.isfinite(source.rate_hz) else model.rate_hz()
    age_s = now_s - model.newest_s
    lost = model.n_lost if source.lost is None else source.lost
    parts = [
        _colored("PAUSED", look.WARN) if is_paused else "",
        _colored("ENDED", look.WARN) if source.is_over and not source.message else "",
        f"<b>{html.escape(source.name)}</b>",
        f"{model.info.n_channels} channels",
        f"{sfreq:g} Hz" + (f" (measured {rate:.1f})" if np.isfinite(rate) else ""),
        _colored(f"lost {lost}", look.ALARM if lost else ""),
    ]
    if abs(age_s) < _MOST_AGE_S:
        age = f"newest sample {look.duration_text(max(0.0, age_s))} old"
        parts.append(_colored(age, look.WARN if age_s > 0.5 else ""))
    if model.n_not_shown or source.dropped_chunks:
        parts.append(_colored(f"not shown {model.n_not_shown} (window too slow, nothing lost)", look.WARN))
    flags = [f.name.lower().replace("_", " ") for f in Flag if f.name and f in model.flags and f is not Flag.GAP]
    if flags and not source.is_over:
        parts.append(_colored(", ".join(flags), look.ALARM))
    parts.append(_colored(*health.summary(model.quality)))
    parts.append(_filters_text(model.filters, sfreq))
    return " &nbsp;·&nbsp; ".join(p for p in parts if p)


def band_text(band: tuple[float, float] | None) -> str:
    """Return a band in words."""
    return "all" if band is None else f"{band[0]:g}–{band[1]:g} Hz"


def _filters_text(filters: Filters, sfreq: float) -> str:
    band = filters.band
    what = "unfiltered" if band is None else band_text(band) if band[1] < sfreq / 2 else f"above {band[0]:g} Hz"
    notch = f", notch {filters.notch_hz:g} Hz" if filters.notch_hz and filters.notch_hz < sfreq / 2 else ""
    return what + notch + (", average reference" if filters.reference == "average" else "")


def _colored(text: str, color: str) -> str:
    return f'<span style="color: {color}">{text}</span>' if color else text
