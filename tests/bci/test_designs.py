"""What was designed with MNE does live what it did there."""

import numpy as np
import pytest

from bci.designs import from_mne
from bci.errors import ConfigError
from bci.signal.chain import Chain
from bci.signal.fixed import FixedFilter, Places
from bci.stream import Channel, Kind, StreamInfo

mne = pytest.importorskip("mne", reason="needs mne")

NAMES = ["Fz", "C3", "Cz", "C4", "Pz", "Oz"]
INFO = StreamInfo("amp", 250.0, tuple(Channel(n) for n in NAMES))


def noise(n=4000):
    return 20 * np.random.default_rng(0).standard_normal((n, len(NAMES)))


def raw_of(data):
    return mne.io.RawArray(data.T * 1e-6, mne.create_info(NAMES, 250.0, "eeg"), verbose="error")


def test_taps_do_the_same_later_by_half_their_length():
    taps = mne.filter.create_filter(None, 250.0, 8.0, 30.0, verbose="error")
    block, late = from_mne(taps, 250.0), len(taps) // 2
    made = Chain([block]).run(noise(), INFO)
    expected = mne.filter.filter_data(noise().T, 250.0, 8.0, 30.0, verbose="error").T
    assert made[1000:] == pytest.approx(expected[1000 - late : -late], abs=1e-9)
    block.prepare(INFO)
    assert block.delay_s == pytest.approx(late / 250.0)


def test_minimum_phase_has_the_gain_and_less_delay():
    taps = mne.filter.create_filter(None, 250.0, 8.0, 30.0, verbose="error")
    chains = [Chain([from_mne(taps, 250.0, phase)]) for phase in ("linear", "minimum")]
    delays = []
    gains = []
    for chain in chains:
        chain.prepare(INFO)
        delays.append(chain.delay_s)
        gains.append(np.abs(chain.response(np.linspace(9, 29, 50))))
    assert delays[1] < 0.3 * delays[0] and gains[1] == pytest.approx(gains[0], abs=2e-3)


def test_sections_do_what_mne_does_forwards():
    design = mne.filter.create_filter(None, 250.0, 8.0, 30.0, method="iir", verbose="error")
    made = Chain([from_mne(design, 250.0)]).run(noise(), INFO)
    expected = mne.filter.filter_data(
        noise().T, 250.0, 8.0, 30.0, method="iir", phase="forward", iir_params=design, verbose="error"
    ).T
    assert made[2000:] == pytest.approx(expected[2000:], abs=1e-9)  # the starts differ


def test_polynomials_become_sections():
    params = mne.filter.construct_iir_filter({"order": 2, "ftype": "butter", "output": "ba"}, 10.0, None, 250.0, "low")
    chain = Chain([from_mne(params, 250.0)])
    chain.prepare(INFO)
    from scipy.signal import freqz

    hz = np.array([1.0, 10.0, 60.0])
    assert chain.response(hz) == pytest.approx(freqz(params["b"], params["a"], hz, fs=250.0)[1], abs=1e-12)


def test_projectors_do_what_they_do_to_a_recording():
    raw = raw_of(noise())
    projectors = [*mne.compute_proj_raw(raw, n_eeg=1, verbose="error"), mne.proj.make_eeg_average_ref_proj(raw.info)]
    expected = raw.copy().add_proj(projectors).apply_proj(verbose="error").get_data().T * 1e6
    assert Chain([from_mne(projectors)]).run(noise(), INFO) == pytest.approx(expected, abs=1e-9)
    one = raw.copy().add_proj(projectors[:1]).apply_proj(verbose="error").get_data().T * 1e6
    assert Chain([from_mne(projectors[0])]).run(noise(), INFO) == pytest.approx(one, abs=1e-9)


def test_a_montage_gives_places_in_head_coordinates():
    raw = raw_of(noise(10)).set_montage("easycap-M1")
    block = from_mne(raw.get_montage())
    places = {c.name: c.position for c in block.prepare(INFO).channels}
    for name, entry in zip(NAMES, raw.info["chs"], strict=True):
        assert places[name] == pytest.approx(entry["loc"][:3])
    with pytest.raises(ConfigError, match="as the montage does"):
        block.prepare(StreamInfo("amp", 250.0, (Channel("E1"),)))


def test_a_recording_tells_its_filter_places_and_projectors():
    raw = raw_of(noise()).set_montage("easycap-M1")
    raw.filter(1.0, 40.0, verbose="error").set_eeg_reference("average", projection=True, verbose="error")
    chain = from_mne(raw)
    made = chain.run(noise(), INFO)
    late = len(mne.filter.create_filter(None, 250.0, 1.0, 40.0, verbose="error")) // 2
    expected = raw.copy().apply_proj(verbose="error").get_data().T * 1e6
    assert made[2000:] == pytest.approx(expected[2000 - late : -late], abs=1e-9)
    out = chain.prepare(INFO)
    assert out.ch_names == NAMES and all(c.position for c in out.channels)
    assert from_mne(raw.info, sfreq=500.0).prepare(StreamInfo("amp", 500.0, INFO.channels)).sfreq == 500.0


def test_a_recording_that_was_not_filtered_asks_for_nothing():
    assert from_mne(raw_of(noise(10))).blocks == []


def test_an_ica_takes_out_what_it_excludes():
    sources = 20 * np.random.default_rng(0).laplace(size=(4000, len(NAMES)))
    raw = raw_of(sources @ np.random.default_rng(1).standard_normal((6, 6))).filter(1.0, None, verbose="error")
    ica = mne.preprocessing.ICA(6, random_state=0, max_iter=500, verbose="error")
    ica.fit(raw, verbose="error")
    ica.exclude = [1]
    expected = ica.apply(raw.copy(), verbose="error").get_data() * 1e6
    made = Chain([from_mne(ica)]).run(raw).T
    # MNE keeps the mean of the training data, and here offsets pass as they are.
    assert made - made.mean(axis=1, keepdims=True) == pytest.approx(
        expected - expected.mean(axis=1, keepdims=True), abs=1e-6
    )


@pytest.mark.parametrize("design", ["8-30 Hz", np.eye(3), {"order": 4}, []])
def test_what_is_no_design_is_refused(design):
    with pytest.raises(ConfigError, match="create_filter"):
        from_mne(design, 250.0)


def test_a_filter_belongs_to_its_rate():
    with pytest.raises(ConfigError, match="designed for"):
        from_mne(np.ones(5))
    with pytest.raises(ConfigError, match="designed for 500 Hz, stream 'amp' has 250 Hz"):
        from_mne(np.ones(5), 500.0).prepare(INFO)


@pytest.mark.parametrize("taps", [np.hanning(21), np.exp(-np.arange(60) / 7.0)])
def test_the_delay_of_a_fixed_filter_is_the_centre_of_its_energy(taps):
    block = FixedFilter(250.0, taps=taps)
    block.prepare(INFO)
    assert block.delay_s == pytest.approx((taps**2 @ np.arange(len(taps))) / (taps**2).sum() / 250.0)
    pole = FixedFilter(250.0, sos=[[1.0, 0.0, 0.0, 1.0, -0.8, 0.0]])  # answers a pulse with 0.8**n
    pole.prepare(INFO)
    assert pole.delay_s == pytest.approx(0.8**2 / (1 - 0.8**2) / 250.0, rel=1e-3)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({}, "got both or neither"),
        ({"sos": [[1, 0, 0, 1, 0, 0]], "taps": [1]}, "got both or neither"),
        ({"sos": [[1, 0, 0, 1, -2.1, 1.05]]}, "stable"),
        ({"sos": [1, 2, 3]}, "n_sections"),
        ({"taps": [1.0, np.nan]}, "finite"),
    ],
)
def test_a_fixed_filter_is_checked(settings, says):
    with pytest.raises(ConfigError, match=says):
        FixedFilter(250.0, **settings)


def test_places_leave_other_kinds_alone():
    info = StreamInfo("amp", 250.0, (Channel("Cz"), Channel("Fz", Kind.EOG)))
    out = Places({"cz": (0, 0, 0.1), "Fz": (0, 0.1, 0)}).prepare(info)
    assert [c.position for c in out.channels] == [(0.0, 0.0, 0.1), None]
    with pytest.raises(ConfigError, match="three finite"):
        Places({"Cz": (0, 0)})
