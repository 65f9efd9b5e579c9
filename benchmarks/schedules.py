"""Random streams with events, cut at random, and the windows that a look at the whole of it finds."""

from dataclasses import dataclass

import numpy as np

from bci.signal.window import Windower
from bci.stream import Channel, Chunk, Event, Flag, StreamInfo
from bci.trial import Locked, Slide

SFREQ = 100.0
INFO = StreamInfo("amp", SFREQ, (Channel("number"), Channel("noise"), Channel("noise 2")))
HISTORY = 200
"""Samples an event may be late."""
PER_CHUNK = (Flag.OK, Flag.OK, Flag.OK, Flag.LEAD_OFF, Flag.NOISY, Flag.STALE | Flag.FLAT)


@dataclass
class Schedule:
    """A stream, how it is cut and when its events come; `data`, `flags` and `run` are by sample number."""

    data: np.ndarray
    flags: np.ndarray
    run: np.ndarray
    """Number of the run that a sample belongs to; -1 where it is lost."""
    chunks: list
    arrivals: list
    """(chunk it comes with, event), in order; doubled ones several times."""

    @property
    def events(self):
        """Each event once, with the first chunk it came with, by the end of its window."""
        first = {}
        for at, event in self.arrivals:
            first.setdefault((event.sample, event.code), (at, event))
        return list(first.values())


def runs_of(rng, most=5):
    """Return (begin, end) of runs of samples and whether the gap before each has a known length."""
    runs, at = [], int(rng.integers(0, 150))
    for k in range(int(rng.integers(1, most + 1))):
        known = k == 0 or rng.random() < 0.8
        at += int(rng.integers(1, 250)) if k and known else 0
        n = int(rng.choice([rng.integers(1, 20), rng.integers(20, 400), rng.integers(400, 900)]))
        runs.append((at, at + n, known))
        at += n
    return runs


def schedule(seed):
    """Return schedule number `seed`."""
    rng = np.random.default_rng(seed)
    runs = runs_of(rng)
    end = runs[-1][1]
    data = np.column_stack([np.arange(end, dtype=float), *rng.standard_normal((2, end))])
    flags, run = np.zeros(end, int), np.full(end, -1)
    for row in rng.integers(0, end, int(rng.integers(0, 4))):
        data[row, 1 + row % 2] = np.nan
        flags[row] |= int(Flag.NAN)
    chunks = []
    for k, (begin, stop, known) in enumerate(runs):
        run[begin:stop] = k
        if k:
            flags[begin] |= int(Flag.GAP)
        chunks += _cut(rng, data, flags, begin, stop, say=k > 0 and (not known or rng.random() < 0.5))
    result = Schedule(data, flags, run, chunks, [])
    _add_events(rng, result, runs)
    return result


def _cut(rng, data, flags, begin, stop, say):
    """Cut one run into chunks, some of them empty; `say` that there was a gap, on its first sample or before it."""
    chunks, at = [], begin
    if say and rng.random() < 0.4:
        chunks.append(Chunk.empty(INFO, begin, Flag.GAP))
        say = False
    longest = int(rng.choice([1, 7, 40, 2000]))
    while at < stop:
        if rng.random() < 0.1:
            chunks.append(Chunk.empty(INFO, at, Flag.SILENT))
        to = min(stop, at + int(rng.integers(1, longest + 1)))
        known = PER_CHUNK[rng.integers(len(PER_CHUNK))]
        flags[at:to] |= int(known)
        own = known | (Flag.GAP if say else Flag.OK)
        own |= Flag.NAN if np.isnan(data[at:to]).any() else Flag.OK
        chunks.append(Chunk(data[at:to], np.arange(at, to) / SFREQ, at, INFO, (), own))
        at, say = to, False
    return chunks


def _add_events(rng, made, runs):
    """Add events: anywhere, on edges of chunks, in gaps, before the first sample; on time, late and doubled."""
    edges = [c.start for c in made.chunks] + [c.stop - 1 for c in made.chunks]
    gaps = [s for (_, a, _), (b, _, _) in zip(runs[:-1], runs[1:], strict=True) for s in (a, (a + b) // 2, b - 1, b)]
    end, arrivals = runs[-1][1], []
    for _ in range(int(rng.integers(1, 25))):
        kind = rng.integers(4)
        sample = int(rng.integers(0, end) if kind == 0 or (kind == 2 and not gaps) else rng.choice(edges)
                     if kind == 1 else rng.choice(gaps) if kind == 2 else rng.integers(0, runs[0][0] + 3))  # fmt: skip
        event = Event(sample, sample / SFREQ, str(rng.choice(["a", "b"])), "x")
        # A chunk may carry events of its own samples and of earlier ones, up to HISTORY before its first.
        may = [k for k, c in enumerate(made.chunks) if c.stop > sample and c.start - sample <= HISTORY]
        if may:
            times = 1 + (rng.random() < 0.3) + (rng.random() < 0.1)
            late = [0] + [int(rng.integers(0, len(may))) if rng.random() < 0.5 else 0 for _ in range(times - 1)]
            late[0] = int(rng.integers(0, len(may))) if rng.random() < 0.4 else 0
            arrivals += [(may[k], event) for k in late]
    made.arrivals = sorted(arrivals, key=lambda a: a[0])
    for k, chunk in enumerate(made.chunks):
        events = tuple(e for at, e in made.arrivals if at == k)
        made.chunks[k] = chunk.replace(events=events) if events else chunk


def expected_locked(made, tmin, length):
    """Return what a look at the whole finds: {(sample, code): (start, chunk it is due with)}; the others are lost."""
    found = {}
    last = np.array([c.stop for c in made.chunks])
    for at, event in made.events:
        start = event.sample + tmin
        rows = made.run[start : start + length] if start >= 0 else np.array([-1])
        if len(rows) == length and rows[0] >= 0 and (rows == rows[0]).all():
            due = max(at, int(np.searchsorted(last, start + length)))
            found[(event.sample, event.code)] = (start, due)
    return found


def expected_sliding(made, length, step):
    """Return the starts of all windows on the grid that lie within one run."""
    starts = range(0, len(made.run) - length + 1, step)
    return [s for s in starts if made.run[s] >= 0 and (made.run[s : s + length] == made.run[s]).all()]


def differs(made, chunk, start, length, extra=0):
    """Return whether a window is not the one that begins at `start`: number, samples, times, flags and `extra` ones."""
    rows = slice(start, start + length)
    return not (
        chunk.start == start
        and np.array_equal(chunk.data, made.data[rows], equal_nan=True)
        and np.array_equal(chunk.times, np.arange(start, start + length) / SFREQ)
        and int(chunk.flags) == int(np.bitwise_or.reduce(made.flags[rows])) | int(extra)
    )


def locked(made, rng):
    """Return (expected, lost, shifted, doubled or miscounted) of one schedule with event-locked windows."""
    tmin, length = int(rng.integers(-90, 91)), int(rng.integers(1, 61))
    window = Locked(tmin / SFREQ, (tmin + length) / SFREQ)
    windower = Windower(window, INFO, HISTORY / SFREQ)
    expected = expected_locked(made, tmin, length)
    seen, shifted, wrong = set(), 0, 0
    for k, chunk in enumerate(made.chunks):
        for cut in windower.push(chunk):
            key = (cut.event.sample, cut.event.code)
            wrong += key in seen
            seen.add(key)
            start, due = expected.get(key, (None, None))
            shifted += start is None or due != k or differs(made, cut.chunk, start, length)
    ended = [e for _, e in made.events if e.sample + tmin + length <= len(made.run)]
    wrong += windower.dropped != sum((e.sample, e.code) not in expected for e in ended)
    return len(expected), len(expected.keys() - seen), shifted, wrong


def sliding(made, rng):
    """Return (expected, lost, shifted, doubled) of one schedule with sliding windows of any overlap."""
    length, step = int(rng.integers(1, 61)), int(rng.integers(1, 61))
    windower = Windower(Slide(length / SFREQ, step / SFREQ), INFO)
    expected = expected_sliding(made, length, step)
    found = [cut.chunk for chunk in made.chunks for cut in windower.push(chunk)]
    before, shifted = 0, 0
    for chunk in found:
        run = made.run[chunk.start]
        # The first window behind a gap says so, though it may begin some samples after it.
        shifted += differs(made, chunk, chunk.start, length, Flag.GAP if run != before else Flag.OK)
        before = run
    starts = [c.start for c in found]
    return len(expected), len(set(expected) - set(starts)), shifted, len(starts) - len(set(starts))
