import pickle

import numpy as np
import pytest

from bci.errors import ConfigError, DataError
from bci.stream import Channel, Chunk, Flag, StreamInfo

INFO = StreamInfo("amp", 250.0, (Channel("C3"), Channel("C4")))


def test_names_must_be_unique():
    with pytest.raises(ConfigError, match="doubled C3"):
        StreamInfo("amp", 250.0, (Channel("C3"), Channel("C3")))


@pytest.mark.parametrize("sfreq", [0, -1, float("nan"), float("inf")])
def test_rate_must_be_above_zero(sfreq):
    with pytest.raises(ConfigError, match="above 0 Hz"):
        StreamInfo("amp", sfreq, (Channel("C3"),))


def test_unknown_channel_names_the_nearest():
    with pytest.raises(ConfigError, match="did you mean C"):
        INFO.index("C5")


def test_chunk_refuses_channels_first():
    with pytest.raises(DataError, match="samples are rows"):
        Chunk(np.zeros((2, 10)), np.zeros(10), 0, INFO)


def test_chunk_cannot_be_written_to_and_leaves_the_giver_free():
    data = np.zeros((10, 2))
    chunk = Chunk(data, np.zeros(10), 0, INFO)
    with pytest.raises(ValueError, match="read-only"):
        chunk.data[0, 0] = 1.0
    data[0, 0] = 1.0


def test_empty_chunk_carries_flags():
    chunk = Chunk.empty(INFO, 7, Flag.SILENT)
    assert (chunk.n_samples, chunk.start, chunk.stop, chunk.flags) == (0, 7, 7, Flag.SILENT)


def test_info_survives_pickle_and_can_be_hashed():
    assert pickle.loads(pickle.dumps(INFO)) == INFO
    assert hash(INFO) == hash(StreamInfo("amp", 250.0, INFO.channels))


def test_pick_keeps_the_given_order():
    assert INFO.pick(["C4", "C3"]).ch_names == ["C4", "C3"]
