"""BrainFlow's own Cyton driver against a board of a few lines that speaks the Cyton's bytes over a pty.

Byte 1 0xA0, 2 the sample's number modulo 256, 3-26 eight channels of 24 bits, 27-32 acceleration, 33 0xC0
(OpenBCI, "Cyton Data Format"). Channel 1 carries the true number of the sample.
"""

import os
import threading
import time

import numpy as np
import pytest

from bci.acquisition.brainflow_board import BrainFlowBoard
from bci.errors import DeviceError, DeviceNotFound
from bci.stream import Flag

pytest.importorskip("brainflow")
pty = pytest.importorskip("pty", reason="there are no pseudo-terminals on this system")

SFREQ = 250.0
SCALE_UV = 4.5 / 24 / (2**23 - 1) * 1e6  # BrainFlow's eeg_scale at the gain of 24


class Cyton:
    """The board: answers commands, and sends samples by the monotonic clock until it is told to lose some."""

    def __init__(self):
        self.master, self.slave = pty.openpty()
        import tty

        tty.setraw(self.slave)
        self.port = os.ttyname(self.slave)
        self.sent, self.lose, self.stall_s = 0, 0, 0.0
        self.is_streaming, self.is_on = False, True
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        os.set_blocking(self.master, False)
        begin_s, number = 0.0, 0
        while self.is_on:
            try:
                for letter in os.read(self.master, 64).decode(errors="ignore"):
                    if letter == "b":
                        self.is_streaming, begin_s, number = True, time.monotonic(), 0
                    elif letter == "s":
                        self.is_streaming = False
                    else:
                        os.write(self.master, b"OpenBCI V3 8-16 channel\nFirmware: v3.1.2\n$$$")
            except (BlockingIOError, OSError):
                pass
            if self.stall_s:
                time.sleep(self.stall_s)
                self.stall_s = 0.0
            while self.is_streaming and begin_s + number / SFREQ <= time.monotonic():
                if self.lose:
                    self.lose -= 1
                else:
                    self.send(number)
                number += 1
            time.sleep(0.002)

    def send(self, number):
        eight = number.to_bytes(3, "big") + bytes(21)
        os.write(self.master, bytes([0xA0, number % 256]) + eight + bytes(6) + b"\xc0")
        self.sent += 1

    def close(self):
        self.is_on = False
        self.thread.join()
        os.close(self.master)
        os.close(self.slave)


@pytest.fixture
def cyton():
    board = Cyton()
    yield board
    board.close()


def read(board, seconds):
    chunks, end_s = [], time.monotonic() + seconds
    while time.monotonic() < end_s:
        chunk = board.read(0.1)
        if chunk.n_samples:
            chunks.append(chunk)
    return chunks


def numbers(chunks):
    """True numbers of the samples, and the numbers that they were given."""
    truth = np.concatenate([np.rint(c.data[:, 0] / SCALE_UV) for c in chunks])
    given = np.concatenate([np.arange(c.start, c.stop) for c in chunks])
    return truth - truth[0], given - given[0]


@pytest.mark.parametrize(
    "lost", [37, 256, *(pytest.param(n, marks=pytest.mark.slow) for n in (1, 255, 257, 512, 2000))]
)
def test_loss_is_told_to_the_sample_a_multiple_of_the_counter_too(cyton, lost):
    with BrainFlowBoard("cyton", serial_port=cyton.port) as board:
        chunks = read(board, 1.5)
        cyton.lose = lost
        chunks += read(board, lost / SFREQ + 0.8)
        truth, given = numbers(chunks)
        assert board.n_lost == lost
        assert np.array_equal(truth, given)
        assert [c.start for c in chunks if Flag.GAP in c.flags] == [g["sample"] for g in board.report()["gaps"]]


def test_stall_that_is_caught_up_with_is_no_loss(cyton):
    with BrainFlowBoard("cyton", serial_port=cyton.port) as board:
        chunks = read(board, 1.5)
        cyton.stall_s = 1.1  # more than a turn of the counter
        chunks += read(board, 1.8)
        truth, given = numbers(chunks)
        assert board.n_lost == 0 and np.array_equal(truth, given)
        times = np.concatenate([c.times for c in chunks])
        assert (np.diff(times) > 0).all()
        assert np.abs(np.diff(times) - 1 / SFREQ).max() < 3e-3


def test_second_holder_is_refused_in_one_sentence(cyton):
    with BrainFlowBoard("cyton", serial_port=cyton.port):
        second = BrainFlowBoard("cyton", serial_port=cyton.port)
        with pytest.raises(DeviceError, match=f"to be free, process {os.getpid()} holds it; close it there first"):
            second.open()
    second.open()
    second.close()


def test_command_is_answered_and_a_board_without_power_is_not_found(cyton):
    board = BrainFlowBoard("cyton", serial_port=cyton.port)
    with pytest.raises(DeviceError, match="open\\(\\) it first"):
        board.configure("v")
    board.open()
    assert "Firmware" in board.configure("v")
    board.close()
    cyton.is_on = False
    cyton.thread.join()
    with pytest.raises(DeviceNotFound, match="check power, cable"):
        BrainFlowBoard("cyton", serial_port=cyton.port).open()


def test_what_an_earlier_stream_left_is_not_delivered(cyton):
    with BrainFlowBoard("cyton", serial_port=cyton.port) as board:
        read(board, 0.3)
        time.sleep(0.3)
        board.stop()
        board.start()
        first = read(board, 0.3)[0]
        assert first.start == 0 and np.rint(first.data[0, 0] / SCALE_UV) < 5


def test_board_that_is_unplugged_falls_silent_and_closes_at_once(cyton):
    with BrainFlowBoard("cyton", serial_port=cyton.port) as board:
        read(board, 0.3)
        cyton.is_streaming = False
        begin_s = time.monotonic()
        flags = Flag.OK
        while Flag.SILENT not in flags and time.monotonic() < begin_s + 2:
            flags |= board.read(0.5).flags
        assert Flag.SILENT in flags
        begin_s = time.monotonic()
    assert time.monotonic() - begin_s < 6.0
