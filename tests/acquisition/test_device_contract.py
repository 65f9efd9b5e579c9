"""The contract of a device on those that are here, and on three that break it without `Driver`."""

import numpy as np
import pytest

from bci.acquisition.participant import Participant
from bci.acquisition.recorder.xdf_recorder import XdfRecorder
from bci.acquisition.replay import Replay
from bci.errors import DeviceError
from bci.stream import Channel, Chunk, StreamInfo
from bci.testing.contract import ContractError
from bci.testing.device import check_device

INFO = StreamInfo("own", 100.0, (Channel("Cz"),))


@pytest.mark.parametrize("speed", ["max", 1.0, 20.0])
def test_participant_keeps_the_contract(speed):
    check_device(lambda: Participant(speed=speed), seconds=0.5)


@pytest.mark.parametrize("speed", ["max", 1.0, 20.0])
def test_replay_keeps_the_contract(tmp_path, speed):
    path = tmp_path / "run.xdf"
    with XdfRecorder(path) as recorder:
        times = 3.0 + np.arange(300) / INFO.sfreq
        recorder.write(recorder.add_stream(INFO), Chunk(np.ones((300, 1)), times, 0, INFO))
    check_device(lambda: Replay(path, speed=speed), seconds=0.5)


def test_replay_that_ends_during_the_check_keeps_the_contract(tmp_path):
    path = tmp_path / "run.xdf"
    with XdfRecorder(path) as recorder:
        recorder.write(recorder.add_stream(INFO), Chunk(np.ones((20, 1)), np.arange(20) / INFO.sfreq, 0, INFO))
    check_device(lambda: Replay(path), seconds=0.5)


class Plain:
    """A device that does not use `Driver` and obeys the contract."""

    def __init__(self):
        self.state, self.number = "closed", 0

    def _need(self, state):
        if self.state != state:
            raise DeviceError(f"expected a device that is {state}, it is {self.state}; open() and start() it")

    def open(self):
        self._need("closed")
        self.state = "open"
        return INFO

    def start(self):
        self._need("open")
        self.state, self.number = "streaming", 0

    def read(self, timeout_s):
        self._need("streaming")
        numbers = np.arange(self.number, self.number + 10)
        self.number += 10
        return Chunk(numbers[:, None].astype(float), numbers / INFO.sfreq, int(numbers[0]), INFO)

    def stop(self):
        if self.state == "streaming":
            self.state = "open"

    def close(self):
        self.state = "closed"


class ReadsWhileClosed(Plain):
    def _need(self, state):
        return


class TimesStepBack(Plain):
    def read(self, timeout_s):
        chunk = super().read(timeout_s)
        return chunk.replace(times=chunk.times - 0.2 * (chunk.start // 50))


class LosesInSecret(Plain):
    def read(self, timeout_s):
        chunk = super().read(timeout_s)
        self.number += 3
        return chunk


def test_device_without_the_base_can_keep_the_contract():
    check_device(Plain, seconds=2.0)


@pytest.mark.parametrize(
    ("bad", "rule"),
    [(ReadsWhileClosed, "raises DeviceError"), (TimesStepBack, "times rise"), (LosesInSecret, "flagged GAP")],
)
def test_broken_device_is_caught_by_the_rule_it_breaks(bad, rule):
    with pytest.raises(ContractError, match=rule):
        check_device(bad, seconds=2.0)
