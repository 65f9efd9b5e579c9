"""A chain in words: what each block is, how late it is, how long it remembers, what it costs."""

from __future__ import annotations

import inspect
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bci.ports import Block
from bci.signal.pieces import fresh
from bci.signal.response import Array, Link, delays, linear_run, links, over_time, paths
from bci.stream import Chunk, StreamInfo, listed

if TYPE_CHECKING:
    from bci.signal.chain import Chain

_CHUNKS = 200


@dataclass(frozen=True, slots=True)
class Row:
    """What there is to say of one block, or of the whole chain.

    Parameters
    ----------
    block : str
        Class and settings.
    n_channels, sfreq : int, float
        What comes out; rate in Hz.
    delay_s : float
        Group delay, s, as the block states it.
    settling_s : float or None
        After how long a disturbance that is over has at most 1 % of its largest possible effect, s; None where the
        block has no fixed response.
    cost_s : float or None
        Median time for a chunk, s; None if it was not measured.
    """

    block: str
    n_channels: int
    sfreq: float
    delay_s: float
    settling_s: float | None
    cost_s: float | None


@dataclass(frozen=True, slots=True)
class Band:
    """What a path lets through.

    Parameters
    ----------
    label : str
        Which path; "" for the only one.
    low_hz, high_hz : float
        Where the gain is 3 dB below its largest, Hz; 0 and half the rate where it is not.
    gain_db : float
        The largest gain, dB.
    delay_s : tuple of (float, float)
        Shortest and longest group delay in between, s.
    """

    label: str
    low_hz: float
    high_hz: float
    gain_db: float
    delay_s: tuple[float, float]


def rows(chain: Chain, measure: bool = False, chunk_samples: int = 32) -> list[Row]:
    """Return a row for each block of a prepared chain, and one for all together."""
    found = []
    for link in links(chain):
        cost = cost_s(link.block, link.info, chunk_samples) if measure else None
        out = link.out_info
        found.append(Row(in_words(link.block), out.n_channels, out.sfreq, link.block.delay_s, _settling(link), cost))
    run = linear_run(chain)
    settling = None if run.left_out or run.ends_at else max(path.settling_s() for path in paths(run.links))
    cost = cost_s(chain, chain.infos[0], chunk_samples) if measure else None
    out = chain.infos[-1]
    return [*found, Row("all together", out.n_channels, out.sfreq, chain.delay_s, settling, cost)]


def bands(chain: Chain) -> list[Band]:
    """Return what the linear blocks of a prepared chain let through, path by path."""
    run = linear_run(chain)
    nyquist = min([chain.infos[0].sfreq, *(link.out_info.sfreq for link in run.links)]) / 2
    if not run.links:
        return []
    ways = paths(run.links)
    grid = np.unique(np.concatenate([np.linspace(0, nyquist, 2001), np.geomspace(1e-3, nyquist, 2000)]))
    gains, late = np.abs(over_time(ways, grid)), delays(ways, grid)
    return [_band(path.label, grid, gains[:, k], late[:, k]) for k, path in enumerate(ways)]


def describe(chain: Chain, measure: bool = False, chunk_samples: int = 32) -> str:
    """Return a prepared chain as a table in text.

    Parameters
    ----------
    chain : Chain
        After `prepare`.
    measure : bool, default=False
        Also run copies of the blocks, for some ten milliseconds each, and tell what a chunk costs. Blocks that are
        fused in the chain are measured one by one, so all together costs less than their sum.
    chunk_samples : int, default=32
        Samples in a chunk.

    Returns
    -------
    str
        Lines for a monospaced font; delays in ms.
    """
    info = chain.infos[0]
    lines = [f"Chain for {info.name!r}: {info.n_channels} channels at {info.sfreq:g} Hz"]
    heads = ["block", "comes out", "delay ms", "settles ms", *(["cost µs"] if measure else [])]
    table = [heads, *(_cells(row, measure) for row in rows(chain, measure, chunk_samples))]
    widths = [max(len(line[k]) for line in table) for k in range(len(heads))]
    for line in table:
        cells = [c.ljust(w) if k < 2 else c.rjust(w) for k, (c, w) in enumerate(zip(line, widths, strict=True))]
        lines.append("  ".join(cells).rstrip())
    missing = linear_run(chain).in_words()
    lines += [f"Lets through {words}" for words in bands_in_words(bands(chain))]
    if missing:
        lines.append(f"That is {missing}.")
    if measure:
        lines.append(f"Cost: median for a chunk of {chunk_samples} samples ({1e3 * chunk_samples / info.sfreq:g} ms).")
    return "\n".join(lines)


def bands_in_words(found: Sequence[Band]) -> list[str]:
    """Return bands as sentences without their begin, those that are alike as one."""
    labels: dict[str, list[str]] = {}
    for band in found:
        first, last = (f"{1e3 * d:.3g}" for d in band.delay_s)
        late = first if first == last else f"{first} to {last}"
        edges = f"{band.low_hz:.3g} to {band.high_hz:.3g} Hz (-3 dB)"
        words = f"{edges}, {late} ms late (group delay), gain {round(band.gain_db, 1) + 0.0:.1f} dB at most."
        labels.setdefault(words, []).append(band.label)
    return [f"({_few(names)}) {words}" if names[0] else words for words, names in labels.items()]


def _few(names: list[str]) -> str:
    return listed(names) if len(names) <= 6 else f"{names[0]} to {names[-1]}, {len(names)} in all"


def in_words(block: Block) -> str:
    """Return class and settings of a block, those that are not the default."""
    settings = []
    for name, parameter in inspect.signature(type(block).__init__).parameters.items():
        value = getattr(block, name, parameter.default)
        if name != "self" and not _same(value, parameter.default):
            settings.append(f"{name}={_short(value)}")
    return f"{type(block).__name__}({', '.join(settings)})"


def cost_s(block: Block, info: StreamInfo, chunk_samples: int) -> float:
    """Return the median time that a copy of `block` takes for a chunk, s."""
    trial = fresh(block)
    trial.prepare(info)
    data = 20.0 * np.random.default_rng(0).standard_normal((_CHUNKS * chunk_samples, info.n_channels))
    times = np.arange(len(data)) / info.sfreq
    taken = []
    for start in range(0, len(data), chunk_samples):
        chunk = Chunk(data[start : start + chunk_samples], times[start : start + chunk_samples], start, info)
        begin = time.perf_counter()
        trial.process(chunk)
        taken.append(time.perf_counter() - begin)
    return float(np.median(taken[_CHUNKS // 10 :]))


def _settling(link: Link) -> float | None:
    return max(path.settling_s() for path in paths([link])) if link.is_linear else None


def _band(label: str, grid: Array, gain: Array, late: Array) -> Band:
    top = int(gain.argmax())
    below = gain < gain[top] / np.sqrt(2)
    before, after = np.flatnonzero(below[:top]), np.flatnonzero(below[top:])
    inside = slice(before[-1] + 1 if before.size else 0, top + after[0] if after.size else len(grid))
    late = late[inside][np.isfinite(late[inside])]
    known = (float(late.min()), float(late.max())) if late.size else (0.0, 0.0)
    edge = gain[top] / np.sqrt(2)
    low = _crossing(edge, gain, grid, before[-1], before[-1] + 1) if before.size else float(grid[0])
    high = _crossing(edge, gain, grid, top + after[0], top + after[0] - 1) if after.size else float(grid[-1])
    return Band(label, low, high, float(20 * np.log10(max(gain[top], 1e-12))), known)


def _crossing(edge: float, gain: Array, grid: Array, below: int, above: int) -> float:
    """Return the frequency between two neighbours of the grid at which the gain is `edge`, Hz."""
    part = (edge - gain[below]) / (gain[above] - gain[below])
    return float(grid[below] + part * (grid[above] - grid[below]))


def _cells(row: Row, measure: bool) -> list[str]:
    settles = "?" if row.settling_s is None else f"{1e3 * row.settling_s:.0f}"
    cells = [row.block, f"{row.n_channels} at {row.sfreq:g} Hz", f"{1e3 * row.delay_s:.1f}", settles]
    return [*cells, f"{1e6 * (row.cost_s or 0.0):.1f}"] if measure else cells


def _same(value: Any, default: Any) -> bool:
    return value is default or (not isinstance(value, np.ndarray) and type(value) is type(default) and value == default)


def _short(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"<{' x '.join(str(n) for n in value.shape)} numbers>"
    if isinstance(value, tuple | list) and len(value) <= 8:
        text = f"({', '.join(_short(v) for v in value)}{',' if len(value) == 1 else ''})"
    else:
        text = f"{value:g}" if isinstance(value, float) else repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
