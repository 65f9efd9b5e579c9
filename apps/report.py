"""A one-page report of a session: what was reached, how sure that is, how fast, how safe."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bci.runtime.collect import Calibration
from bci.runtime.run import Run
from bci.runtime.score import Score

_COLOURS = {"left": "#2166ac", "right": "#b2182b", "rest": "#7f7f7f"}


def write_report(
    path: Path,
    title: str,
    run: Run,
    calibration: Calibration,
    scores: Mapping[str, Score | None],
    facts: Sequence[tuple[str, str]],
    pictures: Mapping[str, Path] | None = None,
) -> Path:
    """Write a self-contained HTML page.

    Parameters
    ----------
    path : Path
        File to write; a file that is there is replaced.
    title : str
        Heading.
    run : Run
        The driving.
    calibration : Calibration
        What the decoder was fitted on.
    scores : mapping of str to Score
        Scores by name; each is shown with interval, chance and chance limit.
    facts : sequence of (str, str)
        Rows of the table of facts.
    pictures : mapping of str to Path, optional
        Screenshots by caption.
    """
    figures = [
        ("Scores against chance", _figure(_plot_scores, scores)),
        ("Intent over time", _figure(_plot_intent, run)),
        ("Power of the calibration windows", _figure(_plot_spectra, calibration)),
        ("Time per stage", _figure(_plot_latency, run)),
    ]
    shown = [
        f"<figure><img src='{source}'><figcaption>{html.escape(name)}</figcaption></figure>" for name, source in figures
    ]
    for caption, file in (pictures or {}).items():
        if file.exists():
            data = "data:image/png;base64," + base64.b64encode(file.read_bytes()).decode()
            shown.append(f"<figure><img src='{data}'><figcaption>{html.escape(caption)}</figcaption></figure>")
    rows = "".join(f"<tr><th>{html.escape(k)}</th><td>{html.escape(v)}</td></tr>" for k, v in facts)
    path.write_text(_PAGE.format(title=html.escape(title), rows=rows, figures="\n".join(shown)), encoding="utf-8")
    return path


_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>{title}</title>
<style>
body {{ font: 15px/1.45 system-ui, sans-serif; max-width: 1100px; margin: 2em auto; color: #222; padding: 0 1em }}
h1 {{ font-size: 1.5em }} table {{ border-collapse: collapse; width: 100% }}
th, td {{ text-align: left; padding: .3em .6em; border-bottom: 1px solid #ddd; vertical-align: top }}
th {{ width: 15em; font-weight: 600 }}
.grid {{ display: grid; grid-template-columns: 1fr 1fr; gap: 1em; margin-top: 1em }}
figure {{ margin: 0; border: 1px solid #ddd; border-radius: 6px; padding: .5em }} img {{ width: 100% }}
figcaption {{ color: #555; font-size: .9em }} @media print {{ body {{ margin: 0 }} }}
</style>
<h1>{title}</h1>
<table>{rows}</table>
<div class="grid">
{figures}
</div></html>
"""


def _figure(plot: Any, data: Any) -> str:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 3.6), layout="constrained", dpi=110)
    plot(figure.add_subplot(), data)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def _plot_scores(axes: Any, scores: Mapping[str, Score | None]) -> None:
    known = {name: score for name, score in scores.items() if score is not None}
    for k, score in enumerate(known.values()):
        low, high = score.interval
        axes.errorbar(
            k,
            score.accuracy,
            [[score.accuracy - low], [high - score.accuracy]],
            fmt="o",
            capsize=5,
            color="#1b7837",
            markersize=8,
        )
        axes.annotate(
            f"{score.accuracy:.2f}\nn = {score.n}", (k, score.accuracy), xytext=(10, -4), textcoords="offset points"
        )
        axes.hlines(score.chance, k - 0.35, k + 0.35, color="#999", linestyle="--")
        axes.hlines(score.chance_limit, k - 0.35, k + 0.35, color="#d6604d", linestyle=":")
    axes.set_xticks(range(len(known)), list(known))
    axes.set(ylim=(0, 1.12), ylabel="accuracy (95 % interval)", xlim=(-0.6, max(len(known), 1) - 0.2))
    axes.set_title("dashed: chance; dotted: what guessing reaches in 5 %", fontsize=9)


def _plot_intent(axes: Any, run: Run) -> None:
    if not run.decisions:
        axes.text(0.5, 0.5, "no decisions", ha="center")
        return
    begin = run.decisions[0].stop_s
    times = np.array([d.stop_s - begin for d in run.decisions])
    for label in run.decisions[0].classes:
        p = np.array([d.probability(label) for d in run.decisions])
        axes.plot(times, p, lw=0.7, color=_COLOURS.get(label), label=f"p({label})")
    sent = np.array([c.value for c in run.commands])
    sent_s = np.array([c.signal_s - begin for c in run.commands])
    axes.plot(sent_s, sent, color="black", lw=0.9, label="command sent")
    axes.set(xlabel="time, s", ylim=(-1.05, 1.05), ylabel="probability; command", xlim=(0, min(60, times[-1] or 1)))
    axes.legend(loc="lower right", fontsize=7, ncols=2)
    first = len(run.decisions) == run.n_decisions
    axes.set_title("first minute of driving" if first else "a minute of driving, later on", fontsize=9)


def _plot_spectra(axes: Any, calibration: Calibration) -> None:
    names = calibration.info.ch_names
    picked = [n for n in ("C3", "C4") if n in names] or names[:2]
    sfreq = calibration.info.sfreq
    freqs = np.fft.rfftfreq(calibration.X.shape[-1], 1 / sfreq)
    taper = np.hanning(calibration.X.shape[-1])
    for label in np.unique(calibration.y):
        for name, style in zip(picked, ("-", "--"), strict=False):
            x = calibration.X[calibration.y == label, names.index(name)]
            power = (np.abs(np.fft.rfft(x * taper)) ** 2).mean(axis=0) * 2 / (sfreq * (taper**2).sum())
            shown = (freqs >= 4) & (freqs <= 36)
            axes.semilogy(
                freqs[shown], power[shown], style, color=_COLOURS.get(str(label)), lw=1, label=f"{name} {label}"
            )
    axes.set(xlim=(4, 36), xlabel="frequency, Hz", ylabel="power, µV²/Hz")
    axes.legend(fontsize=7, ncols=2)
    axes.set_title("after the online filters", fontsize=9)


def _plot_latency(axes: Any, run: Run) -> None:
    rows = {k: v for k, v in run.latency.items() if k not in ("read", "age")}
    for k, (median, p99) in enumerate(rows.values()):
        axes.barh(k, p99 * 1e3, color="#c6dbef")
        axes.barh(k, median * 1e3, color="#2171b5")
        axes.annotate(f" {median * 1e3:.2f} / {p99 * 1e3:.2f}", (p99 * 1e3, k), va="center", fontsize=8)
    axes.set_yticks(range(len(rows)), list(rows))
    axes.invert_yaxis()
    axes.margins(x=0.2)
    axes.set(xlabel="ms per decision (dark: median, light: 99th percentile)")
