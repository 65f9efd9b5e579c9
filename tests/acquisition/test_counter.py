import numpy as np
import pytest

from bci.acquisition.counter import PackageCounter


def one_byte(numbers):
    return np.asarray(numbers, np.int64) % 256


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


@pytest.mark.parametrize("chunk", [1, 2, 3, 7, 400])
def test_counter_of_packages_of_two_samples_tells_nothing_where_nothing_is_lost(chunk):
    numbers = np.repeat(np.arange(1000), 2) % 201
    counter = PackageCounter()
    assert not any(counter.follow(numbers[k : k + chunk]) for k in range(0, len(numbers), chunk))
    assert counter.blind_to == 402


@pytest.mark.parametrize("per_package", [2, 5, 12])
def test_loss_of_whole_packages_is_told_in_samples(per_package):
    numbers = np.delete(np.repeat(np.arange(100), per_package), np.s_[80 * per_package : 83 * per_package])
    counter = PackageCounter()
    assert counter.follow(numbers) == [(80 * per_package, 3 * per_package)]


def test_counter_that_stands_still_or_jumps_about_is_not_believed():
    rng = np.random.default_rng(0)
    for counts in (np.zeros(500, np.int64), rng.integers(0, 256, 500)):
        counter = PackageCounter()
        assert counter.follow(counts) == [] and counter.blind_to == 0


def test_wide_counter_that_begins_again_tells_no_loss():
    counter = PackageCounter()
    counter.follow(np.arange(300, 1000))
    assert counter.follow(np.array([1000, 0, 1, 4])) == [(3, 2)]


def test_counter_of_two_bytes_tells_a_loss_across_its_end():
    counter = PackageCounter()
    counter.follow(np.arange(65_000, 65_530))
    assert counter.follow(np.array([65_530, 4])) == [(1, 9)] and counter.blind_to == 65_536


def test_skipped_samples_are_not_missed_but_those_before_them_are():
    counter = PackageCounter()
    counter.follow(one_byte(range(300)))
    counter.skip(500)
    assert counter.follow(one_byte(range(803, 810))) == [(0, 3)]


def test_repeated_count_is_said_since_it_may_be_almost_a_whole_turn():
    counter = PackageCounter()
    counter.follow(one_byte(range(300)))
    assert counter.follow(one_byte([299])) == [] and counter.repeated
    assert counter.follow(one_byte([300])) == [] and not counter.repeated


def test_restarted_counter_is_still_understood():
    counter = PackageCounter()
    counter.follow(one_byte(range(300)))
    counter.restart()
    assert counter.follow(one_byte([17, 18, 21])) == [(2, 2)]
