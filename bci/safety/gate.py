"""The gate: whether a decision may act."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bci.decision import Decision
from bci.errors import ConfigError
from bci.stream import Flag, listed

BAD = (
    Flag.GAP | Flag.OVERFLOW | Flag.SATURATED | Flag.LEAD_OFF | Flag.CLOCK_JUMP
    | Flag.SILENT | Flag.FLAT | Flag.NAN | Flag.STALE | Flag.NOISY | Flag.RATE | Flag.REJECTED
)  # fmt: skip
"""What closes the gate by default: all but `Flag.REPAIRED`, which says that a fault was taken out of the signal."""

_ROUNDING = 1e-3  # a network in single precision sums to 1 less exactly


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the gate says of one decision.

    Parameters
    ----------
    open : bool
        Whether it may act.
    reason : str
        Why, or why not.
    signal_ok : bool
        Whether the signal may be trusted; if not, the guard is told so and holds.
    broken : bool
        Whether the model itself is broken: the session should halt its effectors.
    """

    open: bool
    reason: str
    signal_ok: bool = True
    broken: bool = False


class Gate:
    """Refuse decisions that are stale, uncertain, made across a gap or on bad signal, or by a broken model.

    Pure: it reads no clock and does no I/O.

    Parameters
    ----------
    min_confidence : float, default=0.7
        Least calibrated probability of the decided class.
    votes, of : int, default=2, 3
        So many of the last so many decisions must be for the same class and confident;
        a decision locked to an event stands alone.
    max_age_s : float, default=1.0
        Oldest newest sample, s.
    bad_flags : Flag
        Flags that close the gate.
    reopen_s : float, default=1.0
        After a bad signal the gate stays closed until it was good for so long, s.
    n_frozen : int, default=10
        So many decisions in a row with bit for bit the same probabilities mean a broken model.
    most_bad_channels : int, optional
        So many channels of a window may be unknown or changed (`Decision.bad_channels`); more close the gate.
        No limit by default: what `bad_flags` say of one channel closes it already.

    Raises
    ------
    ConfigError
        If a setting is out of range.
    """

    def __init__(
        self,
        min_confidence: float = 0.7,
        votes: int = 2,
        of: int = 3,
        max_age_s: float = 1.0,
        bad_flags: Flag = BAD,
        reopen_s: float = 1.0,
        n_frozen: int = 10,
        most_bad_channels: int | None = None,
    ) -> None:
        if not (0 <= min_confidence <= 1 and 1 <= votes <= of and max_age_s > 0 and reopen_s >= 0 and n_frozen >= 2):
            raise ConfigError(
                "a gate needs 0 <= min_confidence <= 1, 1 <= votes <= of, max_age_s > 0, reopen_s >= 0 and "
                f"n_frozen >= 2, got {min_confidence}, {votes} of {of}, {max_age_s}, {reopen_s} and {n_frozen}"
            )
        if most_bad_channels is not None and most_bad_channels < 0:
            raise ConfigError(
                f"expected most_bad_channels from 0 on, got {most_bad_channels}; leave it out for no limit"
            )
        self.most_bad_channels = most_bad_channels
        self.min_confidence, self.votes, self.of = min_confidence, votes, of
        self.max_age_s, self.bad_flags, self.reopen_s, self.n_frozen = max_age_s, bad_flags, reopen_s, n_frozen
        self.reset()

    def check(self, decision: Decision, now_s: float, no_contact: Sequence[str] = ()) -> Verdict:
        """Judge one decision.

        Parameters
        ----------
        decision : Decision
            In the order in which they were made.
        now_s : float
            Time on the session clock, s.
        no_contact : sequence of str
            Electrodes that the decision rests on and whose measured impedance is bad.
        """
        verdict = self._judge(decision, now_s, no_contact)
        self.counts[verdict.reason] += 1
        return verdict

    def reset(self) -> None:
        """Forget all decisions."""
        self.counts: Counter[str] = Counter()
        self._recent: deque[str] = deque(maxlen=self.of)
        self._last: bytes = b""
        self._same = 1
        self._bad_until_s = -np.inf

    def _judge(self, decision: Decision, now_s: float, no_contact: Sequence[str]) -> Verdict:
        trouble = self._trouble(decision, now_s)
        if not trouble and no_contact:
            trouble = f"no contact: {listed(no_contact, 5)}"
        if trouble:
            self._bad_until_s = now_s + self.reopen_s
            self._recent.clear()
            return Verdict(False, trouble, signal_ok=False, broken=trouble.startswith("broken"))
        if now_s < self._bad_until_s:
            return Verdict(False, "settling", signal_ok=False)
        confident = decision.confidence >= self.min_confidence
        self._recent.append(decision.label if confident else "")
        if not confident:
            return Verdict(False, "uncertain")
        if not decision.event and sum(label == decision.label for label in self._recent) < self.votes:
            return Verdict(False, "waiting for a second vote")
        return Verdict(True, "open")

    def _trouble(self, decision: Decision, now_s: float) -> str:
        p = decision.probabilities
        if not np.isfinite(p).all():
            return "broken model: probabilities are not numbers" if not decision.flags & Flag.NAN else "bad signal: NAN"
        if p.min() < 0 or abs(p.sum() - 1) > _ROUNDING:
            return "broken model: scores are no probabilities"
        bad = decision.flags & self.bad_flags
        if bad:
            self._same = 0  # a dead signal gives the same answer too; that is not the model's fault
            return f"bad signal: {bad.name}"
        if self.most_bad_channels is not None and len(decision.bad_channels) > self.most_bad_channels:
            self._same = 0
            return f"bad channels: {listed(decision.bad_channels, 5)}"
        raw = p.tobytes()
        self._same = self._same + 1 if raw == self._last else 1
        self._last = raw
        if self._same >= self.n_frozen:
            return "broken model: the same answer again and again"
        if not (now_s - decision.stop_s <= self.max_age_s and decision.age_s <= self.max_age_s):
            return "stale"
        return ""
