import numpy as np
import pytest

from bci.errors import ConfigError, DataError
from bci.signal.aligned import Aligner
from bci.signal.decimate import Decimate
from bci.signal.filters import Lowpass
from bci.stream import Channel, Chunk, Event, Flag, StreamInfo
from bci.trial import Locked, Slide

EEG = StreamInfo("eeg", 100.0, (Channel("C3"), Channel("C4")))
GAZE = StreamInfo("gaze", 40.0, (Channel("x", unit="deg", scale=0.5),))
INFOS = {"eeg": EEG, "gaze": GAZE}


def chunk(info, first, n, begin_s=0.0, flags=Flag.OK, events=()):
    numbers = np.arange(first, first + n)
    data = np.repeat(numbers[:, None], info.n_channels, axis=1)
    return Chunk(data, begin_s + numbers / info.sfreq, first, info, events, flags)


def test_window_holds_the_samples_whose_time_falls_into_it():
    aligner = Aligner(Slide(1.0, 0.5), INFOS, 0.0)
    aligner.push("eeg", chunk(EEG, 0, 160))
    aligner.push("gaze", chunk(GAZE, 0, 64, begin_s=0.01))
    window = aligner.due(0.0)[1]
    assert (window.start_s, window.stop_s, window.flags) == (0.5, 1.5, Flag.OK)
    assert window.streams["eeg"].numbers.tolist() == list(range(50, 150))
    gaze = window.streams["gaze"]
    assert gaze.numbers.tolist() == list(range(20, 60)) and (gaze.data[:, 0] == 0.5 * gaze.numbers).all()


def test_window_waits_for_a_late_stream_but_not_longer_than_allowed():
    aligner = Aligner(Slide(1.0, 1.0), INFOS, 0.0, late_s=0.3)
    aligner.push("eeg", chunk(EEG, 0, 200), 1.0)
    aligner.push("gaze", chunk(GAZE, 0, 20), 0.6)
    assert aligner.due(1.29) == []
    aligner.push("gaze", chunk(GAZE, 20, 4), 1.3)
    aligner.push("gaze", chunk(GAZE, 24, 30), 1.31)  # after the bound, though it is here when the window is cut
    (window,) = aligner.due(1.32)
    assert window.streams["eeg"].flags == Flag.OK
    assert window.streams["gaze"].numbers[-1] == 23 and window.streams["gaze"].flags == Flag.SILENT


def test_no_window_waits_for_a_stream_that_is_lost():
    aligner = Aligner(Slide(1.0, 1.0), INFOS, 0.0)
    aligner.push("eeg", chunk(EEG, 0, 101), 1.0)
    aligner.lose("gaze", 0.4)
    (window,) = aligner.due(1.0)
    assert len(window.streams["eeg"].times) == 100 and window.streams["gaze"].flags == Flag.SILENT
    assert window.streams["gaze"].data.shape == (0, 1)


def test_gap_inside_a_window_is_flagged_and_not_filled():
    aligner = Aligner(Slide(1.0, 1.0), {"eeg": EEG}, 0.0)
    aligner.push("eeg", chunk(EEG, 0, 30))
    aligner.push("eeg", chunk(EEG, 50, 60, flags=Flag.GAP))
    (window,) = aligner.due(0.0)
    assert window.flags == Flag.GAP and len(window.streams["eeg"].times) == 80
    stacked = window.stacked(100.0)
    assert np.isnan(stacked[0, 31:49]).all() and np.array_equal(stacked[0, 50:], np.arange(50, 100))


@pytest.mark.parametrize("window", [Slide(0.7, 0.3), Locked(-0.2, 0.4, ("go",))])
@pytest.mark.parametrize("seed", range(4))
def test_windows_do_not_depend_on_how_streams_are_cut_and_mixed(window, seed):
    def run(rng):
        blocks = {"eeg": [Lowpass(20.0), Decimate(2)]}
        aligner, found = Aligner(window, INFOS, 0.0, blocks=blocks), []
        left = {"eeg": (EEG, 0, 600), "gaze": (GAZE, 0, 240)}
        events = [Event(k, k / 100 + 0.003, "go") for k in (57, 58, 233, 410)]
        while left:
            name = rng.choice(sorted(left)) if rng is not None else next(iter(left))
            info, first, stop = left.pop(name)
            n = min(stop - first, stop if rng is None else int(rng.integers(1, 40)))
            mine = tuple(e for e in events if name == "eeg" and first <= e.sample < first + n)
            aligner.push(name, chunk(info, first, n, events=mine))
            if first + n < stop:
                left[name] = (info, first + n, stop)
            found += aligner.due(-np.inf)
        return [
            (w.start_s, n, s.data.tobytes(), s.times.tobytes(), s.flags) for w in found for n, s in w.streams.items()
        ]

    whole = run(None)
    assert len(whole) > 6 and run(np.random.default_rng(seed)) == whole


def test_event_of_any_stream_locks_a_window_in_all():
    aligner = Aligner(Locked(-0.1, 0.2, ("go",)), INFOS, 0.0)
    aligner.push("gaze", chunk(GAZE, 0, 60, events=(Event(30, 0.75, "go", "gaze"), Event(31, 0.76, "no", "gaze"))))
    aligner.push("eeg", chunk(EEG, 0, 120, events=(Event(75, 0.75 + 1e-9, "go", "gaze"),)))  # merged: the same one
    (window,) = aligner.due(0.0)
    assert window.event.code == "go" and window.streams["eeg"].numbers.tolist() == list(range(65, 95))


def test_event_that_comes_after_its_samples_were_forgotten_is_counted():
    aligner = Aligner(Locked(0.0, 0.2), {"eeg": EEG}, 0.0, history_s=1.0)
    aligner.push("eeg", chunk(EEG, 0, 500))
    aligner.due(0.0)
    aligner.push_events([Event(0, 1.0, "old"), Event(0, 4.2, "new")])
    assert [w.event.code for w in aligner.due(0.0)] == ["new"] and aligner.dropped == 1


def test_stacked_streams_share_one_rate():
    aligner = Aligner(Slide(1.0, 1.0), INFOS, 0.0)
    aligner.push("eeg", chunk(EEG, 0, 110))
    aligner.push("gaze", chunk(GAZE, 0, 50))
    (window,) = aligner.due(0.0)
    stacked = window.stacked(50.0)
    assert stacked.shape == (3, 50) and np.allclose(stacked[0], np.arange(0, 100, 2))
    assert np.allclose(stacked[2, :-1], 0.5 * 40 * np.arange(49) / 50)
    assert window.stacked(50.0, ("gaze",)).shape == (1, 50)
    with pytest.raises(DataError, match="gaze"):
        window.stacked(50.0, ("gase",))


def test_memory_is_bounded_by_what_windows_can_still_need():
    aligner = Aligner(Slide(1.0, 0.1), {"eeg": EEG}, 0.0)
    for first in range(0, 20_000, 10):
        aligner.push("eeg", chunk(EEG, first, 10))
        aligner.due(0.0)
    assert sum(c.n_samples for c, _ in aligner._tracks["eeg"]._kept) <= 120


@pytest.mark.parametrize("settings", [{"late_s": -1.0}, {"blocks": {"emg": []}}])
def test_settings_are_checked(settings):
    with pytest.raises(ConfigError):
        Aligner(Slide(1.0, 0.5), INFOS, 0.0, **settings)
