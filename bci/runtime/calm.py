"""Keep the loop's turns short: one thread for linear algebra, no garbage collection that comes when it likes."""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from threadpoolctl import threadpool_limits

_SWEEP_EVERY_S = 0.5
_FREEZE_EVERY_S = 30.0


class Sweep:
    """Collect garbage when the loop says that it has a moment; costs as much as was made since the last time.

    What lives on after half a minute goes out of the collector's sight: it is freed when nothing refers to it any
    more, as everything is that is part of no cycle.
    """

    def __init__(self) -> None:
        self._swept_s = self._frozen_s = time.monotonic()

    def __call__(self) -> None:
        """Collect what is due."""
        now_s = time.monotonic()
        if now_s - self._swept_s < _SWEEP_EVERY_S:
            return
        self._swept_s = now_s
        if now_s - self._frozen_s < _FREEZE_EVERY_S:
            gc.collect(0)
            return
        self._frozen_s = now_s
        gc.collect()
        gc.freeze()


@contextmanager
def calm() -> Iterator[Sweep]:
    """Run the body with one thread of BLAS, OpenMP and torch, and without automatic garbage collection.

    A window of EEG is too small for several threads: they wait for one another, and for whatever else the cores
    do. What was made before the loop (models, libraries) lives on anyway, and looking through it takes tens of
    milliseconds. The body calls what it is given, after each turn; everything is as before at the end.
    """
    torch = sys.modules.get("torch")  # loaded already if a decoder uses it
    n_threads = torch.get_num_threads() if torch is not None else 0
    was_enabled = gc.isenabled()
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        with threadpool_limits(limits=1):  # type: ignore[no-untyped-call]
            if torch is not None:
                torch.set_num_threads(1)
            yield Sweep()
    finally:
        gc.unfreeze()
        if was_enabled:
            gc.enable()
        if torch is not None:
            torch.set_num_threads(n_threads)
