"""No chunk waits for a compiler: what `prepare` compiles is all that is ever called."""

import numpy as np
import pytest

from bci.signal import kernels_analytic, kernels_body, kernels_normalise, kernels_spikes
from bci.signal.emg import EmgEnvelope
from bci.signal.envelope import Envelope
from bci.signal.heart import HeartRate
from bci.signal.log_power import LogPower
from bci.signal.normalise import Baseline, RobustStandardize, Standardize
from bci.signal.phase import Phase
from bci.signal.spikes import SpikeCount, ThresholdCrossings
from bci.signal.wavelet import Morlet
from bci.stream import Channel, Chunk, Event, Kind, StreamInfo

BLOCKS = [
    Standardize(), RobustStandardize(), Baseline(), LogPower(), SpikeCount(0.1), ThresholdCrossings(noise="rms"),
    Morlet((10.0, 20.0)), Phase(8.0, 13.0), Envelope(8.0, 12.0), EmgEnvelope(), EmgEnvelope("rms"), HeartRate("C3"),
]  # fmt: skip


def compiled():
    modules = (kernels_analytic, kernels_body, kernels_normalise, kernels_spikes)
    return {
        f"{m.__name__}.{name}": len(kernel.signatures)
        for m in modules
        for name, kernel in vars(m).items()
        if hasattr(kernel, "signatures")
    }


@pytest.mark.parametrize("block", BLOCKS, ids=lambda b: type(b).__name__)
@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_prepare_compiles_all(block, scale):
    info = StreamInfo("eeg", 250.0, (Channel("C3", scale=scale), Channel("C4", scale=scale), Channel("T", Kind.TRIG)))
    block.prepare(info)
    before = compiled()
    data = np.random.default_rng(0).standard_normal((1000, 3))
    broken = data.copy()
    broken[10:20, 0] = np.nan
    variants = (data, broken, np.asfortranarray(data), data.astype(np.float32), (100 * data).astype(np.int16))
    for k, rows in enumerate(variants):
        block.process(Chunk(rows, np.arange(1000) / 250, 1000 * k, info, (Event(1000 * k + 5, 0.0, "rest"),)))
    assert compiled() == before and sum(before.values()) > 0
