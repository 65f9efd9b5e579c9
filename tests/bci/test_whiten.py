from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bci.errors import ConfigError, DataError
from bci.signal.chain import Chain
from bci.signal.whiten import Whiten
from bci.stream import Channel, Chunk, Kind, StreamInfo

INFO = StreamInfo("eeg", 100.0, tuple(Channel(n) for n in ("C3", "Cz", "C4")))


def samples(n: int = 3000) -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.standard_normal((n, 3)) @ np.array([[3.0, 1, 0], [0, 2, 1], [0, 0, 5]])


def chunk(data: np.ndarray, start: int = 0, info: StreamInfo = INFO) -> Chunk:
    return Chunk(data, (start + np.arange(len(data))) / info.sfreq, start, info)


def cut(data: np.ndarray, sizes) -> np.ndarray:
    block, at, parts = Whiten(5.0), 0, []
    block.prepare(INFO)
    while at < len(data):
        n = int(next(sizes))
        parts.append(block.process(chunk(data[at : at + n], at)).data)
        at += n
    return np.concatenate(parts)


def test_output_has_unit_covariance_once_it_has_learned():
    out = Chain([Whiten(20.0)]).run(samples(6000), INFO)
    np.testing.assert_allclose(np.cov(out[2000:].T), np.eye(3), atol=0.1)


def test_output_is_bit_equal_however_the_stream_is_cut():
    rng = np.random.default_rng(1)
    whole = cut(samples(), iter([3000]))
    for sizes in (iter(lambda: 1, None), iter(lambda: 7, None), iter(lambda: rng.integers(1, 400), None)):
        assert (cut(samples(), sizes) == whole).all()


def test_a_scale_and_a_mixture_of_the_whole_run_are_taken_out_of_the_power():
    run = np.random.default_rng(2).standard_normal((6000, 3))
    block = Chain([Whiten(40.0, shrinkage=1e-6)])
    power = [np.cov(block.run(run @ mix, INFO)[4000:].T) for mix in (np.eye(3), np.diag([1.0, 10.0, 0.1]))]
    np.testing.assert_allclose(power[0], power[1], atol=0.02)


def test_first_step_passes_unchanged():
    data = samples()
    assert (Chain([Whiten()]).run(data, INFO)[:100] == data[:100]).all()


def test_only_the_past_is_used():
    data = samples()
    other = data.copy()
    other[1500:] *= 10
    assert (Chain([Whiten()]).run(data, INFO)[:1500] == Chain([Whiten()]).run(other, INFO)[:1500]).all()


def test_unit_becomes_one_and_names_stay():
    out = Whiten().prepare(INFO)
    assert [(c.name, c.unit) for c in out.channels] == [("C3", "1"), ("Cz", "1"), ("C4", "1")]


def test_trigger_channel_passes_unchanged():
    info = replace(INFO, channels=(*INFO.channels[:2], Channel("STI", Kind.TRIG, "1")))
    data = samples()
    assert (Chain([Whiten()]).run(data, info)[:, 2] == data[:, 2]).all()


def test_nan_stays_in_its_channel_and_sample():
    data = samples()
    data[500, 1] = np.nan
    out = Chain([Whiten()]).run(data, INFO)
    assert np.isnan(out).sum() == 1 and np.isnan(out[500, 1])


def test_gap_keeps_what_was_learned():
    block = Whiten()
    block.prepare(INFO)
    data = samples()
    block.process(chunk(data[:1000]))
    after = block.process(chunk(data[1500:1600], 1500)).data
    assert np.abs(after.std(axis=0) - 1).max() < 0.3


def test_reset_forgets_everything():
    block, data = Whiten(), samples()
    block.prepare(INFO)
    first = block.process(chunk(data)).data
    block.reset()
    assert (block.process(chunk(data)).data == first).all()


def test_zeros_pass_as_zeros():
    out = Chain([Whiten()]).run(np.zeros((1000, 3)), INFO)
    assert (out == 0).all()


def test_empty_chunk_keeps_its_events_and_description():
    block = Whiten()
    out_info = block.prepare(INFO)
    assert block.process(Chunk.empty(INFO, 0)).info == out_info


@pytest.mark.parametrize("settings", [(0.0,), (40.0, 0.0), (1.0, 2.0), (40.0, 1.0, 0.0)])
def test_settings_out_of_range_are_refused(settings):
    with pytest.raises(ConfigError, match="0 < step_s"):
        Whiten(*settings)


def test_process_before_prepare_is_refused():
    with pytest.raises(DataError, match="prepare"):
        Whiten().process(chunk(samples()))
