"""A cascade while samples are missing: the mains that its notches hold goes on, and is still out after the gap."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bci.signal.assembly import passes
from bci.signal.compiled import njit
from bci.signal.stages import Array, SosStage


class GapCascade:
    """The sections of a cascade with their states taken across a gap.

    Parameters
    ----------
    stage : SosStage
        The cascade.

    Notes
    -----
    What fills a gap has no mains in it. Run through a notch it would empty its states, and for as long as they take to
    fill again (0.2 s at 50 Hz and quality 30) the mains would pass. So a notch runs backwards there: its output is what
    fills the gap, at its gain at 0 Hz, and its input is what gives this output in its present states. The zeros of
    a notch lie on the unit circle: that input is the mains going on, neither growing nor fading.
    With y = b0 x + z1 in transposed direct form II, x = (y - z1) / b0.
    """

    def __init__(self, stage: SosStage) -> None:
        self._columns = np.flatnonzero(stage.columns)
        rows: list[list[float]] = []
        for part in passes(stage.sos):
            for k, (b0, b1, b2, _, a1, a2) in enumerate(part.sos):
                notch = _is_notch(stage.sos[part.first + k])
                rows.append([b0, b1, b2, a1, a2, part.gain if k == 0 else 1.0, float(notch)])
        self._sections = np.array(rows).reshape(-1, 7)
        self.has_notches = bool(self._sections[:, 6].any())
        if self.has_notches:
            _take_across(np.zeros((1, 1)), np.zeros((1, 2, 1)), self._sections[:1], np.zeros(1, np.int64))

    def run(self, values: Array, states: Array) -> Array:
        """Return the output for rows that stand for missing ones; `states`, (n_sections, 2, n_channels), go on."""
        out = values.copy()
        _take_across(out, states, self._sections, self._columns)
        return out


def _is_notch(section: NDArray[np.float64]) -> bool:
    """Return True for zeros on the unit circle with poles behind them, and a gain of 1 at 0 Hz and at half the rate."""
    b0, b1, b2, _, a1, a2 = section / section[3]
    on_circle = np.isclose(b0, b2, rtol=1e-12, atol=0) and abs(b1) < 2 * abs(b0)
    return bool(on_circle and np.isclose([b1, b0 + b2], [a1, 1 + a2], rtol=1e-12, atol=1e-12).all())


@njit(cache=True, nogil=True)
def _take_across(values: Array, states: Array, sections: Array, columns: NDArray[np.int64]) -> None:
    for t in range(values.shape[0]):
        for s in range(sections.shape[0]):
            b0, b1, b2, a1, a2, gain, is_notch = sections[s]
            level = (b0 + b1 + b2) / (1.0 + a1 + a2)
            for c in columns:
                x = gain * values[t, c]
                if is_notch:
                    y = level * x
                    x = (y - states[s, 0, c]) / b0
                else:
                    y = b0 * x + states[s, 0, c]
                states[s, 0, c] = b1 * x - a1 * y + states[s, 1, c]
                states[s, 1, c] = b2 * x - a2 * y
                values[t, c] = y
