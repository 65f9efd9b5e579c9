import gc

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
        assert gc.isenabled()
    assert n_threads() == before
    assert gc.get_freeze_count() == 0


def test_torch_is_told_too_and_gets_its_threads_back():
    import torch

    torch.set_num_threads(2)
    with calm():
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 2
