"""Integers with a scale: the device delivers them, the recorder keeps them, everything else sees units."""

import numpy as np
import pytest

from bci.acquisition.recorder.xdf_recorder import XdfRecorder
from bci.acquisition.recording import load
from bci.interop import to_raw
from bci.signal.chain import Chain
from bci.signal.decimate import Decimate
from bci.signal.filters import Bandpass
from bci.signal.whiten import Whiten
from bci.stream import Channel, Chunk, StreamInfo

SFREQ = 250.0
INFO = StreamInfo("amp", SFREQ, (Channel("C3", scale=0.1), Channel("C4", scale=0.25)))
COUNTS = np.random.default_rng(0).integers(-3000, 3000, (1000, 2)).astype(np.int16)


def _chunk(data=COUNTS, info=INFO):
    return Chunk(data, np.arange(len(data)) / SFREQ, 0, info)


def test_physical_multiplies_and_forgets_the_scale():
    physical = _chunk().physical()
    assert np.array_equal(physical.data, COUNTS * np.array([0.1, 0.25]))
    assert physical.info.scales is None and physical.physical() is physical


@pytest.mark.parametrize("blocks", [[], [Bandpass(1, 40)], [Decimate(2)], [Whiten()], [Bandpass(1, 40), Decimate(2)]])
def test_a_chain_gives_for_integers_what_it_gives_for_their_physical_values(blocks):
    of_counts = Chain(blocks).run(_chunk())
    of_values = Chain(blocks).run(_chunk().physical())
    assert np.array_equal(of_counts, of_values)


def test_a_chain_tells_that_its_output_is_in_units():
    for blocks in ([], [Bandpass(1, 40)], [Decimate(2)]):
        assert Chain(blocks).prepare(INFO).scales is None


def test_a_block_alone_scales_too():
    alone, chained = Bandpass(1, 40), Chain([Bandpass(1, 40)])
    alone.prepare(INFO)
    chained.prepare(INFO)
    assert np.array_equal(alone.process(_chunk()).data, chained.process(_chunk()).data)


def test_a_recording_keeps_the_integers_and_loads_as_values(tmp_path):
    import pyxdf

    with XdfRecorder(tmp_path / "r.xdf") as recorder:
        recorder.write(recorder.add_stream(INFO), _chunk())
    streams, _ = pyxdf.load_xdf(tmp_path / "r.xdf")
    stored = next(s for s in streams if s["info"]["name"] == ["amp"])["time_series"]
    assert stored.dtype == np.int16 and np.array_equal(stored, COUNTS)
    (part,) = load(tmp_path / "r.xdf")
    assert np.array_equal(part.data, _chunk().physical().data) and part.info.scales is None


def test_mne_gets_volts():
    raw = to_raw([_chunk()])
    assert np.allclose(raw.get_data().T * 1e6, _chunk().physical().data)
    assert np.allclose(to_raw(COUNTS, INFO).get_data(), raw.get_data())
