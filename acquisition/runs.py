"""Runs of samples that follow one another without a loss, as one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from bci.acquisition.driver import Samples


def joined(runs: Sequence[Samples]) -> list[Samples]:
    """Return `runs` with those put together between which nothing is lost and no flag changes."""
    out: list[list[Samples]] = []
    for run in runs:
        if out and not run.lost and run.flags == out[-1][0].flags and not run.events and not out[-1][0].events:
            out[-1].append(run)
        else:
            out.append([run])
    return [_one(group) for group in out]


def _one(group: Sequence[Samples]) -> Samples:
    if len(group) == 1:
        return group[0]
    return replace(
        group[0], data=np.concatenate([r.data for r in group]), times=np.concatenate([r.times for r in group])
    )
