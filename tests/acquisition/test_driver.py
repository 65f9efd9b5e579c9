import json
import logging

import numpy as np
import pytest

from bci.acquisition.driver import Driver, Samples, State
from bci.acquisition.tally import DETAILS, OTHER_CAUSES
from bci.clock import ManualClock
from bci.errors import ConfigError, DeviceError, DeviceNotFound
from bci.ports import AcceptsMarkers, Device
from bci.stream import Channel, Flag, StreamInfo
from bci.testing.contract import ContractError
from bci.testing.device import check_device

SFREQ = 100.0


class Scripted(Driver):
    """Plays a list of reads: Samples, or seconds of silence. Channel 0 holds the true sample number."""

    def __init__(self, *script, **settings):
        super().__init__(clock=ManualClock(), **settings)
        self.script, self.calls, self.number = list(script), [], 0

    def run(self, n, lost=0, shift_s=0.0, **more):
        self.number += lost
        numbers = np.arange(self.number, self.number + n)
        self.number += n
        return Samples(numbers[:, None].astype(float), numbers / SFREQ + shift_s, lost, **more)

    def _open(self):
        self.calls.append("open")
        return StreamInfo("scripted", SFREQ, (Channel("Cz"),))

    def _start(self):
        self.calls.append("start")

    def _read(self, timeout_s):
        step = self.script.pop(0) if self.script else 10
        if isinstance(step, float):
            self._clock.advance(min(step, timeout_s))
            return None
        got = self.run(step) if isinstance(step, int) else self.run(**step)
        self._clock.advance_to(self.number / SFREQ)
        return got

    def _stop(self):
        self.calls.append("stop")

    def _close(self):
        self.calls.append("close")


def read_all(device, n):
    return [device.read(1.0) for _ in range(n)]


def test_driver_is_a_device_that_accepts_markers():
    assert isinstance(Scripted(), Device) and isinstance(Scripted(), AcceptsMarkers)


def test_samples_are_numbered_through():
    with Scripted(3, 1, 7) as device:
        chunks = read_all(device, 3)
    assert [(c.start, c.n_samples) for c in chunks] == [(0, 3), (3, 1), (4, 7)]


def test_loss_is_a_jump_a_flag_a_count_and_a_line_of_the_report():
    with Scripted(10, {"n": 5, "lost": 4, "cause": "the radio"}) as device:
        first, second = read_all(device, 2)
        report = device.report()
    assert not first.flags and second.flags == Flag.GAP
    assert second.start == 14 and second.data[0, 0] == 14
    assert device.n_lost == 4 and device.n_delivered == 15
    assert report["gaps"] == [{"sample": 14, "time": 0.14, "lost": 4, "cause": "the radio"}]
    json.dumps(report)


def test_loss_without_samples_is_counted_before_the_next_ones():
    with Scripted(10, {"n": 0, "lost": 3}, 2) as device:
        chunks = read_all(device, 3)
    assert [(c.start, c.flags) for c in chunks] == [(0, Flag.OK), (10, Flag.OK), (13, Flag.GAP)]


def test_nan_is_flagged_and_infinity_is_not():
    class Odd(Scripted):
        def _read(self, timeout_s):
            got = super()._read(timeout_s)
            got.data[0, 0] = self.odd
            return got

    with Odd() as device:
        device.odd = np.nan
        assert device.read(1.0).flags == Flag.NAN
        device.odd = np.inf
        assert device.read(1.0).flags == Flag.OK


def test_event_goes_to_the_first_sample_at_or_after_it():
    with Scripted(10, 10) as device:
        device.mark("exact", 0.05)
        device.mark("between", 0.051)
        device.mark("next chunk", 0.0951)
        first, second = read_all(device, 2)
    assert [(e.sample, e.code) for e in first.events] == [(5, "exact"), (6, "between")]
    assert [(e.sample, e.code, e.time) for e in second.events] == [(10, "next chunk", 0.0951)]


def test_late_event_keeps_its_true_number_across_a_gap():
    with Scripted(10, {"n": 10, "lost": 20}, 10) as device:
        read_all(device, 2)
        device.mark("late", 0.071)
        device.mark("in the gap", 0.2)
        chunk = device.read(1.0)
    assert [(e.sample, e.code) for e in chunk.events] == [(8, "late"), (30, "in the gap")]


def test_events_come_in_order_of_samples_and_then_of_arrival():
    with Scripted(10) as device:
        for code, time_s in (("c", 0.05), ("a", 0.02), ("b", 0.02)):
            device.mark(code, time_s)
        assert [e.code for e in device.read(1.0).events] == ["a", "b", "c"]


def test_events_of_the_source_lie_at_their_row():
    with Scripted({"n": 10, "events": ((0, "first"), (9, "last"))}) as device:
        events = device.read(1.0).events
    assert [(e.sample, e.time, e.code) for e in events] == [(0, 0.0, "first"), (9, 0.09, "last")]


def test_silence_is_said_at_its_deadline_once_and_is_over_with_data(caplog):
    with caplog.at_level(logging.WARNING), Scripted(10, 9.0, 9.0, 9.0, {"n": 5, "lost": 30}, 5) as device:
        device.read(1.0)
        begin = device.clock.now()
        silent = device.read(1.0)
        assert silent.flags == Flag.SILENT and silent.n_samples == 0
        assert device.clock.now() - begin == pytest.approx(0.22)  # not the whole second
        assert device.read(0.1).flags == Flag.SILENT
        assert device.read(0.1).flags == Flag.SILENT
        assert device.read(1.0).flags == Flag.GAP
        assert device.read(1.0).flags == Flag.OK
        assert len(device.report()["silences"]) == 1
        assert device.report()["silences"][0]["duration"] == pytest.approx(0.42)
    assert sum("has delivered nothing" in r.message for r in caplog.records) == 1
    assert sum("is back" in r.message for r in caplog.records) == 1


def test_a_clock_that_steps_back_is_flagged_and_events_go_on():
    with Scripted(10, {"n": 10, "shift_s": -5.0}) as device:
        device.read(1.0)
        device.mark("cue", -4.85)
        chunk = device.read(1.0)
    assert chunk.flags == Flag.CLOCK_JUMP
    assert [(e.sample, e.code) for e in chunk.events] == [(15, "cue")]


def test_an_empty_read_before_the_deadline_is_not_silence():
    with Scripted(10, 0.1) as device:
        device.read(1.0)
        assert device.read(0.1).flags == Flag.OK


def test_old_samples_are_flagged_stale():
    with Scripted(10, 10, max_age_s=0.5) as device:
        assert device.read(1.0).flags == Flag.OK
        device._clock.advance(1.0)
        assert device.read(1.0).flags == Flag.STALE


@pytest.mark.parametrize("verb", ["start", "stop", "read", "mark"])
def test_closed_device_refuses(verb):
    device = Scripted()
    arguments = {"read": (0.1,), "mark": ("a", 0.0)}.get(verb, ())
    with pytest.raises(DeviceError, match="is closed"):
        getattr(device, verb)(*arguments)


def test_ladder_refuses_steps_out_of_order():
    device = Scripted()
    device.open()
    with pytest.raises(DeviceError, match="close"):
        device.open()
    with pytest.raises(DeviceError, match="start"):
        device.read(0.1)
    device.start()
    with pytest.raises(DeviceError, match="stop"):
        device.start()
    device.stop()
    device.stop()
    device.close()
    assert device.calls == ["open", "start", "stop", "close"] and device.state is State.CLOSED


def test_with_opens_starts_stops_and_closes():
    with Scripted() as device:
        assert device.state is State.STREAMING
    assert device.calls == ["open", "start", "stop", "close"]


def test_close_swallows_and_logs_what_the_device_raises(caplog):
    class Stuck(Scripted):
        def _stop(self):
            raise OSError("stuck")

        _close = _stop

    device = Stuck()
    device.open()
    device.start()
    device.close()
    device.close()
    assert device.state is State.CLOSED and "failed while it was released" in caplog.text


def test_failed_open_releases_and_can_be_tried_again():
    class Shy(Scripted):
        def _open(self):
            info = super()._open()
            if self.calls.count("open") == 1:
                raise DeviceNotFound("not yet")
            return info

    device = Shy()
    with pytest.raises(DeviceNotFound):
        device.open()
    assert device.calls == ["open", "close"]
    device.open()


def test_numbers_begin_again_at_start():
    device = Scripted()
    device.open()
    device.start()
    device.read(1.0)
    device.stop()
    device.start()
    assert device.read(1.0).start == 0


@pytest.mark.parametrize("value", [0.0, -1, float("nan"), "x", None, True])
@pytest.mark.parametrize("setting", ["silence_s", "max_age_s"])
def test_durations_are_numbers_above_0(setting, value):
    with pytest.raises(ConfigError, match=f"are numbers above 0, in s, got {setting} = {value!r}; correct it"):
        Scripted(**{setting: value})


class Good(Scripted):
    """Obeys the contract; the bad ones below each break one rule."""


class StepsBack(Good):
    def _read(self, timeout_s):
        got = super()._read(timeout_s)
        return Samples(got.data, got.times[0] * 0 + np.arange(len(got.times)) / SFREQ)


class HidesLoss(Good):
    def read(self, timeout_s):
        chunk = super().read(timeout_s)
        return chunk.replace(start=chunk.start + 5) if chunk.start else chunk


class Overlaps(Good):
    def read(self, timeout_s):
        chunk = super().read(timeout_s)
        return chunk.replace(start=max(0, chunk.start - 1))


class DropsMarks(Good):
    def mark(self, code, time_s, source=""):
        return


class DoublesMarks(Good):
    def mark(self, code, time_s, source=""):
        super().mark(code, time_s)
        super().mark(code, time_s)


class ReusesItsBuffer(Good):
    buffer = np.zeros((10, 1))

    def _read(self, timeout_s):
        got = super()._read(timeout_s)
        self.buffer[:] = got.data
        return Samples(self.buffer, got.times)


class ForgetsItsPlace(Good):
    def close(self):
        if self.state is State.CLOSED:
            raise DeviceError("closed already")
        super().close()


class StartsTwice(Good):
    def start(self):
        self.stop()
        super().start()


class Hurries(Good):
    def run(self, n, lost=0, shift_s=0.0, **more):
        got = super().run(n, lost, **more)
        return Samples(got.data, got.times * 3)


class RaisesItsOwn(Good):
    def read(self, timeout_s):
        if self.state is not State.STREAMING:
            raise KeyError("info")
        return super().read(timeout_s)


class Narrow(Good):
    def read(self, timeout_s):
        chunk = super().read(timeout_s)
        return chunk.replace(info=StreamInfo("other", SFREQ, (Channel("Cz"),)))


def test_checker_passes_a_good_device():
    check_device(Good)


@pytest.mark.parametrize(
    ("bad", "rule"),
    [
        (StepsBack, "times rise"),
        (HidesLoss, "flagged GAP"),
        (Overlaps, "never step back"),
        (DropsMarks, "delivered once"),
        (DoublesMarks, "delivered once"),
        (ReusesItsBuffer, "never changes"),
        (ForgetsItsPlace, "never raises"),
        (StartsTwice, "start"),
        (Hurries, "span"),
        (RaisesItsOwn, "raises DeviceError"),
        (Narrow, "carries the StreamInfo"),
    ],
)
def test_checker_catches(bad, rule):
    with pytest.raises(ContractError, match=rule):
        check_device(bad)


def test_a_report_counts_every_gap_and_keeps_the_last_in_detail():
    n = DETAILS + 200
    script = [{"n": 2, "lost": 1, "cause": "radio" if k % 2 else "cable"} for k in range(n)]
    with Scripted(2, *script) as device:
        read_all(device, n + 1)
        report = device.report()
    assert report["lost"] == report["n_gaps"] == n and len(report["gaps"]) == DETAILS
    assert report["gaps"][-1]["sample"] == 2 + 3 * n - 2
    assert report["causes"] == {c: {"gaps": n // 2, "lost": n // 2} for c in ("cable", "radio")}


def test_causes_without_end_are_still_counted():
    script = [{"n": 1, "lost": 1, "cause": f"error {k}"} for k in range(DETAILS + 5)]
    with Scripted(*script) as device:
        read_all(device, len(script))
        causes = device.report()["causes"]
    assert causes[OTHER_CAUSES] == {"gaps": 5, "lost": 5} and len(causes) == DETAILS + 1
