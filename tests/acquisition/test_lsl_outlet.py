"""What our own outlets keep, and how they describe themselves."""

import logging
import time
import uuid

import numpy as np
import pytest

from bci.acquisition.lsl_local import load_pylsl
from bci.acquisition.lsl_outlet import LslOutlet, signal_head
from bci.stream import Channel, Kind, StreamInfo

pytest.importorskip("pylsl")
pylsl = load_pylsl()

INFO = StreamInfo(
    "amp", 250.0, (Channel("C3", position=(0.01, 0.02, 0.03), scale=0.5), Channel("Acc", Kind.ACCEL, "g")),
    meta={"maker": "x"},
)  # fmt: skip


@pytest.fixture
def outlet():
    name = f"bci-test-{uuid.uuid4()}"
    made = []

    def make(**settings):
        made.append(LslOutlet(signal_head(INFO, name, name), **settings))
        return made[-1], name

    yield make
    for one in made:
        one.close()


def rows(*numbers):
    return np.column_stack((numbers, numbers)).astype(float)


def received(name, n):
    inlet = pylsl.StreamInlet(pylsl.resolve_byprop("name", name, timeout=10.0)[0])
    inlet.open_stream(10.0)
    return inlet, lambda: [int(r[0]) for r in inlet.pull_chunk(5.0, n)[0]]


def test_what_nobody_received_is_given_to_the_one_who_comes(outlet):
    out, name = outlet()
    out.push(rows(1, 2), [10.0, 10.1])
    out.push(rows(3), [10.2])
    assert out.n_kept == 3
    _, pull = received(name, 4)
    out.push(rows(4), [10.3])
    assert pull() == [1, 2, 3, 4] and out.n_kept == 0 and out.n_dropped == 0


def test_what_was_on_its_way_is_given_again(outlet):
    out, name = outlet()
    inlet, pull = received(name, 1)
    out.push(rows(1), [10.0])
    assert pull() == [1]
    del inlet, pull
    until_s = time.monotonic() + 10
    number = 1
    while out.pass_on() and time.monotonic() < until_s:  # liblsl sees it when it writes
        number += 1
        out.push(rows(number), [10.0 + number])
        time.sleep(0.02)
    assert out.n_kept == number
    _, pull = received(name, number + 1)
    out.push(rows(number + 1), [99.0])
    assert pull() == list(range(1, number + 2))


def test_overflow_is_counted_and_said_once(outlet, caplog):
    out, _ = outlet(keep_s=0.0)
    with caplog.at_level(logging.WARNING):
        out.push(rows(1, 2), [10.0, 10.1])
        out.push(rows(3), [10.2])
    assert out.n_dropped == 3 and out.n_kept == 0
    assert sum("nobody has received it" in r.message for r in caplog.records) == 1


def test_description_is_whole(outlet):
    _, name = outlet()
    info = received(name, 1)[0].info(10.0)
    assert info.type() == "EEG" and info.get_channel_labels() == ["C3", "Acc"]
    assert info.get_channel_units() == ["microvolts", "g"] and info.get_channel_types() == ["EEG", "ACCEL"]
    first = info.desc().child("channels").child("channel")
    assert first.child_value("scale_applied") == "0.5" and first.child("position_m").child_value("Z") == "0.03"
    assert info.desc().child("meta").child("entry").child_value("value") == "x"


def test_closed_outlet_takes_nothing(outlet):
    out, _ = outlet()
    out.close()
    assert not out.pass_on() and not out.wait(0.0)
