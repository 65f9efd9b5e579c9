"""A chain as a picture: gain, delay, and the answers to a pulse and to a step, as a decoder gets them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bci.errors import ConfigError
from bci.signal.portrait import in_words
from bci.signal.response import Path, at_once, delays, linear_run, links, paths

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from bci.signal.chain import Chain

_FLOOR_DB = -100.0
_MOST_PATHS = 12
_LARGEST_POINTS = 20_000


def plot(chain: Chain) -> Figure:
    """Return a picture of a prepared chain.

    Parameters
    ----------
    chain : Chain
        After `prepare`. Blocks that have no fixed response are left out, and the title says so.

    Returns
    -------
    matplotlib.figure.Figure
        Gain in dB, phase and group delay over frequency; the answers to a pulse and to a step over time, run through
        the chain itself. ``figure.savefig("chain.png")`` writes it.

    Raises
    ------
    ConfigError
        If no block has a response.
    """
    from matplotlib.figure import Figure

    run = linear_run(chain)
    if not run.links:
        names = ", ".join(type(link.block).__name__ for link in links(chain)) or "no blocks"
        raise ConfigError(f"expected a filter to draw, got {names}; put filters into the chain")
    every = paths(run.links)
    shown = every[:_MOST_PATHS]
    nyquist = min(link.out_info.sfreq for link in run.links) / 2
    figure = Figure(figsize=(11, 7.5), layout="constrained", dpi=110)
    axes = figure.subplots(2, 2)
    missing = "; ".join(
        part
        for part in (run.in_words(), f"{_MOST_PATHS} of {len(every)} paths" if len(every) > len(shown) else "")
        if part
    )
    words = " > ".join(in_words(link.block) for link in run.links)
    figure.suptitle("\n".join([_wrapped(words), *([missing] if missing else [])]), fontsize=10)
    phase = axes[0, 1].twinx()
    for k, path in enumerate(shown):
        colour = f"C{k % 10}"
        _draw_gain(axes[0, 0], path, nyquist, colour)
        _draw_delay(axes[0, 1], phase, path, nyquist, colour)
        _draw_pulse(axes[1, 0], path, colour)
        _draw_step(axes[1, 1], path, colour)
    axes[1, 1].plot(*_step_in(axes[1, 1].get_xlim()), color="#999", lw=0.8, ls="--", zorder=1)
    _name(axes, phase, nyquist, sum(link.block.delay_s for link in run.links))
    if len(shown) > 1:
        axes[0, 0].legend(fontsize=8)
    return figure


def _grid(nyquist_hz: float) -> NDArray[np.float64]:
    return np.unique(np.concatenate([np.linspace(0, nyquist_hz, 4001)[1:-1], np.geomspace(0.05, nyquist_hz, 1000)]))


def _draw_gain(axes: Any, path: Path, nyquist_hz: float, colour: str) -> None:
    freqs = _grid(nyquist_hz)
    gain = 20 * np.log10(np.maximum(np.abs(path.response(freqs)), 10 ** (_FLOOR_DB / 20 - 1)))
    axes.plot(freqs, gain, color=colour, lw=1.2, label=path.label)


def _draw_delay(axes: Any, phase_axes: Any, path: Path, nyquist_hz: float, colour: str) -> None:
    freqs = _grid(nyquist_hz)
    response = path.response(freqs)
    # Where nothing passes the phase is that of rounding.
    audible = np.abs(response) > 1e-2 * np.abs(response).max()
    delay = np.where(audible, 1e3 * delays([path], freqs)[:, 0], np.nan)
    phase = np.where(audible, np.angle(response), np.nan)
    phase[1:][np.abs(np.diff(phase)) > np.pi] = np.nan  # no line where it turns around
    axes.plot(freqs, delay, color=colour, lw=1.4)
    phase_axes.plot(freqs, phase, color=colour, lw=0.7, ls=":")


def _draw_pulse(axes: Any, path: Path, colour: str) -> None:
    times, answer = path.pulse()
    inside = times <= 1.2 * max(path.settling_s(), 3 / path.sfreq)
    axes.plot(1e3 * times[inside], answer[inside], color=colour, lw=1.2)


def _draw_step(axes: Any, path: Path, colour: str) -> None:
    """Draw a stream that begins at 1, with whatever offset an amplifier has, and rises to 2."""
    chain = path.chain()
    long_s = max(1.2 * path.settling_s(), 10 / path.sfreq)
    before = max(int(0.2 * long_s * path.sfreq), 2)
    data = np.ones((before + int(long_s * path.sfreq), 1))
    data[before:] += 1.0
    (answer,) = at_once(chain, data).T
    times = np.arange(len(answer)) / chain.infos[-1].sfreq - before / path.sfreq
    thin = slice(None, None, max(1, len(answer) // _LARGEST_POINTS))
    axes.plot(1e3 * times[thin], answer[thin], color=colour, lw=1.2)


def _step_in(limits_ms: tuple[float, float]) -> tuple[list[float], list[float]]:
    return [limits_ms[0], 0.0, 0.0, limits_ms[1]], [1.0, 1.0, 2.0, 2.0]


def _name(axes: Any, phase: Any, nyquist_hz: float, delay_s: float) -> None:
    gain, delay, pulse, step = axes.ravel()
    gain.set(title="gain", xlabel="Hz", ylabel="dB", ylim=(_FLOOR_DB, None), xscale="log", xlim=(0.1, nyquist_hz))
    delay.set(title=f"group delay (line), phase (dots); stated delay {1e3 * delay_s:.1f} ms", xlabel="Hz", ylabel="ms")
    phase.set(ylabel="rad", ylim=(-np.pi, np.pi), yticks=[-np.pi, 0, np.pi], yticklabels=["-π", "0", "π"])
    pulse.set(title="answer to one sample of 1", xlabel="ms after it")
    step.set(title="start at 1, then a step to 2 (dashed)", xlabel="ms after the step")
    for one in (gain, delay, pulse, step):
        one.grid(alpha=0.3)


def _wrapped(words: str, width: int = 120) -> str:
    import textwrap

    return "\n".join(textwrap.wrap(words, width)[:3])
