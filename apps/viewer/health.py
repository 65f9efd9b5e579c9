"""How verdicts on channels are shown: a word beside the name, its colour, the reason when asked."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bci.apps.viewer import look
from bci.signal.contact import Aims, in_words
from bci.signal.quality import Quality
from bci.signal.verdict import ChannelQuality, Level

_MOST_NAMED = 3


def looks_alike(one: Quality, other: Quality) -> bool:
    """Return whether both are shown alike: the same faults at the same levels, whatever the numbers."""
    pairs = zip(one.channels, other.channels, strict=True)
    return one.contact_kohm is other.contact_kohm and all(a.level is b.level and a.fault == b.fault for a, b in pairs)


def is_bad(quality: Quality) -> NDArray[np.bool_]:
    """Return which channels are bad, shape (n_channels,)."""
    return np.array([channel.level is Level.BAD for channel in quality.channels])


def color(channel: ChannelQuality) -> str:
    """Return the colour in which a channel is named."""
    return {Level.GOOD: look.TEXT, Level.DOUBTFUL: look.WARN, Level.BAD: look.ALARM}[channel.level]


def contact_color(channel: ChannelQuality, kohm: float | None) -> str:
    """Return the colour of an electrode: its verdict, and of those that are good how good the contact is."""
    if channel.level is not Level.GOOD:
        return color(channel)
    return look.FAIR if kohm is not None and Aims().word(kohm) == "fair" else look.EVENT


def short(kohm: float | None) -> str:
    """Return a contact in a few letters, kOhm: "6.2", "120", "off"; "" where it was not measured."""
    if kohm is None or np.isnan(kohm):
        return ""
    return "off" if np.isinf(kohm) else f"{kohm:.1f}" if kohm < 10 else f"{kohm:.0f}"


def hint(channel: ChannelQuality, kohm: float | None = None) -> str:
    """Return the verdict and its reason in a sentence, and the contact where it was measured."""
    if kohm is not None and channel.fault != "contact":
        return f"{hint(channel)}; contact {in_words(kohm)}"
    words = {Level.GOOD: "good", Level.DOUBTFUL: "doubtful", Level.BAD: "bad"}[channel.level]
    return f"{channel.name}: {words}" + (f", {channel.reason}" if channel.reason else "")


def summary(quality: Quality) -> tuple[str, str]:
    """Return what is wrong with the channels in a few words, and the colour for it; "" where nothing is."""
    bad, doubtful = quality.at(Level.BAD), quality.at(Level.DOUBTFUL)
    parts = []
    if bad:
        named = ", ".join(f"{c.name} {c.fault}" for c in bad[:_MOST_NAMED])
        parts.append(f"{len(bad)} bad: {named}" + (", ..." if len(bad) > _MOST_NAMED else ""))
    if doubtful:
        parts.append(f"{len(doubtful)} doubtful")
    return ", ".join(parts), look.ALARM if bad else look.WARN if doubtful else ""
