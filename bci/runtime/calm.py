"""Keep the loop's turns short: one thread for linear algebra, no full garbage collection in between."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from threadpoolctl import threadpool_limits


@contextmanager
def calm() -> Iterator[None]:
    """Run the body with one thread of BLAS, OpenMP and torch, and with today's objects out of the collector's sight.

    A window of EEG is too small for several threads: they wait for one another, and for whatever else the cores
    do. What was made before the loop (models, libraries) lives on anyway, and looking through it takes tens of
    milliseconds.
    """
    torch = sys.modules.get("torch")  # loaded already if a decoder uses it
    n_threads = torch.get_num_threads() if torch is not None else 0
    gc.collect()
    gc.freeze()
    try:
        with threadpool_limits(limits=1):  # type: ignore[no-untyped-call]
            if torch is not None:
                torch.set_num_threads(1)
            yield
    finally:
        gc.unfreeze()
        if torch is not None:
            torch.set_num_threads(n_threads)
