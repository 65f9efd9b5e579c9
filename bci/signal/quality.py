"""Watch the raw stream: one verdict for each channel, which the gate, the viewer and the recording share."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from bci.signal import flat
from bci.signal.contact import contacts_of, of_channels
from bci.signal.flat import AT_RAIL, FLAT_S, STILL, Looks
from bci.signal.measures import Measured, Measurer
from bci.signal.rails import rails
from bci.signal.stages import Line
from bci.signal.verdict import DEFAULT, ChannelQuality, Judge, Level, Thresholds, of_contact
from bci.stream import Chunk, Event, Flag, Kind, StreamInfo, listed

_ONCE = Flag.GAP | Flag.OVERFLOW | Flag.CLOCK_JUMP  # belong to the first sample of a chunk
_NOISY = 4
_WORD_OF = {"rail": AT_RAIL, "faint": STILL}  # of the faults that are found by measuring; the others are noise
_TICKS_PER_HOP = 4

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class Quality:
    """The verdicts on all channels of a stream from one sample on.

    Parameters
    ----------
    sample : int
        Number of the first sample they hold for.
    channels : tuple of ChannelQuality
        As the columns of the stream.
    no_contact : tuple of str
        Channels that decisions rest on and whose measured impedance is bad.
    contact_kohm : mapping of str to float
        What was measured last, by channel; empty where nothing was. The same object until something is measured.
    """

    sample: int
    channels: tuple[ChannelQuality, ...]
    no_contact: tuple[str, ...] = ()
    contact_kohm: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))

    def at(self, level: Level) -> list[ChannelQuality]:
        """Return the verdicts of one level."""
        return [c for c in self.channels if c.level is level]

    def line(self, before: Quality | None = None) -> str:
        """Return the verdicts, or only those that changed since `before`, as a line of JSON for a recording."""
        old = [(Level.GOOD, "")] * len(self.channels) if before is None else [_key(c) for c in before.channels]
        new = {
            c.name: {"level": c.level.name.lower(), "fault": c.fault, "reason": c.reason}
            for c, was in zip(self.channels, old, strict=True)
            if _key(c) != was
        }
        return json.dumps({"sample": self.sample, "channels": new})


class QualityWatch:
    """Judge each channel of a raw stream and flag the samples that decisions should not rest on.

    Decided by sample numbers, so however a stream is cut into chunks the same samples are flagged and the same
    verdicts hold from the same samples on. A gap begins everything anew.

    Parameters
    ----------
    info : StreamInfo
        The stream as the device delivers it. ``info.meta["range_uv"]``, where a driver gives it, is the largest value
        of its converter. Contacts that it carries (`bci.signal.contact`) hold from the begin.
    used : sequence of str, optional
        Channels that decisions rest on. Those of kind EEG flag samples; if `info` knows none of them (a chain gives
        channels new names) all EEG channels do.
    thresholds : Thresholds
        From where on a channel is doubtful, and bad.

    Attributes
    ----------
    quality : Quality
        The verdicts at the newest sample.
    measured : Measured or None
        What was measured last, of all channels but triggers.
    flags : Flag
        What is wrong at the newest sample with the channels that decisions rest on.

    Notes
    -----
    Standing still for `FLAT_S` (a railed converter does too) and 20 ms at the stated range are found sample by
    sample; everything else is measured every 0.2 s and holds from then on. The time from the onset to the verdict
    is stated in docs/how-to/signal-quality.md.
    """

    def __init__(self, info: StreamInfo, used: Sequence[str] | None = None, thresholds: Thresholds = DEFAULT) -> None:
        self.info = info
        self._line = Line(info)
        watched = [k for k, c in enumerate(info.channels) if c.kind is not Kind.TRIG]
        self._columns = np.array(watched, dtype=np.int64)
        channels = [info.channels[k] for k in watched]
        is_used = _used(info, used)[self._columns]
        self._is_used = is_used
        self._scales = None if info.scales is None else info.scales[self._columns]
        self._looks = Looks(info.sfreq, rails(info)[self._columns], is_used)
        self._measurer = Measurer(self._looks, channels)
        self._thresholds = thresholds
        self._judge = Judge(channels, thresholds)
        self._contact: dict[str, ChannelQuality] = {}
        self._contact_kohm: Mapping[str, float] = MappingProxyType({})
        self._tick = max(1, self._looks.per_hop // _TICKS_PER_HOP)
        self.measured: Measured | None = None
        self.quality = Quality(0, tuple(ChannelQuality(c.name) for c in info.channels))
        self._changes: list[Quality] = []
        self._told: list[str] = []
        self._begin(0)
        self.set_contact(contacts_of(info))
        if watched:
            flat.warm_up()

    def split(self, chunk: Chunk) -> list[Chunk]:
        """Return `chunk` as one or more that follow one another, with the flags of what is wrong with them."""
        _, anew = self._line.follow(chunk)
        if not chunk.n_samples or not len(self._columns):
            return [replace(chunk, flags=chunk.flags | self.flags) if self.flags else chunk]
        every = self._looks.every
        if anew:
            self._begin(-(-chunk.start // every))
        before, first = self._word, -chunk.start % every
        words = self._look(self._rows(chunk, first))
        if not before and not words.any():
            return [chunk]
        turns = np.flatnonzero(np.diff(words, prepend=before))
        edges = [0, *(first + every * turns).tolist(), chunk.n_samples]
        states = [before, *words[turns].tolist()]
        # The first look may be the first sample: then nothing of the chunk is as it was before.
        keep = [k for k in range(len(states)) if edges[k] < edges[k + 1]]
        return _cut(chunk, [edges[k] for k in keep] + [chunk.n_samples], [_flag(states[k]) for k in keep])

    def take_changes(self) -> list[Quality]:
        """Return the verdicts that changed since the last call, in order."""
        changes, self._changes = self._changes, []
        return changes

    def set_contact(self, kohm: Mapping[str, float]) -> None:
        """Take the impedances of electrodes, kOhm, by channel name; they hold until they are measured again."""
        known = of_channels(kohm, self.info)
        for name, value in known.items():
            if not math.isnan(value):
                self._contact[name] = of_contact(name, value, self._thresholds)
        if known:
            self._contact_kohm = MappingProxyType({**self._contact_kohm, **known})
        self._renew(self.quality.sample)

    @property
    def flags(self) -> Flag:
        """What is wrong at the newest sample with the channels that decisions rest on."""
        return _flag(self._word) | (Flag.LEAD_OFF if self.quality.no_contact else Flag.OK)

    # -------------------------------------------------------------- private
    def _begin(self, look: int) -> None:
        """Forget all samples; the next look is number `look`."""
        self._number = look
        self._is_whole = look % self._looks.per_hop == 0
        self._looks.reset(look)
        self._measurer.reset()
        self._judge.reset()
        self._word = self._noise = 0
        self._noted: list[ChannelQuality] = []
        self._stands = np.zeros((2, len(self._columns)), dtype=np.bool_)
        self.measured = None
        self._renew(look * self._looks.every)

    def _rows(self, chunk: Chunk, first: int) -> NDArray[np.float64]:
        rows = chunk.data[first :: self._looks.every]
        if len(self._columns) < chunk.info.n_channels:
            rows = rows[:, self._columns]
        rows = np.ascontiguousarray(rows, dtype=np.float64)
        return rows if self._scales is None else rows * self._scales

    def _look(self, rows: NDArray[np.float64]) -> NDArray[np.uint8]:
        """Look at `rows`, tick by tick; return what is wrong at each."""
        words = np.empty(len(rows), dtype=np.uint8)
        per_hop, at = self._looks.per_hop, 0
        while at < len(rows):
            place = self._number % per_hop
            end = min((place // self._tick + 1) * self._tick, per_hop)
            if per_hop - end < self._tick:  # no short tick at the end
                end = per_hop
            n = min(end - place, len(rows) - at)
            words[at : at + n] = self._looks.take(rows[at : at + n]) | self._noise
            at, self._number = at + n, self._number + n
            self._word = int(words[at - 1])
            if place + n == end:
                self._end_tick(is_hop=end == per_hop)
        return words

    def _end_tick(self, is_hop: bool) -> None:
        stands = np.stack([self._looks.still, self._looks.at_rail])
        changed = not np.array_equal(stands, self._stands)
        self._stands = stands
        if is_hop:
            if self._is_whole:
                self.measured = self._measurer.hop()
                self._noted = self._judge.judge(self.measured)
                self._noise = self._noise_word()
            self._looks.begin_hop()
            self._is_whole = True
        if changed or is_hop:
            self._renew(self._number * self._looks.every)

    def _noise_word(self) -> int:
        word = 0
        for verdict, is_used in zip(self._noted, self._is_used, strict=True):
            if is_used and verdict.level is Level.BAD:
                word |= _WORD_OF.get(verdict.fault, _NOISY)
        return word

    def _renew(self, sample: int) -> None:
        """Put the verdicts together; keep them if they are others than before."""
        found = list(self.quality.channels)
        for k, column in enumerate(self._columns.tolist()):
            found[column] = self._verdict(k, found[column].name)
        used = [found[c] for c, ok in zip(self._columns, self._is_used, strict=True) if ok]
        no_contact = tuple(v.name for v in used if v.fault == "contact" and v.level is Level.BAD)
        before, self.quality = self.quality, Quality(sample, tuple(found), no_contact, self._contact_kohm)
        if [_key(c) for c in before.channels] != [_key(c) for c in found]:
            self._changes.append(self.quality)
            self._tell([v for v in used if v.level is Level.BAD])

    def _verdict(self, k: int, name: str) -> ChannelQuality:
        if self._stands[1, k]:
            return ChannelQuality(name, Level.BAD, "rail", "at the rail of its converter")
        noted = self._noted[k] if self._noted else ChannelQuality(name)
        if self._stands[0, k]:
            return ChannelQuality(name, Level.BAD, "flat", f"no change for {FLAT_S:g} s")
        contact = self._contact.get(name)
        return contact if contact is not None and contact.level and contact.level >= noted.level else noted

    def _tell(self, bad: list[ChannelQuality]) -> None:
        """Name each channel once when it becomes bad, and once all that were when none is any more."""
        new = [v for v in bad if v.name not in self._told]
        if new:
            words = listed([f"{v.name} ({v.reason})" for v in new], 5)
            _log.warning("bad signal: %s; check the electrode, or leave the channel out", words)
            self._told += [v.name for v in new]
        elif self._told and not bad:
            _log.warning("no longer bad: %s", listed(self._told))
            self._told = []


def _key(verdict: ChannelQuality) -> tuple[Level, str]:
    return verdict.level, verdict.fault


def _flag(word: int) -> Flag:
    found = Flag.OK
    for bit, flag in ((STILL, Flag.FLAT), (AT_RAIL, Flag.SATURATED), (_NOISY, Flag.NOISY)):
        found |= flag if word & bit else Flag.OK
    return found


def _used(info: StreamInfo, used: Sequence[str] | None) -> NDArray[np.bool_]:
    eeg = np.array([c.kind is Kind.EEG for c in info.channels])
    names = set(used or ())
    chosen = eeg & np.array([c.name in names for c in info.channels])
    return chosen if chosen.any() else eeg


def _cut(chunk: Chunk, edges: list[int], flags: list[Flag]) -> list[Chunk]:
    parts = []
    waiting: tuple[Event, ...] = chunk.events
    for begin, end, flag in zip(edges[:-1], edges[1:], flags, strict=True):
        stop = chunk.start + end
        events = tuple(e for e in waiting if e.sample < stop)
        waiting = tuple(e for e in waiting if e.sample >= stop)
        own = chunk.flags if begin == 0 else chunk.flags & ~_ONCE
        rows = slice(begin, end)
        parts.append(Chunk(chunk.data[rows], chunk.times[rows], chunk.start + begin, chunk.info, events, own | flag))
    return parts
