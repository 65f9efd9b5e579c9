import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("PySide6", reason="needs Qt: pip install 'bci[apps]'")
pytest.importorskip("pyqtgraph", reason="needs pyqtgraph: pip install 'bci[apps]'")
os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

from PySide6.QtCore import QEvent, Qt
from PySide6.QtGui import QImage, QKeyEvent
from PySide6.QtWidgets import QApplication

from bci.acquisition.recorder.xdf_recorder import XdfRecorder
from bci.apps import qt
from bci.apps.viewer import health, look
from bci.apps.viewer.envelope import extremes
from bci.apps.viewer.feed import Feed
from bci.apps.viewer.head import projected
from bci.apps.viewer.history import History
from bci.apps.viewer.model import Filters, Model
from bci.apps.viewer.process import view_device
from bci.apps.viewer.raster import Raster
from bci.apps.viewer.scope import Scope
from bci.apps.viewer.spectrum import Welch
from bci.apps.viewer.traces import TOP_PX
from bci.apps.viewer.watch import Watch
from bci.errors import ConfigError, DeviceLost, DeviceNotFound, PluginError
from bci.runtime.loop import Turn
from bci.signal.chain import Chain
from bci.signal.quality import QualityWatch
from bci.stream import Channel, Chunk, Event, Flag, Kind, StreamInfo

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("BCI_DATA", ROOT.parent / "shared" / "data"))
OFF = Filters(None, None, "none")


def stream(n_channels=2, sfreq=100.0, **kinds):
    return StreamInfo("test", sfreq, tuple(Channel(f"C{i}") for i in range(n_channels)))


def chunk(info, data, start=0, events=(), flags=Flag.OK):
    data = np.asarray(data, dtype=np.float64)
    return Chunk(data, (start + np.arange(len(data))) / info.sfreq, start, info, tuple(events), flags)


def feed_cut(model, data, info, cuts):
    for first, last in zip([0, *cuts], [*cuts, len(data)], strict=True):
        model.push(chunk(info, data[first:last], first))
        model.advance()


def columns(model):
    rows = np.arange(model.stop_column - model.n_columns, model.stop_column) % model.n_columns
    return model.low[rows], model.high[rows]


# ------------------------------------------------------------------ history
def test_history_keeps_the_newest_samples_by_number():
    history = History(1, 10)
    for start in range(0, 95, 7):
        history.append(start, np.arange(start, start + 7)[:, None])
    first, rows = history.view(88, 98)
    assert first == 88
    assert rows[:, 0].tolist() == list(range(88, 98))


def test_history_fills_what_was_skipped_with_nan():
    history = History(1, 10)
    history.append(0, np.zeros((2, 1)))
    history.append(5, np.ones((2, 1)))
    assert np.isnan(history.view(0, 7)[1][:, 0]).tolist() == [False, False, True, True, True, False, False]


def test_history_survives_a_gap_of_hours():
    history = History(1, 10)
    history.append(0, np.zeros((2, 1)))
    history.append(10**9, np.ones((3, 1)))
    assert history.stop == 10**9 + 3
    assert np.nansum(history.view(0, history.stop)[1]) == 3


# ------------------------------------------------------------------ columns
def test_a_spike_of_one_sample_is_never_skipped():
    info = stream(1, 1000.0)
    data = np.zeros((10000, 1))
    data[4321] = 77.0
    model = Model(info, OFF, 10.0, 100)
    feed_cut(model, data, info, range(33, 10000, 33))
    assert np.nanmax(columns(model)[1]) == 77.0


@pytest.mark.parametrize("per_column", [0.3, 1.0, 2.7, 10.0])
def test_columns_do_not_depend_on_how_samples_come_in(per_column):
    info, rng = stream(3), np.random.default_rng(0)
    data = rng.standard_normal((600, 3))
    n_columns = round(500 / per_column)
    whole, cut = (Model(info, OFF, 5.0, n_columns) for _ in range(2))
    feed_cut(whole, data, info, [])
    feed_cut(cut, data, info, np.unique(rng.integers(0, 600, 90)))
    assert whole.stop_column == cut.stop_column
    np.testing.assert_array_equal(columns(whole), columns(cut))


def test_neighbouring_columns_join():
    history = History(1, 1000)
    history.append(0, np.random.default_rng(0).standard_normal((500, 1)).cumsum(axis=0))
    low, high = extremes(history, 5, 100, 3.3)
    assert (low[1:] <= high[:-1] + 1e-12).all()
    assert (high[1:] >= low[:-1] - 1e-12).all()


def test_a_column_between_two_samples_holds_the_line():
    history = History(1, 100)
    history.append(0, np.array([[0.0], [10.0], [20.0]]))
    low, high = extremes(history, 2, 3, 0.2)
    assert low[0, 0] == pytest.approx(4.0)
    assert high[0, 0] == pytest.approx(6.0)


def test_a_gap_is_not_bridged_and_is_noted():
    info = stream(1)
    model = Model(info, OFF, 4.0, 200)
    model.push(chunk(info, np.zeros((200, 1))))
    model.push(chunk(info, np.full((100, 1), 5.0), 300, flags=Flag.GAP))
    model.advance()
    low, _ = columns(model)
    known = ~np.isnan(low[:, 0])
    first = int(model.column(200))
    assert not known[first + 1 : first + 49].any()
    assert known[first - 5 : first].all()
    assert [(g.first, g.after, g.cause) for g in model.gaps] == [(200, 300, "lost")]
    assert (model.n_lost, model.n_not_shown) == (100, 0)


def test_what_the_tap_dropped_is_told_apart_from_what_the_device_lost():
    info = stream(1)
    model = Model(info, OFF)
    model.push(chunk(info, np.zeros((10, 1))))
    model.push(chunk(info, np.zeros((10, 1)), 30))
    assert (model.n_lost, model.n_not_shown) == (0, 20)


def test_nan_in_one_channel_stays_there():
    info = stream(2)
    data = np.ones((400, 2))
    data[100:200, 0] = np.nan
    model = Model(info, OFF, 4.0, 40)
    model.push(chunk(info, data))
    model.advance()
    low, _ = columns(model)
    assert np.isnan(low[:, 0]).sum() >= 8
    assert not np.isnan(low[1:, 1]).any()


def test_an_event_is_at_the_column_of_its_sample():
    info = stream(1)
    data = np.zeros((1000, 1))
    data[700] = 1.0
    model = Model(info, OFF, 10.0, 500)
    model.push(chunk(info, data, events=[Event(700, 7.0, "left")]))
    model.advance()
    assert model.events[0].code == "left"
    assert columns(model)[1][int(model.column(700)), 0] == 1.0


def test_a_device_that_starts_anew_begins_a_new_picture():
    info = stream(1)
    model = Model(info, OFF, 1.0, 50)
    model.push(chunk(info, np.zeros((500, 1))))
    model.push(chunk(info, np.ones((200, 1))))
    model.advance()
    assert np.nanmin(columns(model)[0]) == 1.0
    assert not model.gaps


def test_empty_chunk_carries_its_event():
    info = stream(1)
    model = Model(info, OFF)
    model.push(chunk(info, np.zeros((10, 1))))
    model.push(Chunk.empty(info, 10, Flag.SILENT, (Event(4, 0.04, "late"),)))
    assert model.events[0].code == "late"
    assert model.flags is Flag.SILENT


# ------------------------------------------------------------------ filters
def test_filters_obey_the_law_through_the_model():
    info, rng = stream(3), np.random.default_rng(0)
    data = rng.standard_normal((700, 3)) * 50
    filters = Filters((1.0, 30.0), 25.0, "average")
    whole, cut = Model(info, filters), Model(info, filters)
    feed_cut(whole, data, info, [])
    feed_cut(cut, data, info, np.unique(rng.integers(0, 700, 90)))
    np.testing.assert_allclose(whole.shown.view(0, 700)[1], cut.shown.view(0, 700)[1], rtol=0, atol=1e-9)


def test_switched_filters_show_the_past_as_if_they_had_always_been_there():
    info, data = stream(3), np.random.default_rng(0).standard_normal((700, 3)) * 50
    filters = Filters((1.0, 30.0), 25.0, "average")
    model = Model(info, OFF)
    feed_cut(model, data[:500], info, [100, 130])
    model.set_filters(filters)
    model.push(chunk(info, data[500:], 500))
    expected = Chain(filters.blocks(info.sfreq)).run(data, info)
    np.testing.assert_allclose(model.shown.view(0, 700)[1], expected, rtol=0, atol=1e-9)


def test_switched_filters_settle_again_after_a_gap():
    info, data = stream(1), np.full((300, 1), 1000.0)
    live, switched = Model(info, Filters((1.0, 30.0), None)), Model(info, OFF)
    for model in (live, switched):
        model.push(chunk(info, data))
        model.push(chunk(info, data + 5000, 400, flags=Flag.GAP))  # no drift: a new level
    switched.set_filters(Filters((1.0, 30.0), None))
    np.testing.assert_allclose(switched.shown.view(0, 700)[1], live.shown.view(0, 700)[1], atol=1e-9)
    assert np.nanmax(np.abs(live.shown.view(400, 700)[1])) < 1.0


def test_a_band_beyond_half_the_rate_becomes_a_high_pass():
    model = Model(stream(1, 60.0), Filters((1.0, 40.0), 50.0))
    model.push(chunk(model.info, np.zeros((10, 1))))
    assert model.shown.stop == 10


@pytest.mark.parametrize("filters", [Filters((40.0, 1.0)), Filters((0.0, 1.0)), Filters(reference="Cz")])
def test_filters_that_cannot_be_change_nothing(filters):
    model = Model(stream(1), OFF)
    with pytest.raises(ConfigError):
        model.set_filters(filters)
    assert model.filters == OFF


# ------------------------------------------------------------------ spectrum, health
def test_spectrum_of_a_sine_has_its_power_in_its_bin():
    history, t = History(1, 5000), np.arange(5000) / 250
    history.append(0, (30 * np.sin(2 * np.pi * 10 * t) + 400)[:, None])
    welch = Welch(250.0)
    welch.update(history, 100)
    density = welch.density()[:, 0]
    assert welch.freqs_hz[density.argmax()] == 10.0
    # A sine of amplitude a has the power a^2 / 2, spread over three bins by the Hann window.
    assert density.sum() * welch.freqs_hz[1] == pytest.approx(30**2 / 2, rel=1e-6)


def test_spectrum_agrees_with_scipy():
    from scipy.signal import welch as reference

    x = np.random.default_rng(0).standard_normal((2000, 2))
    history, welch = History(2, 2000), Welch(250.0, n_average=7)
    history.append(0, x)
    welch.update(history, 100)
    freqs, expected = reference(x, 250.0, "hann", 500, 250, axis=0)
    np.testing.assert_allclose(welch.freqs_hz, freqs)
    np.testing.assert_allclose(welch.density(), expected, rtol=1e-9, atol=1e-12)


def test_spectrum_leaves_out_segments_with_a_gap():
    history, welch = History(1, 4000), Welch(250.0)
    history.append(0, np.sin(np.arange(1000))[:, None])
    history.append(1100, np.sin(np.arange(1100, 3000))[:, None])
    welch.update(history, 100)
    assert np.isfinite(welch.density()).all()


def watched(n_seconds=8):
    """A model of four channels: good, flat, clipped and jumping, and a trigger that stands still."""
    rng = np.random.default_rng(0)
    names = (Channel("Fz"), Channel("Cz"), Channel("Pz"), Channel("Oz"), Channel("STI", Kind.TRIG, ""))
    info = StreamInfo("t", 250.0, names)
    data = np.cumsum(rng.standard_normal((n_seconds * 250, 5)), axis=0)
    data = np.column_stack([data[:, :4] - data[:, :4].mean(axis=0) + rng.standard_normal((len(data), 4)), data[:, 4]])
    data[:, 1] = 3.0
    data[:, 2] = np.clip(20 * np.sin(2 * np.pi * 6.1 * np.arange(len(data)) / 250) + data[:, 2] / 10, -10.0, 10.0)
    data[-100:, 3] += 2000.0
    data[:, 4] = 0.0
    return info, data


def test_the_viewer_judges_channels_as_a_session_does():
    info, data = watched()
    model, watch = Model(info, OFF), QualityWatch(info)
    for first in range(0, len(data), 100):
        model.push(chunk(info, data[first : first + 100], first))
        watch.split(chunk(info, data[first : first + 100], first))
    assert [c.fault for c in model.quality.channels] == ["", "flat", "rail", "jump", ""]
    assert model.quality.channels == watch.quality.channels


def test_verdicts_are_shown_with_their_reasons():
    qt.application()
    info, data = watched()
    scope = Scope(info, OFF)
    scope.push([chunk(info, data)], 0.0)
    scope.tick(10.0)
    assert health.hint(scope.names.quality.channels[1]) == "Cz: bad, no change for 0.1 s"
    assert health.color(scope.names.quality.channels[3]) == look.ALARM
    assert scope.traces.color_of.tolist() == [look.EVEN, look.BAD, look.BAD, look.BAD, look.EVEN]
    assert "3 bad: Cz flat, Pz rail, Oz jump" in scope.status.text()


def test_raster_draws_each_column_once_and_parts_of_a_pixel_by_their_share():
    raster = Raster(10, 4, [(200, 100, 50)], (0, 0, 0))
    raster.draw(5, np.array([[2.0], [4.5]]), np.array([[4.0], [5.0]]), np.zeros(1, dtype=np.int64))
    assert (raster.pixels[:, 1] & 0xFF0000 > 0).nonzero()[0].tolist() == [2, 3]
    assert raster.pixels[2, 1] == 0xFF000000 | 200 << 16 | 100 << 8 | 50
    assert raster.pixels[4, 2] >> 16 & 0xFF == 100


# ------------------------------------------------------------------ window
def image_of(widget):
    image = widget.grab().toImage().convertToFormat(QImage.Format.Format_RGB888)
    rows = np.frombuffer(image.constBits(), np.uint8).reshape(image.height(), image.bytesPerLine())
    return rows[:, : 3 * image.width()].reshape(image.height(), image.width(), 3).astype(int)


def press(scope, key):
    QApplication.sendEvent(scope, QKeyEvent(QEvent.Type.KeyPress, key, Qt.KeyboardModifier.NoModifier))


def run(scope, data, start=0, flags=Flag.OK, events=()):
    scope.push([chunk(scope.model.info, data, start, events, flags)], start / scope.model.info.sfreq)
    scope.tick((start + len(data)) / scope.model.info.sfreq)
    qt.application().processEvents()


@pytest.fixture
def scope():
    qt.application()
    window = Scope(stream(64, 250.0), window_s=10.0, scale_uv=100.0)
    window.show()
    qt.application().processEvents()
    yield window
    window.close()
    window.deleteLater()


@pytest.fixture
def eeg():
    return np.random.default_rng(0).standard_normal((3000, 64)) * 20


def test_window_shows_a_line_in_every_lane(scope, eeg):
    run(scope, eeg)
    picture = image_of(scope._graphics)
    lane = scope.traces.lane_px()
    middle = picture[:, picture.shape[1] // 2 : picture.shape[1] // 2 + 100]
    for i in range(64):
        rows = middle[int(TOP_PX + i * lane) : int(TOP_PX + (i + 1) * lane)]
        assert rows.max() > 180, f"lane {i} is empty"


def test_window_shows_names_events_and_gaps(scope, eeg):
    run(scope, eeg[:1500], events=[Event(1000, 4.0, "left")])
    before = image_of(scope._graphics)
    run(scope, eeg[:500], 2000, Flag.GAP)
    picture = image_of(scope._graphics)
    red = (picture[..., 0] > picture[..., 2] + 30).sum(axis=0)
    lost = red > scope.traces.lane_px() * 60 * 0.9
    per_second = scope.traces.model.n_columns / 10.0
    assert lost.sum() == pytest.approx(2 * per_second, rel=0.05)
    green = (before[..., 1] > before[..., 0] + 40) & (before[..., 1] > before[..., 2] + 30)
    assert green.sum(axis=0).max() > 500
    names = before[:, : int(scope.names.size().width()) - 6]
    assert (names.max(axis=(1, 2)) > 150).sum() > 64 * 6


def test_window_keeps_up_with_resizing(scope, eeg):
    run(scope, eeg)
    for size in ((360, 240), (1600, 500), (900, 900)):
        scope.resize(*size)
        qt.application().processEvents()
        assert scope.model.n_columns == int(scope.traces.boundingRect().width())
        assert image_of(scope._graphics).max() > 200


@pytest.fixture
def mapped():
    """A window on three electrodes of a head, one of them without contact."""
    qt.application()
    channels = (Channel("C3"), Channel("Cz"), Channel("C4"), Channel("acc", Kind.ACCEL, "g"))
    window = Scope(StreamInfo("test", 250.0, channels), OFF, scale_uv=100.0)
    window.show()
    window.set_head(True)
    window.set_contacts({"C3": float("inf"), "Cz": 5.0, "C4": 20.0})
    window.tick(100.0)
    qt.application().processEvents()
    yield window
    window.close()
    window.deleteLater()


def test_head_shows_each_electrode_in_the_colour_of_its_contact(mapped):
    assert mapped.head.electrodes == [0, 1, 2]
    picture = image_of(mapped.head.widget).astype(int)
    middles = {}
    for color in (look.ALARM, look.EVENT, look.FAIR):
        wanted = np.array([int(color[k : k + 2], 16) for k in (1, 3, 5)])
        hit = (np.abs(picture[..., :3] - wanted).max(axis=2) < 12)[40:]  # below the title, which has them too
        assert hit.sum() > 300, color
        middles[color] = np.flatnonzero(hit.any(axis=0)).mean()
    assert middles[look.ALARM] < middles[look.EVENT] < middles[look.FAIR]  # left, middle, right


def test_names_make_room_for_contacts_and_verdicts_have_them(mapped):
    assert mapped.names.quality.channels[0].fault == "contact"
    wide = mapped.names.width()
    mapped.names.look_at(QualityWatch(mapped.model.info).quality)
    qt.application().processEvents()
    assert mapped.names.width() < wide
    assert health.hint(mapped.model.quality.channels[1], 5.0) == "Cz: good; contact 5.0 kOhm"


def test_head_is_switched_by_a_key(scope, eeg):
    run(scope, eeg)
    for is_shown in (True, False):
        press(scope, Qt.Key.Key_H)
        assert scope.head.widget.isVisible() is is_shown
    assert scope.head.electrodes == [1, 2, 3, 4, 5, 6]  # of the names C0 to C63 only these have a place


@pytest.mark.parametrize(
    ("name", "x", "y"), [("Cz", 0.0, 0.0), ("T7", -0.8, 0.0), ("Fpz", 0.0, 0.8), ("C3", -0.4, 0.0)]
)
def test_rings_of_the_head_stay_rings(name, x, y):
    assert projected(Channel(name)) == pytest.approx([x, y], abs=0.01)


def test_paused_picture_stands_still_while_samples_come(scope, eeg):
    run(scope, eeg[:1500])
    press(scope, Qt.Key.Key_Space)
    scope.tick(6.1)
    before = image_of(scope._graphics)
    run(scope, eeg[1500:], 1500)
    np.testing.assert_array_equal(image_of(scope._graphics), before)
    assert scope.model.shown.stop == 3000
    press(scope, Qt.Key.Key_Space)
    scope.tick(12.2)
    assert scope.model.stop_column >= 0.99 * 3000 / scope.model.samples_per_column


def test_keys_change_what_is_shown(scope, eeg):
    run(scope, eeg)
    press(scope, Qt.Key.Key_Up)
    press(scope, Qt.Key.Key_Right)
    press(scope, Qt.Key.Key_N)
    press(scope, Qt.Key.Key_R)
    press(scope, Qt.Key.Key_F)
    press(scope, Qt.Key.Key_S)
    assert (scope.scale_uv, scope.model.window_s) == (50.0, 20.0)
    assert scope.model.filters == Filters((1.0, 70.0), 60.0, "average")
    assert scope.is_spectrum_shown
    assert "1–70 Hz, notch 60 Hz, average reference" in (scope._write_status(12.0) or scope.status.text())


def test_a_clicked_channel_is_coloured_like_its_spectrum(scope, eeg):
    run(scope, eeg)
    scope.choose(7)
    assert scope.traces.color_of[7] == look.CHOSEN
    assert scope.is_spectrum_shown
    scope.choose(7)
    assert scope.chosen == []


def test_a_filter_that_does_not_fit_is_said_in_the_window(scope):
    scope.set_filters(Filters((40.0, 1.0)))
    assert "0 < LOW < HIGH" in scope._message.text()
    assert scope.model.filters == Filters()


def test_status_tells_loss_age_and_what_was_not_shown(scope, eeg):
    run(scope, eeg[:500])
    run(scope, eeg[:500], 600, Flag.GAP)
    run(scope, eeg[:500], 1200)
    scope._write_status(1700 / 250 + 0.3)
    text = scope.status.text()
    assert "lost 100" in text
    assert "not shown 100" in text
    assert "304 ms old" in text


def test_autoscale_fits_the_signals(scope, eeg):
    run(scope, eeg * 10)
    press(scope, Qt.Key.Key_A)
    assert 100 <= scope.scale_uv <= 500


def test_an_offset_without_filters_does_not_hide_the_line(scope, eeg):
    scope.set_filters(OFF)
    run(scope, eeg + 30_000)
    scope.tick(20.0)
    assert np.abs(scope.traces.centre - 30_000).max() < 10


def test_more_channels_than_a_page_are_turned_over(eeg):
    qt.application()
    window = Scope(stream(130, 250.0))
    assert len(window.traces.visible) == 64
    press(window, Qt.Key.Key_PageDown)
    press(window, Qt.Key.Key_PageDown)
    press(window, Qt.Key.Key_PageDown)
    assert window.traces.visible.tolist() == [128, 129]
    window.deleteLater()


# ------------------------------------------------------------------ processes
def wait_for(what, seconds=15.0):
    until = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < until, f"waited {seconds} s for it"
        time.sleep(0.02)


def is_running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    path, info = tmp_path_factory.mktemp("view") / "run.xdf", stream(8, 1000.0)
    data = np.random.default_rng(0).standard_normal((750, 8)).astype(np.float32) * 20
    recorder = XdfRecorder(path)
    recorder.open()
    number = recorder.add_stream(info)
    recorder.write(number, chunk(info, data[:300], 0, [Event(200, 0.2, "left")]))
    recorder.write(number, chunk(info, data[350:], 350, flags=Flag.GAP))
    recorder.close()
    return path


def test_view_shows_a_recording_and_ends_with_it(recording, tmp_path):
    picture = tmp_path / "view.png"
    command = [sys.executable, "-m", "bci.apps.cli", "view", "--device", f"replay:{recording}"]
    done = subprocess.run(
        [*command, "--seconds", "20", "--screenshot", str(picture), "--window-s", "4", "--spectrum"],
        capture_output=True, text=True, cwd=ROOT, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert QImage(str(picture)).width() == 1280
    assert "Traceback" not in done.stderr


def test_feed_delivers_every_sample_in_order_and_counts(recording):
    with Feed(f"replay:{recording}") as feed:
        feed.start()
        info = feed.open()
        chunks = []
        wait_for(lambda: chunks.extend(feed.read()) or feed.is_over)
    got = [c for c in chunks if c.n_samples]
    numbers = np.concatenate([np.arange(c.start, c.stop) for c in got])
    assert numbers.tolist() == [*range(300), *range(350, 750)]
    assert info.n_channels == 8
    assert (feed.delivered, feed.lost, feed.error) == (700, 50, None)
    assert [e.code for c in chunks for e in c.events] == ["left"]


def test_acquisition_goes_on_while_the_window_hangs():
    with Feed("participant,chunk_s=0.02") as feed:
        feed.start()
        feed.open()
        wait_for(lambda: any(c.n_samples for c in feed.read()))
        time.sleep(2.2)
        feed.read()
        assert feed.delivered > 200
        assert feed.lost == 0


@pytest.mark.parametrize(
    ("device", "error", "says"),
    [
        ("replay:none.edf", DeviceNotFound, "there is no such file"),
        ("nothing", PluginError, "known are"),
        ("tap:unix:/nowhere#" + "0" * 32, DeviceNotFound, "no session listens"),
    ],
)
def test_a_device_that_cannot_be_opened_is_said(device, error, says):
    with pytest.raises(error, match=says):
        view_device(device, seconds=1.0, notch_hz=None, band=None)


def test_a_device_that_is_lost_is_said():
    with pytest.raises(DeviceLost, match="disconnect"):
        view_device("participant", seconds=30.0, settings={"disconnect_at_s": 0.2})


@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc")
def test_acquisition_that_is_killed_is_told():
    with Feed("participant") as feed:
        feed.start()
        feed.open()
        os.kill(feed._process.pid, signal.SIGKILL)
        wait_for(lambda: feed.read() is not None and feed.is_over)
        assert isinstance(feed.error, DeviceLost)
        assert "signal 9" in str(feed.error)


@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_acquisition_ends_with_its_window(how):
    command = [sys.executable, "-m", "bci.apps.cli", "view", "--seconds", "60"]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as window:
        children = Path(f"/proc/{window.pid}/task/{window.pid}/children")
        wait_for(lambda: children.read_text().split())
        child = int(children.read_text().split()[0])
        time.sleep(1.0)
        window.send_signal(how)
        said = window.communicate(timeout=20)[1]
    assert "Traceback" not in said
    wait_for(lambda: not is_running(child), 8.0)


def test_a_session_is_watched_from_another_process():
    watch, info = Watch(window=False), stream(2)
    watch(Turn(chunk(info, np.zeros((10, 2))), []))
    with Feed(f"tap:{watch.address}") as feed:
        from threading import Thread

        opened = Thread(target=feed.open)
        opened.start()
        until = time.monotonic() + 5
        while opened.is_alive() and time.monotonic() < until:
            watch(Turn(Chunk.empty(info, 10), []))
        opened.join()
        watch(Turn(chunk(info, np.ones((10, 2)), 10), []))
        got = []
        wait_for(lambda: got.extend(feed.read()) or got)
        assert got[0].start == 10
        watch.close()
        wait_for(lambda: feed.read() is not None and feed.is_over)


def test_contacts_that_a_session_measures_are_told_to_who_watches():
    info, watch = stream(2), Watch(window=False)
    judge = QualityWatch(info)
    watch(Turn(chunk(info, np.zeros((10, 2))), [], quality=judge.quality))
    reader = Feed(f"tap:{watch.address}")
    with reader, ThreadPoolExecutor(1) as pool:
        opened = pool.submit(reader.open)
        while not opened.done():
            watch(Turn(Chunk.empty(info, 10), [], quality=judge.quality))
        assert reader.contact_kohm == {}
        judge.set_contact({"C0": 5.0, "C1": float("inf")})
        watch(Turn(chunk(info, np.ones((10, 2)), 10), [], quality=judge.quality))
        wait_for(lambda: reader.read() is not None and reader.contact_kohm)
        assert reader.contact_kohm == {"C0": 5.0, "C1": float("inf")}
    watch.close()


def test_device_is_asked_for_contacts_before_it_streams():
    with Feed('participant,impedance_kohm={"Cz": 900}', impedance=True) as feed:
        feed.start()
        info = feed.open()
        assert 800 < feed.contact_kohm["Cz"] < 1000
        assert {c.name: c.fault for c in QualityWatch(info).quality.channels}["Cz"] == "contact"


@pytest.mark.parametrize(("device", "says"), [("brainflow:synthetic", "no board of BrainFlow"), ("tap:x", "itself")])
def test_contacts_that_cannot_be_measured_are_said(device, says):
    with pytest.raises(ConfigError, match=says):
        view_device(device, seconds=1.0, impedance=True)


def test_a_view_without_display_needs_an_end():
    with pytest.raises(ConfigError, match="--seconds"):
        view_device("participant")


def test_real_eeg_is_shown_with_its_montage(tmp_path):
    path = DATA / "eegmmidb" / "S001" / "S001R04.edf"
    if not path.exists():
        pytest.skip("needs the eegmmidb recordings (BCI_DATA)")
    picture = tmp_path / "real.png"
    view_device(f"replay:{path}", seconds=0.7, screenshot=picture)
    assert picture.stat().st_size > 50_000
