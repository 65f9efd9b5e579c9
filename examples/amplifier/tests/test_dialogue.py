"""The dialogue with the device on a pseudo-terminal, as a table of bytes."""

import math
import os
import pty
import threading
import tty

import numpy as np
import pytest
from bci_amp8.driver import Amp8
from bci_amp8.frames import N_CHANNELS, SCALE_UV, pack

from bci.errors import ConfigError, DeviceError, DeviceNotFound

FRAMES = [pack(k, [k, -k, *([0] * (N_CHANNELS - 2))]) for k in range(5)]
OPEN = [(b"s", b"ok\n"), (b"v", b"amp8 1.0 0042 250\n")]
STOP = [(b"s", FRAMES[4] + b"ok\n")]


@pytest.fixture
def play():
    """Play the device: for each row of a dialogue hear the bytes, then answer."""
    master, slave = pty.openpty()
    tty.setraw(slave)
    heard, players = [], []

    def begin(dialogue):
        def run():
            for sent, answer in dialogue:
                heard.append(os.read(master, len(sent)))
                os.write(master, answer)

        players.append(threading.Thread(target=run, daemon=True))
        players[-1].start()
        return os.ttyname(slave), heard

    yield begin
    for player in players:
        player.join(2.0)
    os.close(slave)
    os.close(master)


def test_driver_speaks_the_dialogue(play):
    dialogue = [*OPEN, (b"b", b"ok\n" + b"".join(FRAMES[:2]) + FRAMES[3]), *STOP]
    port, heard = play(dialogue)
    device = Amp8(port)
    info = device.open()
    device.start()
    first, second = device.read(1.0), device.read(1.0)
    device.stop()
    device.close()
    assert heard == [sent for sent, _ in dialogue]
    assert (info.source_id, info.sfreq, info.meta["firmware"]) == ("amp8-0042", 250.0, "1.0")
    assert (first.start, first.stop, second.start) == (0, 2, 3)
    np.testing.assert_allclose(first.physical().data[1, :2], [SCALE_UV, -SCALE_UV])
    assert device.report()["lost"] == 1


def test_impedance_and_battery_are_asked_for(play):
    port, _ = play([*OPEN, (b"z", b"z 1.5 2 3 4 5 6 7 inf\n"), (b"q", b"q 87\n")])
    device = Amp8(port)
    device.open()
    found = device.impedance()
    assert (found["Fp1"], found["O2"]) == (1.5, math.inf)
    assert device.battery() == 0.87
    device.close()


@pytest.mark.parametrize(
    ("dialogue", "error"),
    [
        ([(b"s", b"ok\n"), (b"v", b"other 1.0 0042 250\n")], DeviceNotFound),
        ([(b"s", b"ok\n"), (b"v", b"what?\n")], DeviceNotFound),
        ([(b"s", b""), (b"v", b"")], DeviceNotFound),
    ],
)
def test_another_device_at_the_port_is_not_found(play, dialogue, error):
    port, _ = play(dialogue)
    with pytest.raises(error):
        Amp8(port, timeout_s=0.1).open()


def test_refused_impedance_is_an_error(play):
    port, _ = play([*OPEN, (b"z", b"e busy\n")])
    device = Amp8(port)
    device.open()
    with pytest.raises(DeviceError):
        device.impedance()
    device.close()


def test_eight_channels_are_asked_for():
    with pytest.raises(ConfigError, match="8 channels, got 1"):
        Amp8("none", channels=["Cz"])
