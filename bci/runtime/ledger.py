"""The latency ledger: how old each decision's newest sample was, and where the time went."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from bci.decision import Decision

STAGES = ("read", "record", "blocks", "window", "decode", "decide")


def summary(decisions: Iterable[Decision]) -> Mapping[str, tuple[float, float]]:
    """Return (median, 99th percentile) in s of each stage, of their sum without waiting, and of the age.

    "read" includes waiting for samples and is left out of "total"; "age" is that
    of the newest sample when the decision was made, on the session clock.
    """
    table: dict[str, list[float]] = {name: [] for name in (*STAGES, "total", "age")}
    for decision in decisions:
        for name in STAGES:
            table[name].append(decision.stages.get(name, 0.0))
        table["total"].append(sum(decision.stages.get(name, 0.0) for name in STAGES[1:]))
        table["age"].append(decision.age_s)
    return {
        name: (float(np.median(v)), float(np.quantile(v, 0.99))) if v else (float("nan"), float("nan"))
        for name, v in table.items()
    }
