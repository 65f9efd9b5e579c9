"""A recording through a chain is what the chain makes of it live; with MNE's recordings in and out."""

from itertools import pairwise

import numpy as np
import pytest

from bci.errors import DataError
from bci.interop import from_raw, run_raw, to_raw
from bci.signal.bank import FilterBank
from bci.signal.chain import Chain
from bci.signal.decimate import Decimate
from bci.signal.filters import Bandpass, Highpass, Notch
from bci.signal.fir import Fir
from bci.signal.fractional import FractionalDelay
from bci.signal.normalise import Baseline
from bci.signal.power import BinPower
from bci.signal.resample import Resample
from bci.signal.spatial import Pick, Reference
from bci.stream import Channel, Chunk, Event, Flag, Kind, StreamInfo

mne = pytest.importorskip("mne", reason="needs mne")

INFO = StreamInfo("amp", 250.0, (*(Channel(n) for n in ("C3", "Cz", "C4")), Channel("stim", Kind.TRIG, "")))
N = 9000


def recorded(seed=0, n=N):
    data = 20 * np.random.default_rng(seed).standard_normal((n, 4)) + 5000.0
    data[:, 3] = 0
    data[500:510, 3], data[4096:4100, 3] = 3, 7
    return data


def raw_of(data, first_samp=0):
    info = mne.create_info(INFO.ch_names, 250.0, ["eeg", "eeg", "eeg", "stim"])
    return mne.io.RawArray(data.T * [[1e-6], [1e-6], [1e-6], [1.0]], info, first_samp, verbose="error")


def live(chain, data, info, seed):
    """Return what the chain gives when the stream comes in pieces of any length."""
    cuts = np.random.default_rng(seed).integers(0, len(data), 300)
    chain.prepare(info)
    parts = [
        chain.process(Chunk(data[a:b], np.arange(a, b) / info.sfreq, int(a), info)).data
        for a, b in pairwise([0, *sorted(cuts), len(data)])
    ]
    return np.concatenate(parts)


CHAINS = {
    "usual": lambda: [Pick("eeg"), Notch(50), Reference(), Bandpass(8, 30), Decimate(4)],
    "taps": lambda: [Fir(8, 30), FilterBank([(8, 12), (12, 30)])],
    "rates": lambda: [Highpass(0.5), FractionalDelay(0.0013), Resample(160)],
}


@pytest.mark.parametrize("name", CHAINS)
def test_a_recording_gives_the_bits_of_the_stream(name):
    data, info, _ = from_raw(raw_of(recorded()))
    offline = Chain(CHAINS[name]()).run(raw_of(recorded()))
    for seed in range(3):
        assert np.array_equal(offline, live(Chain(CHAINS[name]()), data, info, seed))
    assert np.array_equal(offline, Chain(CHAINS[name]()).run(data, info))


def test_a_recording_that_is_not_loaded_is_read_as_it_goes(tmp_path):
    path = tmp_path / "one_raw.fif"
    raw_of(recorded()).save(path, fmt="double", verbose="error")
    raw = mne.io.read_raw_fif(path, preload=False, verbose="error")
    made = Chain(CHAINS["usual"]()).run(raw)
    assert not raw.preload
    assert np.array_equal(made, Chain(CHAINS["usual"]()).run(raw.copy().load_data(verbose="error")))


def test_annotations_and_triggers_come_as_events():
    raw = raw_of(recorded())
    raw.set_annotations(mne.Annotations([1.0, 20.0], [0.5, 0.0], ["cue", "end"]))
    found = [(e.code, e.sample) for c in Chain([Notch(50)]).stream(raw) for e in c.events]
    assert found == [("cue", 250), ("3", 500), ("7", 4096), ("end", 5000)]


def test_events_of_an_array_reach_the_blocks():
    data, event = recorded()[:, :1], Event(6000, 24.0, "cue")
    info = INFO.pick(["C3"])
    with_event = Chain([Baseline("cue")]).run(data, info, [event])
    assert not np.array_equal(with_event, Chain([Baseline("cue")]).run(data, info))
    with pytest.raises(DataError, match="count them from the first row"):
        Chain([]).run(data, info, [Event(N, 36.0, "late")])


def test_a_chunk_keeps_its_numbers_events_and_flags():
    events = (Event(90, 0.36, "before"), Event(5100, 20.4, "inside"))
    chunk = Chunk(recorded(), np.arange(N) / 250 + 7, 100, INFO, events, Flag.GAP)
    out = list(Chain([Bandpass(8, 30)]).stream(chunk))
    assert [c.start for c in out] == [100, 4196, 8292] and out[1].times[0] == chunk.times[4096]
    assert [e.code for c in out for e in c.events] == ["before", "inside"]
    assert [c.flags for c in out] == [Flag.GAP, Flag.OK, Flag.OK]


def test_progress_rises_to_one():
    told = []
    Chain([Notch(50)]).run(raw_of(recorded()), progress=told.append)
    assert told == sorted(told) and told[-1] == 1.0 and len(told) == 3


def test_what_knows_itself_takes_no_other_description():
    with pytest.raises(DataError, match="read from it"):
        Chain([]).run(raw_of(recorded()), INFO)
    with pytest.raises(DataError, match="n_samples, 4"):
        Chain([]).run(np.zeros((10, 3)), INFO)
    with pytest.raises(DataError, match="into the chunk"):
        Chain([]).run(Chunk.empty(INFO, 0), events=[Event(0, 0.0, "cue")])


# ------------------------------------------------------------------ a recording of MNE as the result
def test_a_recording_comes_back_with_its_marks_date_and_bads():
    raw = raw_of(recorded(), first_samp=1000)
    raw.set_meas_date(1e9)
    raw.set_annotations(mne.Annotations([1.0, 20.0], [0.5, 2.0], ["cue", "BAD eyes"]))
    raw.info["bads"] = ["Cz"]
    made = run_raw(Chain([Bandpass(8, 30), Decimate(5)]), raw)
    assert (made.info["sfreq"], made.n_times, made.first_samp) == (50.0, N // 5, 200)
    assert made.info["meas_date"] == raw.info["meas_date"] and made.info["bads"] == ["Cz"]
    assert np.allclose(made.annotations.onset, raw.annotations.onset)
    assert list(made.annotations.duration) == [0.5, 2.0]
    expected = Chain([Bandpass(8, 30), Decimate(5)]).run(raw)
    assert np.allclose(made.get_data().T[:, :3] * 1e6, expected[:, :3], rtol=1e-12, atol=1e-12)


def test_bad_spans_become_gaps_without_a_transient():
    data = recorded()
    data[3000:4000, :3] += 1e5  # an amplifier that was off
    data[4000:, :3] -= 3000.0  # and has another offset afterwards
    raw = raw_of(data)
    raw.set_annotations(mne.Annotations([12.0], [4.0], ["BAD_acq"]))
    chain = Chain([Highpass(1.0)])
    made = run_raw(chain, raw, gaps="BAD").get_data(verbose="error").T[:, :3] * 1e6
    assert np.isnan(made[3000:4000]).all() and np.isfinite(np.delete(made, np.s_[3000:4000], axis=0)).all()
    assert np.abs(np.delete(made, np.s_[3000:4000], axis=0)).max() < 150
    assert np.allclose(made[4000:], chain.run(data[4000:], INFO)[:, :3], rtol=1e-9, atol=1e-9)
    assert np.nanmax(np.abs(run_raw(chain, raw).get_data()[:3] * 1e6)) > 1e4  # where nobody asked


def test_joined_recordings_start_anew_at_the_seam():
    one, two = recorded(n=3000), recorded(1, 3000) - 4000
    two[:, 3] = 0
    raw = mne.concatenate_raws([raw_of(one), raw_of(two)], verbose="error")
    made = run_raw(Chain([Highpass(1.0)]), raw, gaps=("BAD boundary",))
    assert np.allclose(made.get_data()[:3, 3000:].T * 1e6, Chain([Highpass(1.0)]).run(two, INFO)[:, :3], atol=1e-9)


def test_a_span_of_one_channel_is_no_gap():
    raw = raw_of(recorded())
    raw.set_annotations(mne.Annotations([12.0], [4.0], ["BAD_C3"], ch_names=[["C3"]]))
    assert np.isfinite(run_raw(Chain([]), raw, gaps="BAD").get_data()).all()


def test_power_is_no_voltage_for_mne():
    made = run_raw(Chain([Pick("eeg"), BinPower(0.1, "power")]), raw_of(recorded()))
    assert made.get_channel_types() == ["misc"] * 3
    expected = Chain([Pick("eeg"), BinPower(0.1, "power")]).run(raw_of(recorded()))
    assert np.array_equal(made.get_data().T, expected)


def test_own_recordings_go_there_and_back():
    data = recorded()
    made, _, events = from_raw(run_raw(Chain([]), to_raw(data, INFO, [Event(5, 0.02, "cue")])))
    assert np.allclose(made, data, rtol=1e-12) and ("cue", 5) in [(e.code, e.sample) for e in events]
