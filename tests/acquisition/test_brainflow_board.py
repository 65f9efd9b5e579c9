import numpy as np
import pytest

from bci.acquisition.brainflow_board import BrainFlowBoard, PackageCounter, board_names
from bci.clock import ManualClock
from bci.errors import ConfigError, DeviceNotFound
from bci.stream import Channel, Flag, Kind, StreamInfo
from bci.testing.device import check_device

pytest.importorskip("brainflow")


def one_byte(numbers):
    return np.asarray(numbers, np.int64) % 256


def test_synthetic_board_keeps_the_contract_of_a_device():
    check_device(BrainFlowBoard, seconds=0.5)


def test_synthetic_board_delivers_named_channels_at_rising_times_without_loss():
    with BrainFlowBoard() as board:
        chunks = [c for c in (board.read(0.5) for _ in range(60)) if c.n_samples]
        assert board.n_lost == 0
        assert board.info.ch_names[:3] == ["Fz", "C3", "Cz"] and board.info.channels[0].unit == "uV"
        assert {c.kind for c in board.info.channels} == {Kind.EEG, Kind.ACCEL}
    times = np.concatenate([c.times for c in chunks])
    assert [c.start for c in chunks[1:]] == [c.stop for c in chunks[:-1]]
    assert (np.diff(times) > 0).all() and len(times) > 50


def test_samples_are_stamped_on_the_session_clock_not_after_it():
    with BrainFlowBoard() as board:
        newest = [float(c.times[-1]) - board.clock.now() for c in (board.read(0.5) for _ in range(40)) if c.n_samples]
    assert max(newest) < 0.1 and min(newest) > -2.0


def test_unknown_board_names_the_nearest():
    with pytest.raises(ConfigError, match="did you mean synthetic"):
        BrainFlowBoard("synthetik")


def test_unknown_number_is_refused():
    with pytest.raises(ConfigError, match="number of a BrainFlow board"):
        BrainFlowBoard(99999)


def test_board_names_can_be_opened_by_name():
    names = board_names()
    assert {"synthetic", "cyton"} <= set(names) and names == [n.lower() for n in names]
    BrainFlowBoard("Synthetic_Board")


def test_board_that_does_not_answer_is_not_found():
    board = BrainFlowBoard("cyton", serial_port="/dev/there-is-no-such-port")
    with pytest.raises(DeviceNotFound, match="there-is-no-such-port"):
        board.open()
    board.close()


def test_counter_that_wraps_tells_no_loss():
    counter = PackageCounter()
    assert [counter.follow(one_byte(range(k, k + 7))) for k in range(0, 700, 7)] == [[]] * 100


def test_counter_tells_each_loss_at_its_row():
    counter = PackageCounter()
    counter.follow(one_byte(range(250)))
    assert counter.follow(one_byte([250, 251, 260, 261, 265])) == [(2, 8), (4, 3)]
    assert counter.follow(one_byte([266 + 10])) == [(0, 10)]


def test_counter_of_every_second_number_is_learnt():
    counter = PackageCounter()
    for k in range(0, 200, 2):
        counter.follow(one_byte([k]))
    assert counter.follow(one_byte([200, 202, 208])) == [(2, 2)]


@pytest.mark.parametrize("chunk", [1, 2, 3])
def test_counter_of_packages_of_two_samples_is_not_believed(chunk):
    numbers = np.repeat(np.arange(400), 2) % 201
    counter = PackageCounter()
    found = [counter.follow(numbers[k : k + chunk]) for k in range(0, len(numbers), chunk)]
    assert not any(found)


def test_wide_counter_that_begins_again_tells_no_loss():
    counter = PackageCounter()
    counter.follow(np.arange(300, 1000))
    assert counter.follow(np.array([1000, 0, 1, 4])) == [(3, 2)]


class Fed(BrainFlowBoard):
    """Arithmetic of a board without its hardware: what was pulled is given by hand."""

    def __init__(self):
        super().__init__(clock=ManualClock(10.0))
        self._info = StreamInfo("fed", 100.0, (Channel("Cz"),))
        self._last_s = float("nan")


def test_times_rise_and_follow_when_arrivals_jitter():
    board, rng = Fed(), np.random.default_rng(0)
    times, sampled_s = [], 10.0
    for _ in range(1000):
        sampled_s += 0.05
        board._clock.advance_to(sampled_s + rng.uniform(0, 0.02))
        got, flag = board._times(5, [])
        assert flag == Flag.OK
        times += got.tolist()
    assert (np.diff(times) > 0).all()
    assert np.abs(np.diff(times)[1000:] - 0.01).max() < 1e-3
    assert -0.001 < times[-1] - sampled_s < 0.02


def test_a_late_first_arrival_is_caught_up_with():
    board = Fed()
    board._clock.advance(0.3)
    for k in range(1, 1500):
        board._times(1, [])
        board._clock.advance_to(10.3 if k < 31 else 10.0 + 0.01 * k)
    assert abs(board._last_s - board._clock.now()) < 0.02


def test_lost_samples_leave_a_hole_in_the_times():
    board = Fed()
    board._times(5, [])
    board._clock.advance(0.08)
    times, _ = board._times(5, [(2, 3)])
    assert np.diff(times) == pytest.approx([0.01, 0.04, 0.01, 0.01])


def test_time_that_was_lost_unseen_is_flagged():
    board = Fed()
    board._times(5, [])
    board._clock.advance(3.0)
    times, flag = board._times(5, [])
    assert flag == Flag.CLOCK_JUMP and times[-1] == pytest.approx(13.0)
