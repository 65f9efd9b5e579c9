"""The outputs, each against a real receiver."""

import json
import logging
import os
import select
import socket
import sys
import threading
import time
import uuid
from dataclasses import replace

import numpy as np
import pytest

from bci.acquisition.lsl_local import load_pylsl
from bci.apps.outputs.lsl import LslDecisions
from bci.clock import MonotonicClock
from bci.decision import Command, Decision
from bci.errors import ConfigError, DataError, SafetyError
from bci.registry import create
from bci.testing.contract import ContractError
from bci.testing.effector import check_effector, check_limits

RIGHT = Command("intent", 0.5, 100.0, 0.3, 99.9, "right")


@pytest.fixture
def receiver():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as found:
        found.bind(("127.0.0.1", 0))
        found.settimeout(5.0)
        yield found


def address(bound):
    return f"127.0.0.1:{bound.getsockname()[1]}"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def spec(request, tmp_path, receiver):
    """The spec of each output, with something at its far end."""
    name = request.param
    if name == "serial":
        pty = pytest.importorskip("pty")
        ours, theirs = pty.openpty()
        yield f"serial:{os.ttyname(theirs)}"
        os.close(ours)
        os.close(theirs)
        return
    arguments = {
        "log": str(tmp_path / "log"),
        "udp": address(receiver),
        "osc": address(receiver),
        "lsl": f"bci-test-{uuid.uuid4()}",
        "websocket": f"127.0.0.1:{free_port()}",
    }
    yield f"{name}:{arguments[name]}"


@pytest.mark.parametrize("spec", ["log", "udp", "osc", "lsl", "websocket", "serial"], indirect=True)
def test_output_keeps_the_contract(spec):
    check_effector(lambda: create("effectors", spec))


@pytest.fixture
def opened():
    effectors = []

    def make(name, *arguments):
        spec = ":".join((name, *arguments))
        effectors.append(create("effectors", spec))
        effectors[-1].self_test()
        return effectors[-1]

    yield make
    for effector in effectors:
        effector.close()


# ---------------------------------------------------------------- log
def test_log_writes_changes_and_the_halt_once(opened, tmp_path):
    output = opened("log", str(tmp_path / "log"))
    for command in (RIGHT, RIGHT, Command("intent", 0.6, 101.0)):
        output.send(command)
    output.halt()
    output.halt()
    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert lines == [
        {"time": 100.0, "name": "intent", "value": 0.5, "label": "right"},
        {"time": 101.0, "name": "intent", "value": 0.6, "label": ""},
        {"halt": True},
    ]


def test_log_without_a_file_goes_to_the_logger(opened, caplog):
    with caplog.at_level(logging.INFO):
        opened("log").send(RIGHT)
    assert '"value": 0.5' in caplog.text


def test_log_that_cannot_be_written_is_refused():
    with pytest.raises(SafetyError, match="file that can be written at /no/such"):
        create("effectors", "log:/no/such/file").self_test()


# ---------------------------------------------------------------- UDP and OSC
def test_udp_sends_json(opened, receiver):
    output = opened("udp", address(receiver))
    assert json.loads(receiver.recv(4096))["safe"]
    output.send(RIGHT)
    message = json.loads(receiver.recv(4096))
    assert 0 <= time.monotonic() - message.pop("time_s") < 5
    assert message == {"name": "intent", "value": 0.5, "label": "right", "valid_s": 0.3, "safe": False}


def test_udp_halt_says_safe(opened, receiver):
    output = opened("udp", address(receiver))
    output.send(RIGHT)
    output.halt()
    last = [json.loads(receiver.recv(4096)) for _ in range(3)][-1]
    assert (last["safe"], last["value"]) == (True, 0.0)


def test_udp_reaches_a_receiver_that_comes_late(opened):
    port = free_port()
    output = opened("udp", f"127.0.0.1:{port}")
    for _ in range(3):
        output.send(RIGHT)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as late:
        late.bind(("127.0.0.1", port))
        late.settimeout(5.0)
        output.send(RIGHT)
        assert json.loads(late.recv(4096))["value"] == 0.5


def test_osc_sends_value_and_label(opened, receiver):
    osc_message = pytest.importorskip("pythonosc.osc_message")
    output = opened("osc", address(receiver))
    output.send(RIGHT)
    output.halt()
    said = [osc_message.OscMessage(receiver.recv(4096)) for _ in range(5)]
    assert [(m.address, m.params) for m in said[2:]] == [
        ("/bci/intent", [0.5, "right"]),
        ("/bci/intent", [0.0, ""]),
        ("/bci/halt", [1]),
    ]


@pytest.mark.parametrize("name", ["udp", "osc", "websocket"])
@pytest.mark.parametrize("bad", ["127.0.0.1:99999", "host:port", "127.0.0.1:0"])
def test_address_without_a_port_is_refused(name, bad):
    with pytest.raises(ConfigError, match="an address is host:port"):
        create("effectors", f"{name}:{bad}")


def test_port_alone_is_this_machine():
    assert (create("effectors", "udp:5005").host, create("effectors", "udp:5006").port) == ("127.0.0.1", 5006)


# ---------------------------------------------------------------- LSL
def lsl_inlets(*names):
    pylsl = pytest.importorskip("pylsl")
    inlets = [pylsl.StreamInlet(pylsl.resolve_byprop("name", name, timeout=10.0)[0]) for name in names]
    for inlet in inlets:
        inlet.open_stream(timeout=10.0)
    return inlets


def test_lsl_offers_value_label_and_command(opened):
    name = f"bci-test-{uuid.uuid4()}"
    output = opened("lsl", name)
    values, labels, commands = lsl_inlets(name, f"{name}-labels", f"{name}-commands")
    output.send(RIGHT)
    output.send(RIGHT)
    output.halt()
    assert [values.pull_sample(timeout=10.0)[0] for _ in range(3)] == [[0.5], [0.5], [0.0]]
    assert [labels.pull_sample(timeout=10.0)[0] for _ in range(2)] == [["right"], ["halt"]]
    told = [json.loads(commands.pull_sample(timeout=10.0)[0][0]) for _ in range(2)]
    assert [(c["value"], c["label"], c["valid_s"], c["safe"]) for c in told] == [
        (0.5, "right", 0.3, False),
        (0.0, "", 0.0, True),
    ]
    assert not commands.samples_available()


def decision(*probabilities, classes=("left", "right")):
    return Decision(classes, np.array(probabilities), 0, 10, 99.0, 100.0, age_s=0.05)


def test_lsl_decisions_have_a_column_per_class_and_the_age():
    name = f"bci-test-{uuid.uuid4()}"
    clock = MonotonicClock()
    with LslDecisions(("left", "right"), name, clock) as decisions:
        (inlet,) = lsl_inlets(name)
        info = inlet.info(10.0)
        assert info.get_channel_labels() == ["left", "right", "age"]
        assert info.get_channel_units() == ["probability", "probability", "s"]
        decisions(decision(0.25, 0.75), None)
        values, stamp = inlet.pull_sample(timeout=10.0)
    assert values == [0.25, 0.75, 0.05]
    assert stamp == pytest.approx(100.0 + load_pylsl().local_clock() - clock.now(), abs=0.01)


def test_lsl_decisions_of_another_decoder_are_refused():
    name = f"bci-test-{uuid.uuid4()}"
    with LslDecisions(("left", "right"), name) as decisions, pytest.raises(DataError, match="another decoder"):
        decisions(decision(0.5, 0.5, classes=("up", "down")))


# ---------------------------------------------------------------- WebSocket
def connect(port, **settings):
    client = pytest.importorskip("websockets.sync.client")
    return client.connect(f"ws://127.0.0.1:{port}", **settings)


def test_websocket_reaches_every_client(opened):
    port = free_port()
    output = opened("websocket", f"127.0.0.1:{port}")
    with connect(port) as first, connect(port) as second:
        for client in (first, second):
            assert json.loads(client.recv(5.0))["safe"]
        output.send(RIGHT)
        assert {json.loads(client.recv(5.0))["value"] for client in (first, second)} == {0.5}
        output.halt()
        assert json.loads(first.recv(5.0))["safe"]


def test_websocket_tells_a_late_client_where_things_stand(opened):
    port = free_port()
    output = opened("websocket", f"127.0.0.1:{port}")
    output.send(replace(RIGHT, valid_s=60.0))
    with connect(port) as client:
        assert json.loads(client.recv(5.0))["value"] == 0.5


def test_websocket_says_that_its_port_is_taken(opened):
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        with pytest.raises(SafetyError, match=r"free port to listen on, .* is taken"):
            opened("websocket", address(holder))


def test_websocket_leaves_its_port_free():
    port = free_port()
    for _ in range(2):
        output = create("effectors", f"websocket:127.0.0.1:{port}")
        output.self_test()
        output.close()
    assert not any(t.name == "websocket output" for t in threading.enumerate())


# ---------------------------------------------------------------- serial
@pytest.fixture
def line():
    pty = pytest.importorskip("pty")
    ours, theirs = pty.openpty()
    yield ours, os.ttyname(theirs)
    os.close(ours)
    os.close(theirs)


def read_lines(fd, n):
    data = b""
    while data.count(b"\n") < n and select.select([fd], [], [], 5.0)[0]:
        data += os.read(fd, 4096)
    return [text.strip() for text in data.split(b"\n") if text.strip()]


def test_serial_writes_lines(opened, line):
    ours, port = line
    output = opened("serial", port)
    assert read_lines(ours, 2) == [b"halt 0"]
    output.send(RIGHT)
    assert read_lines(ours, 1) == [b"intent 0.5000"]
    output.halt()
    assert read_lines(ours, 2) == [b"halt 0"]


@pytest.mark.skipif(sys.platform == "win32", reason="pseudo terminals are POSIX")
def test_serial_does_not_block_when_nobody_reads(opened, line):
    output = opened("serial", line[1])
    for _ in range(20_000):
        output.send(RIGHT)
    output.halt()


def test_serial_port_that_is_gone_is_survived(opened, caplog):
    pty = pytest.importorskip("pty")
    ours, theirs = pty.openpty()
    output = opened("serial", os.ttyname(theirs))
    os.close(ours)
    os.close(theirs)
    for _ in range(3):
        output.send(RIGHT)
        output.halt()
    assert caplog.text.count("does not take commands") == 1


def test_missing_serial_port_is_named():
    with pytest.raises(SafetyError, match=r"expected a serial port at '/dev/no-such-port'.*ports found"):
        create("effectors", "serial:/dev/no-such-port").self_test()


def test_serial_needs_a_port():
    with pytest.raises(ConfigError, match="needs a port"):
        create("effectors", "serial")


# ---------------------------------------------------------------- the checker itself
class Good:
    """The smallest effector that keeps the contract."""

    from bci.ports import Limits

    limits = Limits()

    def self_test(self):
        """Nothing to open."""

    def send(self, command):
        """Nothing to do."""

    def halt(self):
        """Nothing moves."""

    def close(self):
        """Nothing is held."""


def broken(**members):
    return type("Broken", (Good,), members)


def test_checker_accepts_what_keeps_the_contract():
    check_effector(Good)


def raises(self):
    raise OSError("gone")


def looping(self, poll):
    poll()


@pytest.mark.parametrize(
    ("members", "rule"),
    [
        ({"send": lambda self, command: time.sleep(1.1)}, "send does not block"),
        ({"limits": Good.Limits(low=2.0)}, "low <= neutral <= high"),
        ({"limits": Good.Limits(safe_state=" ")}, "named in words"),
        ({"limits": Good.Limits(max_age_s=2.0)}, "at most 1.0 s old"),
        ({"take_events": lambda self: [("now", 1)]}, "events are"),
        ({"run": looping}, "until it returns False"),
        ({"halt": None}, "has limits, self_test"),
    ],
)
def test_checker_finds(members, rule):
    kind = broken(**members)
    if members.get("halt", 1) is None:
        kind = type("NoHalt", (), {"limits": Good.limits, "close": Good.close, "send": Good.send})
    with pytest.raises(ContractError, match=rule):
        check_effector(kind)


def test_checker_finds_a_halt_that_needs_its_own_thread():
    home = threading.get_ident()

    def halt(self):
        if threading.get_ident() != home:
            raise RuntimeError("wrong thread")

    with pytest.raises(ContractError, match="from no thread"):
        check_effector(broken(halt=halt))


def test_signal_that_touches_a_person_must_be_fresh():
    from bci.ports import Hazard, Limits

    with pytest.raises(ContractError, match=r"at most 0\.3 s old"):
        check_limits(Limits(hazard=Hazard.BODY))


def test_websocket_tells_a_late_client_nothing_that_has_expired(opened):
    port = free_port()
    output = opened("websocket", f"127.0.0.1:{port}")
    output.send(Command("intent", 0.9, time.monotonic(), 0.05, time.monotonic()))
    time.sleep(0.1)
    with connect(port) as client:
        assert json.loads(client.recv(2.0))["value"] == 0.0


def test_websocket_refuses_foreign_pages(opened):
    port = free_port()
    opened("websocket", f"127.0.0.1:{port}")
    with pytest.raises(Exception, match="403"):
        connect(port, origin="http://elsewhere.example")
