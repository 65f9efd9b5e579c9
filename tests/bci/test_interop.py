import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bci.errors import DataError
from bci.interop import from_raw, to_raw
from bci.stream import Channel, Chunk, Event, Flag, Kind, StreamInfo

mne = pytest.importorskip("mne", reason="needs mne")

INFO = StreamInfo(
    "amp",
    200.0,
    (
        Channel("C3", Kind.EEG, "uV", (-0.05, 0.01, 0.09)),
        Channel("C4", Kind.EEG, "uV", (0.05, 0.01, 0.09)),
        Channel("wrist", Kind.EMG, "mV"),
        Channel("belt", Kind.MISC, ""),
    ),
)


@given(st.integers(1, 300), st.lists(st.integers(0, 299), max_size=5), st.integers(0, 2**32 - 1))
@settings(max_examples=25, deadline=None)
def test_there_and_back_keeps_samples_units_places_and_events(n_samples, marks, seed):
    data = 50 * np.random.default_rng(seed).standard_normal((n_samples, 4))
    events = [Event(m, m / 200, f"code-{m}", "test") for m in sorted(set(marks)) if m < n_samples]
    again, info, found = from_raw(to_raw(data, INFO, events))
    in_uv = data * np.array([1.0, 1.0, 1e3, 1.0])  # a channel in mV comes back in µV
    np.testing.assert_allclose(again, in_uv, rtol=1e-9, atol=1e-9)
    assert info.ch_names == INFO.ch_names
    assert [c.kind for c in info.channels] == [c.kind for c in INFO.channels]
    assert [c.unit for c in info.channels] == ["uV", "uV", "uV", ""]
    np.testing.assert_allclose([c.position for c in info.channels[:2]], [c.position for c in INFO.channels[:2]])
    assert info.channels[2].position is None
    assert [(e.sample, e.code) for e in found] == [(e.sample, e.code) for e in events]


def test_mne_holds_volts_and_knows_the_montage():
    raw = to_raw(np.full((10, 4), 7.0), INFO)
    np.testing.assert_allclose(raw.get_data()[:, 0], [7e-6, 7e-6, 7e-3, 7.0])
    places = raw.get_montage().get_positions()["ch_pos"]
    np.testing.assert_allclose(places["C3"], (-0.05, 0.01, 0.09))


def test_lost_samples_are_nan_and_annotated_not_joined():
    def chunk(start, n, flags=Flag.OK, events=()):
        return Chunk(np.ones((n, 4)), np.arange(start, start + n) / 200, start, INFO, events, flags)

    late = Event(1105, 5.525, "cue", "test")
    raw = to_raw([chunk(1000, 50), chunk(1090, 40, Flag.GAP, (late,))])
    assert raw.n_times == 130
    assert np.isnan(raw.get_data()[0, 50:90]).all()
    assert np.isfinite(raw.get_data()[0, np.r_[0:50, 90:130]]).all()
    marks = {d: (o, s) for o, s, d in zip(raw.annotations.onset, raw.annotations.duration, raw.annotations.description,
                                          strict=True)}  # fmt: skip
    assert marks["BAD_gap"] == pytest.approx((0.25, 0.2))
    assert marks["cue"][0] == pytest.approx(105 / 200)


def test_a_cropped_recording_counts_events_from_its_own_first_sample():
    raw = to_raw(np.zeros((400, 4)), INFO, [Event(300, 1.5, "late", "test")])
    raw.set_meas_date(0)
    _, _, events = from_raw(raw.crop(1.0))
    assert [(e.sample, e.code) for e in events] == [(100, "late")]


def test_an_array_without_description_says_what_is_missing():
    with pytest.raises(DataError, match="StreamInfo"):
        to_raw(np.zeros((10, 2)))
    with pytest.raises(DataError, match="at least one sample"):
        to_raw([])


def test_triggers_become_events_without_the_amplifiers_own_bits():
    status = np.zeros(500)
    status[100:110], status[300:305] = 3, 7
    status += 1 << 20  # BioSemi's "in range" bit is always set
    info = mne.create_info(["C3", "Status"], 100.0, ["eeg", "stim"])
    raw = mne.io.RawArray(np.vstack([np.zeros(500), status]), info, first_samp=50, verbose="error")
    raw.set_annotations(mne.Annotations([2.0], [0.0], ["blink"]))
    _, _, events = from_raw(raw)
    assert [(e.sample, e.time, e.code) for e in events] == [(100, 1.0, "3"), (200, 2.0, "blink"), (300, 3.0, "7")]
