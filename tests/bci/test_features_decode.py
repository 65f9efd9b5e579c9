"""Features on their way to a decoder: one row a step, a window of one row."""

import numpy as np
import pytest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from bci.acquisition.participant import Participant
from bci.acquisition.replay import Replay
from bci.paradigms.motor_imagery import MotorImagery
from bci.registry import create
from bci.runtime.session import Session
from bci.signal.bandpower import BandPower
from bci.signal.chain import Chain
from bci.signal.connectivity import Connectivity
from bci.signal.covariance import Covariance
from bci.signal.entropy import PermutationEntropy, SampleEntropy, SpectralEntropy
from bci.signal.filters import Bandpass
from bci.signal.pipeline import Pipeline
from bci.signal.spatial import Pick
from bci.signal.waveform import LineLength, LogVariance
from bci.stream import Channel, Chunk, Event, StreamInfo
from bci.trial import Locked, Slide

INFO = StreamInfo("amp", 250.0, tuple(Channel(n) for n in ("C3", "C4")))


def newest(X):
    return X[:, :, -1]


def play(device, record=None):
    paradigm = MotorImagery(
        ("left", "right"), n_trials=5, pause_s=(0.5, 1.0), window=Slide(0.1, 0.1), answer_s=(1.5, 4.0)
    )
    blocks = [Pick("eeg"), BandPower({"mu": (8, 12), "beta": (16, 24)}, window_s=1.0, step_s=0.1)]
    decoder = make_pipeline(FunctionTransformer(newest), LinearDiscriminantAnalysis("lsqr", shrinkage="auto"))
    with Session(device, paradigm, decoder, blocks=blocks, record=record, seed=1) as session:
        session.calibrate()
        return session.fit(), session.drive(4.0)


def test_band_power_drives_a_scikit_learn_decoder_and_a_replay_decides_the_same(tmp_path):
    score, live = play(Participant(seed=2, strength=3.0), tmp_path / "run.xdf")
    _, again = play(Replay(tmp_path / "run.xdf", chunk_samples=7))
    assert score.accuracy > score.chance_limit and len(live.decisions) > 20
    assert again.hash == live.hash


def test_window_of_one_row_is_the_row_of_its_step():
    pipeline = Pipeline([BandPower([(8, 12)], window_s=1.0, step_s=0.1)], Locked(0.0, 0.1))
    pipeline.prepare(INFO)
    data = np.random.default_rng(0).standard_normal((1000, 2))
    (cut,) = pipeline.push(Chunk(data, np.arange(1000) / 250, 0, INFO, (Event(601, 601 / 250, "go"),)))
    rows = Chain([BandPower([(8, 12)], window_s=1.0, step_s=0.1)]).run(data, INFO)
    # Step 24 holds samples 600 to 624; the first row is that of step 9.
    assert cut.chunk.start == 24 and np.array_equal(cut.chunk.data[0], rows[24 - 9])
    assert pipeline.transpose(cut).shape == (2, 1)


def test_offline_covariances_are_those_of_the_stream():
    data = np.random.default_rng(0).standard_normal((6000, 2))
    chain = Chain([Bandpass(8, 30), Covariance()])
    whole = chain.run(data, INFO)
    chain.prepare(INFO)
    parts = [
        chain.process(Chunk(data[a : a + 33], np.arange(a, min(a + 33, 6000)) / 250, a, INFO)).data
        for a in range(0, 6000, 33)
    ]
    assert np.array_equal(np.concatenate(parts), whole)


@pytest.mark.parametrize("bands", [[[8, 12], [13.5, 30]], {"mu": [8.0, 12.0]}])
def test_settings_of_a_file_make_a_block(bands):
    block = create("blocks", "band-power", bands=bands, method="ar", order=[4, 16], total_hz=[1, 40], scale="relative")
    assert (block.orders, block.total_hz, len(block.bands)) == ((4, 16), (1.0, 40.0), len(bands))


BANDS = [(8, 12), (13, 30)]
EVERY = [
    *(BandPower(BANDS, method) for method in ("multitaper", "welch", "dft", "ar", "filter")),
    *(Connectivity(BANDS, measure) for measure in ("coherence", "imaginary", "plv")),
    *(Covariance(), Covariance(shrinkage="ledoit-wolf"), Covariance(memory_s=2.0), LogVariance(), LineLength()),
    *(PermutationEntropy(), SampleEntropy(), SpectralEntropy()),
]


@pytest.mark.parametrize("block", EVERY, ids=lambda block: type(block).__name__)
def test_feature_is_the_same_to_the_last_bit_however_the_stream_is_cut(block):
    data, times = np.random.default_rng(0).standard_normal((1000, 2)), np.arange(1000) / 250
    joined = []
    for size in (1, 7, 1000):
        block.prepare(INFO)
        cuts = [slice(a, a + size) for a in range(0, 1000, size)]
        parts = [block.process(Chunk(data[rows], times[rows], rows.start, INFO)).data for rows in cuts]
        joined.append(np.concatenate(parts))
    assert len(joined[2]) > 3 and all(np.array_equal(one, joined[2]) for one in joined)
