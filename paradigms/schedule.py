"""Orders of trials: balanced, unpredictable, reproducible."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from bci.errors import ConfigError


def balanced(labels: Sequence[str], n_each: int, rng: np.random.Generator) -> Iterator[str]:
    """Yield each of `labels` `n_each` times, shuffled within blocks of one of each.

    Blocks keep the classes balanced at every moment, so that a run that is cut
    short, or a slow drift of the signal, does not favour one class.

    Raises
    ------
    ConfigError
        If there are no labels, or `n_each` is below 1.
    """
    if not labels or n_each < 1:
        raise ConfigError(f"a schedule needs labels and at least 1 trial each, got {list(labels)} and {n_each}")
    for _ in range(n_each):
        for k in rng.permutation(len(labels)):
            yield labels[int(k)]
