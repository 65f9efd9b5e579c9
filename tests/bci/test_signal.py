from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bci.errors import ConfigError, DataError
from bci.ports import Block
from bci.registry import BUILTIN, load
from bci.signal.asr import Asr
from bci.signal.bandpower import BandPower
from bci.signal.bank import FilterBank
from bci.signal.chain import Chain
from bci.signal.connectivity import Connectivity
from bci.signal.covariance import Covariance
from bci.signal.decimate import Decimate
from bci.signal.detectors import BlinkDetector, JawDetector
from bci.signal.detrend import Detrend
from bci.signal.emg import EmgEnvelope
from bci.signal.entropy import PermutationEntropy, SampleEntropy, SpectralEntropy
from bci.signal.envelope import Envelope
from bci.signal.filters import Bandpass, Bandstop, Highpass, Lowpass, Notch
from bci.signal.fir import Fir
from bci.signal.fixed import FixedFilter, Places
from bci.signal.fractional import FractionalDelay
from bci.signal.heart import HeartRate, RPeaks
from bci.signal.line import LineCanceller
from bci.signal.log_power import LogPower
from bci.signal.normalise import Baseline, RobustStandardize, Standardize
from bci.signal.phase import Phase
from bci.signal.pipeline import Pipeline
from bci.signal.power import BinPower
from bci.signal.rails import Rails
from bci.signal.rate import EventRate
from bci.signal.regression import AdaptiveRegress, Regress
from bci.signal.reject import Reject
from bci.signal.resample import Resample
from bci.signal.spatial import Bipolar, Laplacian, Pick, Reference, SpatialFilter
from bci.signal.spikes import SpikeBandPower, SpikeCount, ThresholdCrossings
from bci.signal.surface import Interpolate, SplineLaplacian
from bci.signal.waveform import LineLength, LogVariance
from bci.signal.wavelet import Morlet
from bci.signal.whiten import Whiten
from bci.signal.window import Windower
from bci.stream import Channel, Chunk, Event, Flag, Kind, StreamInfo
from bci.testing.block import check_block
from bci.testing.contract import ContractError
from bci.trial import Locked, Slide

INFO = StreamInfo("amp", 250.0, tuple(Channel(n) for n in ("C3", "Cz", "C4", "Pz")))
ONE = StreamInfo("amp", 250.0, (Channel("C3"),))
REST = 20 * np.random.default_rng(9).standard_normal((6000, 4)) + 100.0


def fitted(block):
    """Let a block learn for each stream that it is prepared for, from what it has to do with here."""
    prepare = block.prepare
    block.prepare = lambda info: prepare(block.fit(REST[:, : info.n_channels], info) and info)
    return block


BLOCKS = {
    "bandpass": lambda: Bandpass(8, 30),
    "bandstop": lambda: Bandstop(45, 55),
    "highpass": lambda: Highpass(1.0),
    "lowpass": lambda: Lowpass(40.0),
    "fir": lambda: Fir(8, 30, n_taps=51),
    "fixed sections": lambda: FixedFilter(
        250.0, sos=[[1.0, 0.5, 0.2, 2.0, -1.0, 0.4], [1.0, -1.0, 0.0, 1.0, -0.9, 0.0]]
    ),
    "fixed taps": lambda: FixedFilter(250.0, taps=np.hanning(33)),
    "places": lambda: Places({"C3": (-0.05, 0.0, 0.08), "c4": (0.05, 0.0, 0.08)}),
    "notch": lambda: Notch(50.0),
    "average": lambda: Reference("average"),
    "to Cz": lambda: Reference(("Cz",)),
    "pick": lambda: Pick(("C4", "C3")),
    "matrix": lambda: SpatialFilter(np.eye(4)[::-1], ("a", "b", "c", "d")),
    "bipolar": lambda: Bipolar((("C3", "Cz"), ("C4", "Pz"))),
    "spline laplacian": SplineLaplacian,
    "interpolate": lambda: Interpolate("Cz"),
    "laplacian": lambda: Laplacian({"Cz": ("C3", "C4", "Pz")}),
    "reconstruct": lambda: fitted(Asr(cutoff=3.0)),
    "regress": lambda: fitted(Regress("Cz")),
    "adaptive regress": lambda: AdaptiveRegress("Cz"),
    "blinks": lambda: BlinkDetector("C3"),
    "jaw": lambda: JawDetector("C3"),
    "reject": lambda: Reject(500.0),
    "fractional delay": lambda: FractionalDelay(0.0013),
    "filter bank": lambda: FilterBank([(4, 8), (8, 12)]),
    "line canceller": LineCanceller,
    "detrend": Detrend,
    "decimate": lambda: Decimate(5),
    "resample": lambda: Resample(100.0),
    "bins": lambda: BinPower(0.05, "power"),
    "whiten": lambda: Whiten(step_s=0.5),
    "standardize": lambda: Standardize(5.0),
    "robust": lambda: RobustStandardize(5.0, 200),
    "baseline": lambda: Baseline("e0"),
    "log-power": lambda: LogPower(0.3),
    "emg": EmgEnvelope,
    "r-peaks": lambda: RPeaks("C3"),
    "heart-rate": lambda: HeartRate("C3"),
    "event-rate": lambda: EventRate("e7", 5.0),
    "morlet": lambda: Morlet((8.0, 12.0)),
    "phase": lambda: Phase(8.0, 13.0),
    "envelope": lambda: Envelope(8.0, 12.0),
    "crossings": lambda: ThresholdCrossings(1.5, side="positive"),
    "rails": lambda: Rails(1e4),
    "spike-count": lambda: SpikeCount(0.05, 1.5, side="positive"),
    "spike-band": lambda: SpikeBandPower(0.05, 20.0, 60.0),
    "band power": lambda: BandPower({"mu": (8, 12), "beta": (13, 30)}),
    "covariance": Covariance,
    "connectivity": lambda: Connectivity([(8, 12), (20, 30)], window_s=1.0),
    "log-variance": LogVariance,
    "line length": lambda: LineLength(0.5, 0.07),
    "permutation entropy": lambda: PermutationEntropy(1.0, 0.1, 4, 0.008),
    "sample entropy": lambda: SampleEntropy(0.5, 0.5),
    "spectral entropy": lambda: SpectralEntropy(window_s=1.0),
    "chain": lambda: Chain([Pick("eeg"), Notch(50), Reference(), Bandpass(8, 30), Decimate(3), Lowpass(20)]),
}


def test_every_registered_block_is_checked_here():
    checked = {type(make()) for make in BLOCKS.values()}
    assert {load("blocks", name) for name in BUILTIN["blocks"]} <= checked


MIX = ("to Cz", "matrix", "laplacian", "spline laplacian", "interpolate")  # what is unknown in one is in others
NEED_MORE = (*MIX, "pick", "bipolar", "regress", "adaptive regress", "connectivity")  # than one channel


@pytest.mark.parametrize("name", [n for n in BLOCKS if n not in NEED_MORE])
def test_block_keeps_the_law_with_one_channel(name):
    check_block(BLOCKS[name], ONE)


@pytest.mark.parametrize("name", [n for n in BLOCKS if n not in (*MIX, "whiten")])
def test_block_keeps_the_law(name):
    check_block(BLOCKS[name], INFO)


@pytest.mark.parametrize("name", BLOCKS)
def test_a_recording_gives_what_the_stream_gave(name):
    data, events = REST[:5000], [Event(k, k / 250, f"e{k}") for k in (0, 7, 4096)]
    block = BLOCKS[name]()
    if vars(block).pop("prepare", None):  # `fitted` above; a copy has learned already
        block.fit(REST, INFO)
    offline = Chain([block]).run(data, INFO, events)
    block.prepare(INFO)
    live = []
    for a, b in pairwise([0, *sorted(np.random.default_rng(1).integers(0, 5000, 60)), 5000]):
        inside = tuple(e for e in events if a <= e.sample < b)
        live.append(block.process(Chunk(data[a:b], np.arange(a, b) / 250, int(a), INFO, inside)).data)
    joined = np.concatenate(live)
    scale = np.nanmax(np.abs(joined), initial=1e-12)
    assert np.allclose(offline, joined, rtol=0, atol=1e-9 * scale, equal_nan=True)


def stream(block, data, cuts, info=INFO):
    block.prepare(info)
    edges = [0, *sorted(cuts), len(data)]
    parts = [
        block.process(Chunk(data[a:b], np.arange(a, b) / info.sfreq, a, info)).data
        for a, b in zip(edges[:-1], edges[1:], strict=True)
    ]
    return np.concatenate(parts)


@pytest.mark.parametrize("name", BLOCKS)
@settings(deadline=None, max_examples=15)
@given(st.lists(st.integers(0, 600), max_size=30), st.integers(0, 100))
def test_output_is_bit_equal_under_any_cutting(name, cuts, seed):
    data = np.random.default_rng(seed).standard_normal((600, 4))
    assert np.array_equal(stream(BLOCKS[name](), data, cuts), stream(BLOCKS[name](), data, []))


@pytest.mark.parametrize(("block", "kind"), [(Bandpass(8, 30), "bandpass"), (Lowpass(30), "lowpass")])
def test_filter_equals_scipy(block, kind):
    from scipy.signal import butter, sosfilt, sosfilt_zi

    x = np.random.default_rng(0).standard_normal((1000, 4))
    sos = butter(4, [8, 30] if kind == "bandpass" else 30, kind, fs=250.0, output="sos")
    expected, _ = sosfilt(sos, x, axis=0, zi=sosfilt_zi(sos)[:, :, None] * x[0])
    assert stream(block, x, [13, 500]) == pytest.approx(expected, abs=1e-10)


@pytest.mark.parametrize(("hz", "gain"), [(50.0, 0.0), (100.0, 0.0), (20.0, 1.0), (75.0, 1.0)])
def test_notch_takes_out_mains_and_harmonics_only(hz, gain):
    t = np.arange(5000) / 250.0
    x = np.repeat(np.sin(2 * np.pi * hz * t)[:, None], 4, axis=1)
    y = stream(Notch(50.0), x, [])[2500:]
    assert y.std() / x.std() == pytest.approx(gain, abs=0.03)


def test_average_reference_is_the_mean_by_hand():
    x = np.random.default_rng(0).standard_normal((20, 4))
    assert stream(Reference(), x, []) == pytest.approx(x - x.mean(axis=1, keepdims=True), abs=1e-12)


def test_average_reference_leaves_an_unknown_channel_out():
    x = np.ones((10, 4))
    x[:, 0] = np.nan
    y = stream(Reference(), x, [])
    assert np.isnan(y[:, 0]).all()
    assert (y[:, 1:] == 0).all()


def test_average_reference_leaves_other_kinds_alone():
    info = StreamInfo("amp", 250.0, (Channel("C3"), Channel("C4"), Channel("trig", Kind.TRIG, "")))
    y = stream(Reference(), np.array([[1.0, 3.0, 7.0]]), [], info)
    assert y.tolist() == [[-1.0, 1.0, 7.0]]


def test_decimation_does_not_alias():
    t = np.arange(4000) / 250.0
    x = np.repeat(np.sin(2 * np.pi * 60 * t)[:, None], 4, axis=1)
    assert np.abs(stream(Decimate(5), x, [])[200:]).max() < 1e-3


def test_decimation_keeps_events_at_chunk_edges():
    block = Decimate(4)
    block.prepare(INFO)
    found = []
    for a in range(0, 40, 2):
        events = (Event(a + 1, 0.0, str(a + 1)),)
        found += block.process(Chunk(np.zeros((2, 4)), np.zeros(2), a, INFO, events)).events
    assert [(e.code, e.sample) for e in found[:4]] == [("1", 1), ("3", 1), ("5", 2), ("7", 2)]


def test_whitened_channels_are_uncorrelated():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((20000, 4)) @ rng.standard_normal((4, 4))
    y = stream(Whiten(), x, [])[10000:]
    assert np.cov(y.T) == pytest.approx(np.eye(4), abs=0.1)


def test_offset_causes_no_transient():
    y = stream(Bandpass(8, 30), np.full((500, 4), 1e5), [3])
    assert np.abs(y).max() < 1e-5


@pytest.mark.parametrize(
    "block",
    [Bandpass(30, 8), Bandpass(8, 200), Highpass(0), Lowpass(125), Notch(130), Pick(("Fz",)), Reference(("Fz",))],
)
def test_settings_that_do_not_fit_the_stream_are_refused(block):
    with pytest.raises(ConfigError):
        block.prepare(INFO)


def test_a_block_before_prepare_says_so():
    with pytest.raises(DataError, match="prepare"):
        Bandpass(8, 30).process(Chunk.empty(INFO, 0))


# ------------------------------------------------------------------ windows
def cut(window, cuts, n=2000, events=(), missing=range(0), info=INFO):
    windower = Windower(window, info)
    data = np.repeat(np.arange(n, dtype=float)[:, None], info.n_channels, axis=1)  # the number is the value
    edges = sorted({0, n, missing.start, missing.stop, *cuts})
    found = []
    for a, b in zip(edges[:-1], edges[1:], strict=True):
        if a in missing:
            continue
        flags = Flag.GAP if missing and a == missing.stop else Flag.OK
        inside = tuple(e for e in events if a <= e.sample < b)
        found += windower.push(Chunk(data[a:b], np.arange(a, b) / info.sfreq, a, info, inside, flags))
    return found, windower


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(0, 2000), max_size=40))
def test_sliding_windows_do_not_depend_on_cutting(cuts):
    once, _ = cut(Slide(0.4, 0.1), [])
    again, _ = cut(Slide(0.4, 0.1), cuts)
    assert [c.chunk.start for c in once] == [c.chunk.start for c in again]
    assert all(np.array_equal(a.chunk.data, b.chunk.data) for a, b in zip(once, again, strict=True))


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(0, 2000), max_size=40), st.integers(500, 1500), st.integers(1, 200))
def test_no_window_spans_a_gap(cuts, begin, length):
    missing = range(begin, begin + length)
    found, _ = cut(Slide(0.4, 0.1), cuts, missing=missing)
    for c in found:
        assert np.array_equal(c.chunk.data[:, 0], np.arange(c.chunk.start, c.chunk.stop))
        assert c.chunk.stop <= begin or c.chunk.start >= missing.stop


def test_locked_window_is_where_the_event_says():
    found, _ = cut(Locked(0.1, 0.5), range(33, 2000, 33), events=[Event(100, 0.4, "go"), Event(99, 0.396, "go")])
    assert [(c.chunk.start, c.chunk.n_samples, c.event.sample) for c in found] == [(124, 100, 99), (125, 100, 100)]


def test_a_late_event_finds_its_samples():
    windower = Windower(Locked(0.0, 0.4), INFO)
    data = np.repeat(np.arange(1000.0)[:, None], 4, axis=1)
    assert windower.push(Chunk(data, np.arange(1000) / 250, 0, INFO)) == []
    (found,) = windower.push(Chunk.empty(INFO, 1000, events=(Event(500, 2.0, "go"),)))
    assert found.chunk.data[0, 0] == 500


def test_a_doubled_event_counts_once():
    events = [Event(100, 0.4, "go"), Event(100, 0.4, "go")]
    assert len(cut(Locked(0.0, 0.4), [], events=events)[0]) == 1


def test_a_locked_window_across_a_gap_is_dropped_and_counted():
    found, windower = cut(Locked(0.0, 0.4), [], events=[Event(480, 1.9, "go")], missing=range(500, 510))
    assert (found, windower.dropped) == ([], 1)


def test_pipeline_transposes_once_for_the_decoder():
    pipeline = Pipeline([Pick(("C4",))], Slide(0.4, 0.1))
    pipeline.prepare(INFO)
    found = pipeline.push(Chunk(np.zeros((200, 4)), np.arange(200) / 250, 0, INFO))
    assert pipeline.transpose(found[0]).shape == (1, 100)


# ------------------------------------------------------------------ the checker catches what is bad
class Forgetful(Block):
    """Starts anew at each chunk."""

    def prepare(self, info):
        self._info = info
        return info

    def process(self, chunk):
        if chunk.info.sfreq != self._info.sfreq:
            raise DataError("prepare again")
        return chunk.replace(data=chunk.data - chunk.data[:1])

    def reset(self):
        pass


class DropsEvents(Forgetful):
    def process(self, chunk):
        return chunk.replace(events=())


class Leaky(Forgetful):
    """Lets a NaN into every channel."""

    def process(self, chunk):
        return chunk.replace(data=chunk.data - chunk.data.mean(axis=1, keepdims=True))


class TakesAnything(Forgetful):
    def process(self, chunk):
        return chunk


class Writes(Forgetful):
    def process(self, chunk):
        chunk.data.base[:] = 0
        return chunk


class NeverResets(Forgetful):
    def prepare(self, info):
        self._n = 0.0
        return super().prepare(info)

    def process(self, chunk):
        self._n += chunk.n_samples
        return chunk.replace(data=chunk.data + self._n // 3000)


@pytest.mark.parametrize("bad", [Forgetful, DropsEvents, Leaky, TakesAnything, Writes, NeverResets])
def test_checker_catches_a_bad_block(bad):
    with pytest.raises(ContractError):
        check_block(bad, INFO)
