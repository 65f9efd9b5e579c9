"""Why the gate was closed, in sentences for who started the session."""

from __future__ import annotations

from bci.runtime.run import Run
from bci.stream import StreamInfo

_SYNTHETIC = (
    "BrainFlow's synthetic board sends sines and noise, 100 to 200 µV of it above 30 Hz in some channels. "
    "They are judged bad, as they would be on a head, so the gate stays closed and nothing is driven: "
    "it shows that boards work. To see something driven use --device participant, or an amplifier."
)


def warning_of(info: StreamInfo) -> str:
    """Return what who begins with this source should know first; "" for nothing."""
    return _SYNTHETIC if info.meta.get("board") == "synthetic" else ""


def gate_in_words(run: Run) -> str:
    """Return how often the gate was open, what closed it, and what to do if it never was open."""
    total, n_open = sum(run.gate.values()), run.gate.get("open", 0)
    closed = sorted(((n, reason) for reason, n in run.gate.items() if reason != "open"), reverse=True)
    text = f"open for {n_open} of {total} decisions"
    if closed:
        text += f"; closed by {', '.join(f'{reason} ({n})' for n, reason in closed)}"
    if n_open or not total:
        return text
    text += ". Nothing was driven, outputs stayed in their safe state"
    if closed[0][1].startswith(("bad signal", "no contact")):
        text += "; `bci view` names each bad channel and says why"
    return text
