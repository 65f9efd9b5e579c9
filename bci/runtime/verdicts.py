"""Keep the verdicts on the channels of a stream in its recording."""

from __future__ import annotations

from typing import Protocol

from bci.signal.quality import Quality, QualityWatch
from bci.stream import Chunk


class TakesTexts(Protocol):
    """What is asked of a recorder here."""

    def add_text(self, name: str) -> int:
        """Begin a stream of texts; return its number."""
        ...

    def write_text(self, stream_id: int, time_s: float, text: str) -> None:
        """Write one text."""
        ...


class VerdictLog:
    """Write each change of a verdict into the text stream "Quality", at the first sample that it holds for.

    Parameters
    ----------
    watch : QualityWatch
        The judge; what it has seen of a chunk is written with that chunk.
    recorder : TakesTexts
        An open recorder.
    """

    def __init__(self, watch: QualityWatch, recorder: TakesTexts) -> None:
        self._watch, self._recorder, self._stream = watch, recorder, recorder.add_text("Quality")
        self._before: Quality | None = None

    def keep(self, chunk: Chunk, next_s: float) -> None:
        """Write what changed with `chunk`; at `next_s` (session clock, s) if it has no samples."""
        for quality in self._watch.take_changes():
            row = min(max(quality.sample - chunk.start, 0), chunk.n_samples - 1)
            time_s = float(chunk.times[row]) if chunk.n_samples else next_s
            self._recorder.write_text(self._stream, time_s, quality.line(self._before))
            self._before = quality
