"""The spectrum beside the channels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyqtgraph as pg
from numpy.typing import NDArray

from bci.apps.viewer import look
from bci.apps.viewer.model import Model

_MOST_HZ = 70.0
_FLOOR = 1e-12  # nothing of a signal lies below; the logarithm of 0 would


class SpectrumPlot:
    """Power density of chosen channels, or the median of all visible ones.

    Parameters
    ----------
    model : Model
        Where the spectrum comes from.

    Attributes
    ----------
    widget : pyqtgraph.PlotWidget
        What is drawn.
    """

    def __init__(self, model: Model) -> None:
        widget: Any = pg.PlotWidget()
        self.widget, self.plot = widget, widget.getPlotItem()
        self._model = model
        self.plot.setLabel("bottom", "Frequency (Hz)")
        self.plot.setTitle("Power density (µV²/Hz)", size="9pt", color=look.DIM)
        self.plot.setMenuEnabled(False)
        self.plot.setMouseEnabled(False, False)
        self.plot.hideButtons()
        self.plot.showGrid(True, True, 0.15)
        self.plot.setLogMode(False, True)
        freqs_hz = model.spectrum.freqs_hz
        self._freqs_hz = freqs_hz[freqs_hz <= _MOST_HZ][1:]
        self.plot.setXRange(0, float(self._freqs_hz[-1]), padding=0.01)
        self._legend = self.plot.addLegend(offset=(-8, 8), labelTextSize="9pt", brush=(14, 17, 22, 200))
        self._curves: list[pg.PlotDataItem] = []
        self._named: list[str] = []
        self._decades = (0, 0)

    def refresh(self, visible: list[int], chosen: list[int]) -> None:
        """Draw the newest estimate of the `chosen` channels, or the median of the `visible`."""
        names = [self._model.info.channels[c].name for c in chosen] or [f"median of {len(visible)} channels"]
        if names != self._named:
            self._rename(names)
        density = self._model.spectrum.density(_MOST_HZ)[1:]  # the mean is taken off
        if not density.shape[1] or not visible:
            for curve in self._curves:
                curve.setData([], [])
            return
        lines = [density[:, c] for c in chosen] or [_median(density[:, visible])]
        for curve, line in zip(self._curves, lines, strict=True):
            curve.setData(self._freqs_hz, np.maximum(line, _FLOOR), connect="finite")
        self._fit_range(np.concatenate(lines))

    def _rename(self, names: list[str]) -> None:
        for curve in self._curves:
            self.plot.removeItem(curve)
        self._curves = [
            self.plot.plot([], [], name=n, pen=pg.mkPen(look.CURVES[i % len(look.CURVES)], width=1.5))
            for i, n in enumerate(names)
        ]
        self._named = names

    def _fit_range(self, values: NDArray[np.float64]) -> None:
        """Whole decades, so that the axis stands still while the spectrum moves."""
        known = values[np.isfinite(values) & (values > _FLOOR)]
        if not len(known):
            return
        top = int(np.ceil(np.log10(known.max()) + 0.1))
        bottom = max(int(np.floor(np.log10(known.min()))), top - 7)
        low, high = self._decades
        if not (low <= bottom <= low + 1 and high - 1 <= top <= high and low < high):
            self._decades = (bottom, top)
            self.plot.setYRange(bottom, top, padding=0)


def _median(part: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the median over the columns that are known."""
    known = part[:, np.isfinite(part).all(axis=0)]
    return np.median(known, axis=1) if known.shape[1] else np.full(len(part), np.nan)
