import http.client
import json
import math
import socket
import subprocess
import sys
import threading
import time
from urllib.parse import urlsplit

import pytest

pytest.importorskip("websockets", reason="needs websockets: pip install 'bci[vr]'")

from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from bci.apps.vr.scene import VrScene
from bci.apps.vr.server import BrowserClock
from bci.decision import Command
from bci.errors import ConfigError
from bci.ports import Effector, HasStop, Hazard, ReportsEvents, ShowsStatus, Status
from bci.safety.link import GuardedEffector
from bci.testing.effector import check_effector


@pytest.fixture
def scene():
    scene = VrScene(port=0)
    scene.open()
    yield scene
    scene.close()


def page(scene, origin=None, token=None):
    """Open the socket as the page does."""
    place = urlsplit(scene.url)
    token = place.query.removeprefix("token=") if token is None else token
    return connect(
        f"ws://{place.netloc}/socket?token={token}",
        origin=origin or f"http://{place.netloc}",
        proxy=None,
        open_timeout=5,
    )


def get(scene, path, host=None):
    """Ask for a file; return status, headers and body."""
    place = urlsplit(scene.url)
    connection = http.client.HTTPConnection(place.hostname, place.port, timeout=5)
    connection.request("GET", path, headers={"Host": host or place.netloc})
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, dict(answer.getheaders()), body


def next_of(socket_, kind, seconds=5.0):
    """The next message of a kind."""
    end_s = time.monotonic() + seconds
    while time.monotonic() < end_s:
        message = json.loads(socket_.recv(timeout=seconds))
        if message["kind"] == kind:
            return message
    raise AssertionError(f"no {kind} within {seconds} s")


def events_until(scene, code, seconds=5.0):
    """Collect events until one begins with `code`."""
    found, end_s = [], time.monotonic() + seconds
    while time.monotonic() < end_s:
        found += scene.take_events()
        if any(c.startswith(code) for _, c in found):
            return found
        time.sleep(0.01)
    raise AssertionError(f"no {code} within {seconds} s, only {found}")


def test_scene_has_the_protocols_the_host_asks_for():
    scene = VrScene()
    for protocol in (Effector, ShowsStatus, ReportsEvents, HasStop):
        assert isinstance(scene, protocol)
    assert scene.limits.hazard is Hazard.MOTION
    assert scene.limits.safe_state == "limb at rest, scene still"


def test_scene_keeps_the_contract_of_effectors():
    check_effector(lambda: VrScene(port=0))


@pytest.mark.slow
def test_scene_runs_behind_the_guard(tmp_path):
    effector = GuardedEffector("vr", settings={"port": 0}, log_path=tmp_path / "log", auto_operator=True)
    effector.self_test()
    try:
        end_s = time.monotonic() + 20
        while effector.output < 0.5 and time.monotonic() < end_s:
            effector.send(Command("intent", 0.8, time.monotonic()))
            effector.show(Status(state=effector.state))
            time.sleep(0.02)
        assert effector.state == "active"
    finally:
        effector.close()


def test_address_is_said_once(capfd):
    scene = VrScene(port=0)
    scene.self_test()
    scene.self_test()
    scene.close()
    assert capfd.readouterr().err.count(scene.url) == 1


def test_nothing_is_opened_before_the_self_test():
    VrScene(port=1)


def test_page_is_served_at_its_address(scene):
    status, headers, body = get(scene, "/?" + urlsplit(scene.url).query)
    assert status == 200
    assert headers["Content-Type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert b'src="scene.js"' in body


@pytest.mark.parametrize("path", ["/scene.js", "/three/three.module.min.js", "/three/LICENSE", "/style.css"])
def test_files_of_the_page_are_served(scene, path):
    status, _, body = get(scene, path)
    assert status == 200
    assert len(body) > 500


@pytest.mark.parametrize("path", ["/../scene.py", "/scene.py", "/static/index.html", "//etc/passwd", "/%2e%2e/x"])
def test_nothing_else_is_served(scene, path):
    assert get(scene, path)[0] == 404


@pytest.mark.parametrize("path", ["/", "/?token=", "/?token=wrong"])
def test_page_without_the_token_is_refused(scene, path):
    assert get(scene, path)[0] == 403


def test_name_of_another_machine_is_refused(scene):
    assert get(scene, "/scene.js", host="evil.example:80")[0] == 403


def test_socket_of_a_foreign_origin_is_refused(scene):
    with pytest.raises(InvalidStatus, match="403"):
        page(scene, origin="http://evil.example")


@pytest.mark.parametrize("token", ["", "wrong"])
def test_socket_with_a_wrong_token_is_refused(scene, token):
    with pytest.raises(InvalidStatus, match="403"):
        page(scene, token=token)


def test_tokens_differ_between_sessions():
    assert VrScene(port=0).url != VrScene(port=0).url


def test_intent_reaches_the_page(scene):
    with page(scene) as browser:
        assert next_of(browser, "intent")["rest"]
        scene.send(Command("intent", 0.7, 0.0))
        message = next_of(browser, "intent")
    assert (message["intent"], message["rest"]) == (0.7, False)


def test_intent_out_of_range_is_clipped(scene):
    with page(scene) as browser:
        next_of(browser, "intent")
        scene.send(Command("intent", 7.0, 0.0))
        assert next_of(browser, "intent")["intent"] == 1.0


@pytest.mark.parametrize("command", [Command("intent", math.nan, 0.0), Command("speed", 1.0, 0.0)])
def test_command_without_meaning_is_not_shown(scene, command):
    with page(scene) as browser:
        next_of(browser, "intent")
        scene.send(command)
        scene.send(Command("intent", 0.1, 0.0))
        assert next_of(browser, "intent")["intent"] == 0.1


def test_halt_reaches_the_page(scene):
    with page(scene) as browser:
        scene.send(Command("intent", 0.7, 0.0))
        scene.halt()
        while not (message := next_of(browser, "intent"))["rest"]:
            pass
        assert message["intent"] == 0.0


def test_page_opened_late_does_not_get_an_old_intent(scene):
    scene.send(Command("intent", 0.7, 0.0))
    time.sleep(0.25)
    with page(scene) as browser:
        scene.show(Status(state="ARMED"))
        kinds = []
        while "status" not in kinds:
            kinds.append(json.loads(browser.recv(timeout=5))["kind"])
    assert "intent" not in kinds


def test_status_reaches_the_page(scene):
    with page(scene) as browser:
        scene.show(Status(state="ACTIVE", cue="left", message="Imagine"))
        message = next_of(browser, "status")
    assert (message["state"], message["cue"], message["message"]) == ("ACTIVE", "left", "Imagine")


def test_page_that_does_not_read_never_blocks_the_sender(scene):
    with page(scene):
        for i in range(2_000):
            scene.send(Command("intent", math.sin(i), 0.0))
        scene.halt()


def test_stop_of_the_page_is_obeyed(scene):
    stopped = threading.Event()
    scene.attach_stop(stopped.set)
    with page(scene) as browser:
        browser.send(json.dumps({"kind": "stop", "at": 1.0}))
        assert stopped.wait(5)
        while not next_of(browser, "intent")["rest"]:
            pass
    assert "vr:stop" in [code for _, code in events_until(scene, "vr:stop")]


def test_stop_is_obeyed_in_a_flood_of_messages(scene):
    stopped = threading.Event()
    scene.attach_stop(stopped.set)
    with page(scene) as browser:
        for _ in range(500):
            browser.send(json.dumps({"kind": "event", "code": "select", "at": 1.0}))
        browser.send(json.dumps({"kind": "stop"}))
        assert stopped.wait(5)
    assert sum(code == "vr:select" for _, code in scene.take_events()) <= 400


@pytest.mark.parametrize("raw", ["", "nonsense", "[]", "3", '{"kind": []}', '{"kind": "event", "code": "A;B"}', "{}"])
def test_nonsense_of_the_page_is_dropped(scene, raw):
    with page(scene) as browser:
        browser.send(raw)
        browser.send(json.dumps({"kind": "event", "code": "select"}))
        codes = [code for _, code in events_until(scene, "vr:select")]
    assert codes == ["vr:open", "vr:select"]


def test_message_too_long_closes_the_page(scene):
    with page(scene) as browser, pytest.raises(ConnectionClosed):
        browser.send("x" * 10_000)
        while True:
            browser.recv(timeout=5)


def test_events_come_back_on_our_clock(scene):
    browser_offset_s = 1234.5  # the page's clock starts at its opening
    with page(scene) as browser:
        for _ in range(5):
            ping = next_of(browser, "ping")
            browser.send(json.dumps({"kind": "pong", "id": ping["id"], "at": time.monotonic() - browser_offset_s}))
        happened_s = time.monotonic()
        time.sleep(0.05)
        browser.send(json.dumps({"kind": "event", "code": "select", "at": happened_s - browser_offset_s}))
        browser.send(json.dumps({"kind": "frames", "n": 60, "median": 0.0167, "max": 0.02, "late": 0}))
        events = dict((code, at) for at, code in events_until(scene, "vr:frames"))
    frames = next(code for code in events if code.startswith("vr:frames"))
    assert frames.startswith("vr:frames:n=60 median=0.0167 max=0.0200 late=0 delay=nan error=0.")
    error_s = float(frames.rpartition("error=")[2])
    assert abs(events["vr:select"] - happened_s) <= error_s + 1e-3


def test_event_from_the_future_or_without_a_clock_counts_as_now(scene):
    with page(scene) as browser:
        before_s = time.monotonic()
        browser.send(json.dumps({"kind": "event", "code": "select", "at": 1e9}))
        at_s = next(at for at, code in events_until(scene, "vr:select") if code == "vr:select")
    assert before_s <= at_s <= time.monotonic()


def test_opening_and_closing_of_the_page_are_events(scene):
    with page(scene):
        events_until(scene, "vr:open")
        assert scene.n_pages == 1
    events_until(scene, "vr:closed")


def test_browser_clock_believes_the_quickest_exchange():
    clock = BrowserClock()
    clock.add(100.0, 0.35, 100.5)  # slow and lopsided
    clock.add(101.0, 1.005, 101.01)
    clock.add(102.0, 2.35, 102.4)
    assert clock.to_monotonic(5.0) == pytest.approx(105.0)
    assert clock.error_s == pytest.approx(0.005)


def test_browser_clock_without_an_exchange_knows_nothing():
    assert BrowserClock().to_monotonic(1.0) is None
    assert BrowserClock().error_s == math.inf


def test_browser_clock_error_bounds_the_truth_whatever_the_delays():
    clock, offset_s = BrowserClock(), 77.0
    for out_s, back_s in ((0.02, 0.001), (0.004, 0.03), (0.003, 0.009)):
        clock.add(100.0, 100.0 + out_s - offset_s, 100.0 + out_s + back_s)
        assert abs(clock.to_monotonic(0.0) - offset_s) <= clock.error_s


def test_port_in_use_is_said_with_what_to_do():
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(ConfigError, match=f"port {port} on 127.0.0.1.*another program.*port=0"):
            VrScene(port=port).self_test()


@pytest.mark.parametrize("port", [-1, 70000, "web"])
def test_impossible_port_is_refused(port):
    with pytest.raises(ConfigError, match="65535"):
        VrScene(port=port)


def test_address_of_another_machine_is_refused():
    with pytest.raises(ConfigError, match=r"192\.0\.2\.1"):
        VrScene(host="192.0.2.1", port=0).self_test()


def test_port_is_free_again_after_close():
    first = VrScene(port=0)
    first.open()
    port = urlsplit(first.url).port
    first.close()
    second = VrScene(port=port)
    second.open()
    second.close()


def test_everything_is_harmless_before_open_and_after_close(scene):
    closed = VrScene(port=0)
    for _ in range(2):
        closed.send(Command("intent", 1.0, 0.0))
        closed.halt()
        closed.show(Status())
        closed.close()
    scene.close()
    scene.send(Command("intent", 1.0, 0.0))
    scene.halt()
    scene.close()


def test_open_page_does_not_hold_up_the_close(scene):
    with page(scene) as browser:
        next_of(browser, "intent")
        scene.close()
        with pytest.raises(ConnectionClosed):
            while True:
                browser.recv(timeout=5)


@pytest.mark.parametrize(("name", "package", "extra"), [("vr", "websockets", "vr"), ("car", "highway_env", "control")])
def test_missing_package_names_the_extra(name, package, extra):
    code = (
        f"import sys; sys.modules[{package!r}] = None\n"
        "from bci.registry import create\nfrom bci.errors import PluginError\n"
        f"try: create('effectors', {name!r})\n"
        "except PluginError as error: print(error)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert f"needs the package '{package}'" in said
    assert f"pip install 'bci[{extra}]'" in said
