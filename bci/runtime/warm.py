"""Load what the loop will need while the device opens: both take their time, and a device mostly waits."""

from __future__ import annotations

import importlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def warming() -> Iterator[None]:
    """Load kernels and the design of filters beside the body; they are there when it ends."""
    thread = threading.Thread(target=_load, name="warm-up", daemon=True)
    thread.start()
    try:
        yield
    finally:
        thread.join()


def _load() -> None:
    from bci.signal import flat, kernels

    kernels.warm_up()
    flat.warm_up()
    importlib.import_module("scipy.signal")  # filters are designed with it
