import gc
import time

import numpy as np
from threadpoolctl import threadpool_info

from bci.runtime.calm import calm


def n_threads():
    return max(pool["num_threads"] for pool in threadpool_info())


def test_one_thread_inside_and_as_before_outside():
    np.ones((2, 2)) @ np.ones((2, 2))
    before = n_threads()
    with calm():
        assert n_threads() == 1
        assert gc.get_freeze_count() > 0
        assert not gc.isenabled()
    assert n_threads() == before
    assert gc.get_freeze_count() == 0 and gc.isenabled()


def test_torch_is_told_too_and_gets_its_threads_back():
    import torch

    torch.set_num_threads(2)
    with calm():
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 2


class Cycle:
    n = 0

    def __init__(self):
        self.me = self
        Cycle.n += 1

    def __del__(self):
        Cycle.n -= 1


def test_garbage_of_the_loop_is_swept_and_what_lives_is_frozen(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    with calm() as sweep:
        Cycle()
        sweep()
        assert Cycle.n == 1  # not yet due
        now[0] = 1.0
        sweep()
        assert Cycle.n == 0
        before, kept = gc.get_freeze_count(), [[] for _ in range(1000)]
        now[0] = 40.0
        sweep()
        assert gc.get_freeze_count() >= before + len(kept)
