"""Several presets of one board at once, with BrainFlow's synthetic board."""

import logging
import os
import signal
import time

import numpy as np
import pytest

from bci.acquisition.boards import PRESETS, brainflow, describe
from bci.acquisition.brainflow_board import BrainFlowBoard
from bci.acquisition.driver import Driver, Samples
from bci.acquisition.recorder.xdf_recorder import XdfRecorder
from bci.acquisition.rig import Rig
from bci.acquisition.rig_main import MainStream
from bci.acquisition.rig_replay import RigReplay
from bci.acquisition.rig_source import Health
from bci.clock import ManualClock
from bci.errors import DeviceError
from bci.ports import SharesSource
from bci.registry import create
from bci.stream import Channel, Kind, StreamInfo

pytest.importorskip("brainflow")

STREAMS = {name: f"brainflow:synthetic,preset={name}" for name in ("default", "auxiliary")}


def gathered(rig, seconds):
    """Read a rig; return the samples of each stream, and the times."""
    chunks, end_s = {name: [] for name in rig.names}, time.monotonic() + seconds
    while time.monotonic() < end_s:
        for arrival in rig.read(0.05):
            if arrival.chunk is not None and arrival.chunk.n_samples:
                chunks[arrival.name].append(arrival.chunk)
    return chunks


def processes(rig):
    return {rig.reader(name).device._process.pid for name in rig.names}


def test_presets_of_one_board_are_streams_of_a_rig_with_one_process():
    with Rig(STREAMS) as rig:
        assert len(processes(rig)) == 1
        chunks = gathered(rig, 1.0)
        reports = {name: found["device"] for name, found in rig.report().items()}
    for name, of_one in chunks.items():
        times = np.concatenate([c.times for c in of_one])
        assert [c.start for c in of_one] == [0, *(c.stop for c in of_one[:-1])]
        assert (np.diff(times) > 0).all() and len(times) > 0.5 * rig.infos[name].sfreq
        assert reports[name]["lost"] == 0 and reports[name]["delivered"] == len(times)
    assert rig.infos["default"].n_channels != rig.infos["auxiliary"].n_channels
    assert Kind.EEG not in {c.kind for c in rig.infos["auxiliary"].channels}


def recorded(folder, preset, first):
    """Write 400 samples of a preset of the synthetic board; its first channel counts from `first`."""
    (shim,) = brainflow("BoardShim")
    found = shim.get_board_descr(-1, PRESETS[preset])
    rows = np.zeros((400, found["num_rows"]))
    rows[:, found["package_num_channel"]] = np.arange(400) % 256
    rows[:, found["timestamp_channel"]] = 1.7e9 + np.arange(400) / found["sampling_rate"]
    rows[:, describe("synthetic", preset).rows[0]] = first + np.arange(400)
    path = folder / f"{preset}.csv"
    np.savetxt(path, rows, fmt="%.6f", delimiter="\t")
    return str(path)


def test_each_stream_has_the_samples_of_its_preset(tmp_path):
    files = {"file": recorded(tmp_path, "default", 0), "file_aux": recorded(tmp_path, "auxiliary", 5000)}
    made = {p: BrainFlowBoard("playback_file", preset=p, master_board="synthetic", **files) for p in STREAMS}
    with Rig(made) as rig:
        chunks = gathered(rig, 0.8)
        assert len(processes(rig)) == 1
    for preset, first in (("default", 0), ("auxiliary", 5000)):
        column = np.concatenate([c.data[:, 0] for c in chunks[preset]])
        assert len(column) > 30 and np.array_equal(column, column[0] + np.arange(len(column)))
        assert first <= column[0] and column[-1] < first + 400


def test_board_is_released_with_its_last_stream():
    eeg, imu = BrainFlowBoard(), BrainFlowBoard(preset="auxiliary")
    assert isinstance(eeg, SharesSource) and imu.share(eeg)
    eeg.open()
    imu.open()
    process = eeg._process
    eeg.start()
    imu.start()
    eeg.close()
    assert process.is_alive and next(c for c in iter(lambda: imu.read(0.5), None) if c.n_samples).start == 0
    imu.close()
    assert not process.is_alive


def test_stream_that_starts_again_counts_from_0_and_the_other_runs_on():
    eeg, imu = BrainFlowBoard(), BrainFlowBoard(preset="auxiliary")
    imu.share(eeg)
    with eeg, imu:
        first = next(c for c in iter(lambda: imu.read(0.5), None) if c.n_samples)
        imu.stop()
        time.sleep(0.1)
        imu.start()
        again = next(c for c in iter(lambda: imu.read(0.5), None) if c.n_samples)
        assert again.start == 0 and again.times[0] > first.times[-1] + 0.09
        time.sleep(0.1)
        assert eeg.read(0.5).start == 0 and eeg.n_lost == 0


def test_only_another_preset_of_the_same_board_is_shared():
    eeg = BrainFlowBoard()
    assert not BrainFlowBoard().share(eeg) and not eeg.share(eeg) and not eeg.share(object())
    assert not BrainFlowBoard("muse_2", preset="auxiliary").share(eeg)
    muse = BrainFlowBoard("muse_2", mac_address="F4:0E:11:75:76:78")
    assert not BrainFlowBoard("muse_2", preset="auxiliary").share(muse)
    for preset in ("auxiliary", "ancillary"):
        assert BrainFlowBoard("muse_2", preset=preset, mac_address="F4:0E:11:75:76:78").share(muse)
    with eeg, pytest.raises(DeviceError, match=r"share it before it is opened, it is open; close\(\) it first"):
        BrainFlowBoard(preset="auxiliary").share(eeg)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs signals")
def test_streams_of_a_board_whose_process_dies_come_back_with_one_new_process():
    with Rig(STREAMS, retry_s=0.1) as rig:
        gathered(rig, 0.4)
        (before,) = processes(rig)
        os.kill(before, signal.SIGKILL)
        end_s = time.monotonic() + 20.0
        back, lost = set(), set()
        while back != set(rig.names) and time.monotonic() < end_s:
            for arrival in rig.read(0.05):
                if arrival.status is not None and arrival.status.health is Health.LOST:
                    lost.add(arrival.name)
                elif arrival.name in lost and arrival.chunk is not None and arrival.chunk.n_samples:
                    assert arrival.name in back or arrival.chunk.start > 0
                    back.add(arrival.name)
        assert back == lost == set(rig.names)
        assert len(processes(rig)) == 1 and before not in processes(rig)


def test_presets_are_recorded_beside_the_main_one(tmp_path):
    spec = 'rig,streams={"eeg": "brainflow:synthetic", "imu": "brainflow:synthetic,preset=auxiliary"},main=eeg'
    device = create("devices", spec)
    assert isinstance(device, MainStream)
    path = tmp_path / "run.xdf"
    with XdfRecorder(path) as recorder:
        handle = recorder.add_stream(device.open())
        device.record_beside(recorder)
        device.start()
        end_s = time.monotonic() + 0.8
        while time.monotonic() < end_s:
            recorder.write(handle, device.read(0.1))
        device.close()
    with RigReplay(path) as rig:
        assert set(rig.names) == {"eeg", "imu"}
        while not rig.at_end:
            rig.read(0.5)
        report = rig.report()
    assert {name: report[name]["lost"] for name in rig.names} == {"eeg": 0, "imu": 0}
    assert all(report[name]["delivered"] > 100 for name in rig.names)


class Slow(Driver):
    """One sample per second."""

    def _open(self):
        return StreamInfo("slow", 1.0, (Channel("temp", Kind.TEMP, "degC"),))

    def _start(self):
        self._due_s = self.clock.now() + 1.0

    def _read(self, timeout_s):
        if self._due_s > self.clock.now() + 1e-9:
            return None
        self._due_s += 1.0
        return Samples(np.zeros((1, 1)), np.array([self._due_s - 1.0]))

    def _stop(self): ...

    def _close(self): ...


def test_slow_stream_of_a_rig_is_not_silent_between_its_samples(caplog):
    clock = ManualClock()
    with caplog.at_level(logging.WARNING), Rig({"slow": Slow(clock=clock, silence_s=4.0)}, clock=clock) as rig:
        for _ in range(100):
            rig.read(0.1)
        assert rig.report()["slow"]["changes"] == [] and rig.report()["slow"]["delivered"] == 10
    assert not caplog.records
