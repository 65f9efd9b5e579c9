"""The window: all channels scrolling, choices above, spectrum beside, what is going on below."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import Qt
from PySide6.QtGui import QKeyEvent, QResizeEvent
from PySide6.QtWidgets import QHBoxLayout, QLabel, QVBoxLayout, QWidget

from bci.apps.viewer import health, look
from bci.apps.viewer.controls import Controls, show_value
from bci.apps.viewer.head import HeadMap
from bci.apps.viewer.model import Filters, Model
from bci.apps.viewer.spectra import SpectrumPlot
from bci.apps.viewer.status import SourceState, band_text, status_text
from bci.apps.viewer.traces import Names, Traces
from bci.errors import ConfigError
from bci.stream import Chunk, Kind, StreamInfo
from bci.units import factor, is_voltage

PER_PAGE = 64
BANDS = (None, (0.1, 40.0), (0.5, 40.0), (1.0, 40.0), (1.0, 70.0), (4.0, 8.0), (8.0, 13.0), (8.0, 30.0), (20.0, 200.0))
NOTCHES = (None, 50.0, 60.0)
_LAG_S, _MOST_LAG_S = 0.06, 0.4  # how far the right edge follows the newest sample, so that it moves evenly
_AUTO_AT_S = (0.5, 1.5, 4.0)  # a filter needs a while to settle: choose the scale again
_SLOW_S, _TEXT_S = 1.0, 0.25
HELP = """<b>Keys</b><table cellspacing=4>
<tr><td>Space</td><td>pause</td></tr><tr><td>↑ ↓</td><td>larger, smaller signals</td></tr>
<tr><td>← →</td><td>less, more time on the screen</td></tr><tr><td>A</td><td>fit the scale to the signals</td></tr>
<tr><td>F, N, R</td><td>next band, notch, reference</td></tr><tr><td>S, H</td><td>spectrum, head</td></tr>
<tr><td>PgUp, PgDn</td><td>other channels</td></tr><tr><td>P</td><td>save a picture</td></tr>
<tr><td>Esc, Q</td><td>close</td></tr></table>"""


class Scope(QWidget):
    """A signal viewer for one stream.

    Parameters
    ----------
    info : StreamInfo
        The stream.
    filters : Filters, optional
        First filters.
    window_s : float, default=10
        Time on the screen, s.
    scale_uv : float, optional
        Height of a lane in µV; chosen from the signals if not given.

    Raises
    ------
    ConfigError
        If a setting does not fit the stream.
    """

    def __init__(
        self,
        info: StreamInfo,
        filters: Filters | None = None,
        window_s: float = 10.0,
        scale_uv: float | None = None,
    ) -> None:
        super().__init__()
        if scale_uv is not None and not scale_uv > 0:
            raise ConfigError(f"the scale must be above 0 µV, got {scale_uv:g}; 100 suits most EEG")
        self.model = Model(info, filters, window_s)
        self.source = SourceState(info.name)
        self.scale_uv, self._auto = scale_uv or 100.0, list(_AUTO_AT_S if scale_uv is None else ())
        self.is_paused = self.is_spectrum_shown = False
        self.chosen: list[int] = []
        self._page = 0
        self._spectrum_due = False
        self._edge = float("nan")
        self._tick_s = self._slow_s = self._text_s = 0.0
        self._to_micro = np.array([factor(c.unit) if is_voltage(c.unit) else np.nan for c in info.channels])
        self._own_lane = np.ones(info.n_channels)
        self._build()
        self._show_page()
        self._apply_scale()
        self._show_settings()

    # ------------------------------------------------------------- samples
    def push(self, chunks: Iterable[Chunk], now_s: float | None = None) -> None:
        """Take what arrived."""
        now_s = time.monotonic() if now_s is None else now_s
        for chunk in chunks:
            self.model.push(chunk, now_s)

    def tick(self, now_s: float | None = None) -> None:
        """Draw what is new and do what is due; to be called for every frame."""
        now_s = time.monotonic() if now_s is None else now_s
        if not self.is_paused and self.model.shown.stop:
            self.traces.follow(self._new_edge(now_s))
        self._tick_s = now_s
        if now_s - self._slow_s >= _SLOW_S:
            self._slow_s = now_s
            self._look_after_channels()
        if not self.is_paused and self.is_spectrum_shown:
            if self._spectrum_due:  # a frame later than the transform: no frame shall wait for both
                self._refresh_spectrum()
            self._spectrum_due = self.model.spectrum.update(self.model.shown)
        if now_s - self._text_s >= _TEXT_S:
            self._text_s = now_s
            self._write_status(now_s)
        if self._auto and self.model.shown.stop - self._first_sample() >= self._auto[0] * self.model.info.sfreq:
            self._auto.pop(0)
            self._fit_scale()

    def save(self, path: Path) -> None:
        """Save what is seen as a picture; `ConfigError` if it cannot be written."""
        self._write_status(time.monotonic())
        if not self.grab().toImage().save(str(path)):
            raise ConfigError(f"a picture needs a file .png or .jpg that can be written, got {path}; choose another")

    # ------------------------------------------------------------- choices
    def set_scale(self, scale_uv: float) -> None:
        """Make a lane `scale_uv` µV high."""
        self._auto.clear()
        self.scale_uv = scale_uv
        self._apply_scale()
        self._show_settings()

    def autoscale(self) -> None:
        """Fit the scale to the signals of the newest seconds."""
        self._auto.clear()
        self._fit_scale()

    def set_seconds(self, window_s: float) -> None:
        """Show `window_s` seconds."""
        self.model.set_screen(window_s, self.model.n_columns)
        self._edge = float("nan")
        self.traces.redraw()
        self._show_settings()

    def set_filters(self, filters: Filters) -> None:
        """Show the signals, past ones too, through other filters; says so below if they do not fit."""
        try:
            self.model.set_filters(filters)
        except ConfigError as error:
            self._say(str(error))
        self._centre(np.inf)
        self._show_settings()
        self.traces.redraw()

    def set_paused(self, paused: bool) -> None:
        """Hold the picture; samples are taken all the same."""
        self.is_paused, self._edge = paused, float("nan")
        self._pause.setChecked(paused)
        self._text_s = 0.0

    def set_spectrum(self, on: bool) -> None:
        """Show or hide the spectrum."""
        self._spectrum_button.setChecked(on)
        self.is_spectrum_shown = on
        self.spectrum.widget.setVisible(on)
        self._fit_side()
        if on:
            self.model.spectrum.update(self.model.shown, self.model.spectrum.n_average)
            self._refresh_spectrum()

    def set_head(self, on: bool) -> None:
        """Show or hide the head with its electrodes."""
        self._head_button.setChecked(on)
        self.head.widget.setVisible(on)
        self._fit_side()
        if on:
            self.head.refresh(self.names.quality)

    def set_contacts(self, kohm: Mapping[str, float]) -> None:
        """Show contacts that were measured, kOhm by channel; none change nothing."""
        self.model.set_contacts(kohm)
        self._slow_s = -np.inf

    def set_page(self, page: int) -> None:
        """Show another page of channels."""
        self._page = min(max(page, 0), (self.model.info.n_channels - 1) // PER_PAGE)
        self._show_page()
        self.traces.redraw()

    def choose(self, channel: int) -> None:
        """Add a channel to, or take it from, those whose spectrum is shown."""
        if channel in self.chosen:
            self.chosen.remove(channel)
        elif len(self.chosen) < len(look.CURVES):
            self.chosen.append(channel)
        self._color()
        self.traces.redraw()
        if self.chosen and not self.is_spectrum_shown:
            self.set_spectrum(True)
        self._refresh_spectrum()

    # ------------------------------------------------------------- Qt
    def keyPressEvent(self, event: QKeyEvent) -> None:  # Qt's name
        """Do what a key asks for."""
        key, f = event.key(), self.model.filters
        actions: dict[int, Callable[[], object]] = {
            Qt.Key.Key_Space: lambda: self.set_paused(not self.is_paused),
            Qt.Key.Key_Up: lambda: self.set_scale(look.neighbour(self.scale_uv, look.SCALES_UV, False)),
            Qt.Key.Key_Down: lambda: self.set_scale(look.neighbour(self.scale_uv, look.SCALES_UV, True)),
            Qt.Key.Key_Left: lambda: self.set_seconds(look.neighbour(self.model.window_s, look.SECONDS, False)),
            Qt.Key.Key_Right: lambda: self.set_seconds(look.neighbour(self.model.window_s, look.SECONDS, True)),
            Qt.Key.Key_A: self.autoscale,
            Qt.Key.Key_F: lambda: self.set_filters(replace(f, band=_after(BANDS, f.band))),
            Qt.Key.Key_N: lambda: self.set_filters(replace(f, notch_hz=_after(NOTCHES, f.notch_hz))),
            Qt.Key.Key_R: lambda: self.set_filters(
                replace(f, reference="none" if f.reference == "average" else "average")
            ),
            Qt.Key.Key_S: lambda: self.set_spectrum(not self.is_spectrum_shown),
            Qt.Key.Key_H: lambda: self.set_head(self.head.widget.isHidden()),
            Qt.Key.Key_PageUp: lambda: self.set_page(self._page - 1),
            Qt.Key.Key_PageDown: lambda: self.set_page(self._page + 1),
            Qt.Key.Key_P: self._save_numbered,
            Qt.Key.Key_Escape: self.close,
            Qt.Key.Key_Q: self.close,
        }
        if key in actions:
            actions[key]()
        else:
            super().keyPressEvent(event)

    def resizeEvent(self, event: QResizeEvent) -> None:  # Qt's name
        """Give the spectrum and the head their share."""
        super().resizeEvent(event)
        self._fit_side()

    # ------------------------------------------------------------- inside
    def _build(self) -> None:
        info = self.model.info
        self.setWindowTitle(f"{info.name} - bci view")
        self.setStyleSheet(look.STYLE)
        pg.setConfigOptions(background=look.BACKGROUND, foreground=look.DIM, antialias=True)
        self._graphics = pg.GraphicsLayoutWidget()
        layout: Any = self._graphics.ci.layout
        layout.setContentsMargins(0, 0, 6, 0)
        layout.setSpacing(2)
        view = pg.ViewBox(enableMouse=False, enableMenu=False)
        view.setBackgroundColor(look.BACKGROUND)
        self.traces = Traces(self.model, view)
        self.names = Names(self.traces, self.choose)
        self.spectrum, self.head = SpectrumPlot(self.model), HeadMap(info)
        self._graphics.addItem(self.names, 0, 0)
        self._graphics.addItem(view, 0, 1)
        view.sigResized.connect(lambda *_: self.names.update())
        self.controls = Controls()
        self._fill_controls()
        self.status, self._message = QLabel(), QLabel()
        self.status.setTextFormat(Qt.TextFormat.RichText)
        self.status.setMinimumWidth(1)
        self._message.setWordWrap(True)
        self._message.setStyleSheet(f"background: #3a1a1c; color: {look.ALARM}; padding: 4px 10px")
        self._message.hide()
        self.status.setContentsMargins(10, 2, 10, 5)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        middle = QHBoxLayout()
        middle.addWidget(self._graphics, 1)
        side = QVBoxLayout()
        for widget in (self.spectrum.widget, self.head.widget):
            side.addWidget(widget)  # a view of its own: the traces are drawn without drawing it again
            widget.hide()
        middle.addLayout(side)
        column.addWidget(self.controls)
        column.addWidget(self._message)
        column.addLayout(middle, 1)
        column.addWidget(self.status)
        self.setMinimumSize(360, 240)
        self.resize(1280, 860)

    def _fill_controls(self) -> None:
        c = self.controls

        def f() -> Filters:
            return self.model.filters

        self._pause = c.add_button("Pause", lambda: self.set_paused(self._pause.isChecked()), "Hold (Space)", True)
        scales = [(f"{s} µV", float(s)) for s in look.SCALES_UV]
        self._scale_box = c.add_choice("Scale", scales, self.set_scale, "Height of a channel's lane (Up, Down)")
        c.add_button("Auto", self.autoscale, "Fit the scale to the signals (A)")
        seconds = [(f"{s} s", float(s)) for s in look.SECONDS if s <= self.model.history_s + 0.5]
        self._seconds_box = c.add_choice("Time", seconds, self.set_seconds, "Time on the screen (Left, Right)")
        self._band_box = c.add_choice(
            "Band", [(band_text(b), b) for b in BANDS],
            lambda v: self.set_filters(replace(f(), band=v)), "Band-pass, causal (F)",
        )  # fmt: skip
        self._notch_box = c.add_choice(
            "Notch", [("off" if n is None else f"{n:g} Hz", n) for n in NOTCHES],
            lambda v: self.set_filters(replace(f(), notch_hz=v)), "Mains and its harmonics (N)",
        )  # fmt: skip
        self._reference_box = c.add_choice(
            "Reference", [("as recorded", "none"), ("average", "average")],
            lambda v: self.set_filters(replace(f(), reference=v)), "Take off the mean of all EEG channels (R)",
        )  # fmt: skip
        self._spectrum_button = c.add_button(
            "Spectrum", lambda: self.set_spectrum(self._spectrum_button.isChecked()), "Spectrum beside (S)", True
        )
        self._head_button = c.add_button(
            "Head", lambda: self.set_head(self._head_button.isChecked()), "Electrodes on the head (H)", True
        )
        n_pages = -(-self.model.info.n_channels // PER_PAGE)
        if n_pages > 1:
            pages = [(f"{p * PER_PAGE + 1}–{min((p + 1) * PER_PAGE, self.model.info.n_channels)}", p)
                     for p in range(n_pages)]  # fmt: skip
            self._page_box = c.add_choice("Channels", pages, self.set_page, "Other channels (PgUp, PgDn)")
        c.add_button("Picture", self._save_numbered, "Save a picture (P)")
        c.add_button("?", lambda: None, HELP)

    def _show_settings(self) -> None:
        f = self.model.filters
        show_value(self._scale_box, self.scale_uv, f"{self.scale_uv:g} µV")
        show_value(self._seconds_box, self.model.window_s, f"{self.model.window_s:g} s")
        show_value(self._band_box, f.band, band_text(f.band))
        show_value(self._notch_box, f.notch_hz, f"{f.notch_hz:g} Hz" if f.notch_hz else "off")
        show_value(self._reference_box, f.reference, f.reference)

    def _show_page(self) -> None:
        first = self._page * PER_PAGE
        self.traces.visible = np.arange(first, min(first + PER_PAGE, self.model.info.n_channels))
        if hasattr(self, "_page_box"):
            self._page_box.setCurrentIndex(self._page)
        self._color()
        self._refresh_spectrum()

    def _apply_scale(self) -> None:
        is_voltage_ = np.isfinite(self._to_micro)
        self.traces.per_lane = np.where(is_voltage_, self.scale_uv / np.where(is_voltage_, self._to_micro, 1.0),
                                        self._own_lane)  # fmt: skip
        self.traces.scale_uv = self.scale_uv if is_voltage_.any() else 0.0
        self.traces.redraw()

    def _fit_scale(self) -> None:
        span = self.model.span()
        good = ~health.is_bad(self.model.quality) & np.isfinite(self._to_micro) & np.isfinite(span)
        good &= np.isin(np.arange(len(good)), self.traces.visible)
        eeg = good & np.array([c.kind is Kind.EEG for c in self.model.info.channels])
        use = eeg if eeg.any() else good
        if use.any():
            self.scale_uv = look.nice_above(float(np.median((span * self._to_micro)[use])) * 0.8)
        self._own_lane = np.where(np.isfinite(span) & (span > 0), span * 1.2, self._own_lane)
        self._centre(np.inf)
        self._apply_scale()
        self._show_settings()

    def _centre(self, beyond_lanes: float) -> bool:
        """Put lines back into the middle of their lanes; all of them if `beyond_lanes` is infinite."""
        now = self.model.centre()
        known = np.isfinite(now)
        off = np.abs(np.where(known, now, 0.0) - self.traces.centre) / self.traces.per_lane
        is_far = known & ((off > beyond_lanes) | np.isinf(beyond_lanes))
        if self.model.filters.band is not None:  # a high-passed signal lies around 0 by itself
            passed = np.array([c.kind is not Kind.TRIG for c in self.model.info.channels])
            self.traces.centre[passed] = 0.0
            is_far &= ~passed
        self.traces.centre[is_far] = now[is_far]
        return bool(is_far.any())

    def _look_after_channels(self) -> None:
        if self.is_paused:  # the verdicts are those of the signals that are seen
            return
        before = self.names.quality
        self.names.look_at(self.model.quality)
        if not health.looks_alike(before, self.model.quality):
            self._color()
            if not self.head.widget.isHidden():
                self.head.refresh(self.model.quality)
        if self._centre(0.75):
            self.traces.redraw()

    def _color(self) -> None:
        group = np.arange(self.model.info.n_channels) % 2
        group[health.is_bad(self.names.quality)] = look.BAD
        group[self.chosen] = look.CHOSEN + np.arange(len(self.chosen))
        self.traces.color_of = group
        self.names.update()

    def _refresh_spectrum(self) -> None:
        if self.is_spectrum_shown:
            good = self.traces.visible[~health.is_bad(self.model.quality)[self.traces.visible]]
            self.spectrum.refresh(good.tolist(), self.chosen)

    def _new_edge(self, now_s: float) -> float:
        """Return up to which sample to draw: moves evenly although samples come in chunks."""
        sfreq, newest = self.model.info.sfreq, float(self.model.shown.stop - 1)
        lag_s = (newest - self._edge) / sfreq
        if not -_MOST_LAG_S <= lag_s <= _MOST_LAG_S:  # the first, a gap, a jump; NaN too
            self._edge = newest
        else:
            step_s = min(now_s - self._tick_s, 0.1) * (1 + 2 * (lag_s - _LAG_S))
            self._edge = min(newest, self._edge + max(0.0, step_s) * sfreq)
        return self._edge

    def _fit_side(self) -> None:
        width = int(min(max(0.28 * self.width(), 150), 420))
        self.spectrum.widget.setFixedWidth(width)
        self.head.widget.setFixedWidth(width)
        self.head.fit(width)

    def _first_sample(self) -> int:
        return self.model.shown.start

    def _write_status(self, now_s: float) -> None:
        self.status.setText(status_text(self.model, self.source, self.is_paused, now_s))
        self._say(self.source.message)

    def _say(self, text: str) -> None:
        if text != self._message.text():
            self._message.setText(text)
            self._message.setVisible(bool(text))

    def _save_numbered(self) -> None:
        number = 1
        while (path := Path(f"view-{number}.png")).exists():
            number += 1
        try:
            self.save(path)
            self.setWindowTitle(f"{self.model.info.name} - saved {path}")
        except ConfigError as error:
            self._say(str(error))


def _after(choices: tuple[Any, ...], value: Any) -> Any:
    return choices[(choices.index(value) + 1) % len(choices)] if value in choices else choices[0]
