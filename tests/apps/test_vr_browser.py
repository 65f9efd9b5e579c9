"""The page in a real headless Chromium, drawn in software."""

import contextlib
import functools
import http.server
import shutil
import threading
import time
from urllib.parse import urlsplit

import pytest

pytest.importorskip("websockets", reason="needs websockets: pip install 'bci[vr]'")
pytest.importorskip("selenium", reason="needs selenium: pip install 'bci[dev]'")

from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from bci.apps.vr.scene import VrScene
from bci.decision import Command
from bci.ports import Status

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="needs chromium and chromedriver on the PATH")

ARGUMENTS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu-sandbox",
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--disable-dev-shm-usage",
    "--window-size=500,400",
)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in (*ARGUMENTS, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    driver.set_page_load_timeout(120)
    driver.set_script_timeout(60)
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def scene():
    scene = VrScene(port=0)
    scene.open()
    yield scene
    scene.close()


@pytest.fixture
def page(browser, scene):
    """The open page, at rest, drawing."""
    if urlsplit(browser.current_url).netloc != urlsplit(scene.url).netloc:
        browser.get(scene.url)
    scene.halt()
    scene.show(Status())
    wait(browser, "window.__scene && __scene.frames > 2 && __scene.restCause === 'rest' && __scene.ballX === 0")
    scene.take_events()
    return browser


def wait(browser, condition, seconds=60.0):
    """Wait until a condition of the page is true."""
    end_s = time.monotonic() + seconds
    while time.monotonic() < end_s:
        if browser.execute_script(f"return Boolean({condition})"):
            return
        time.sleep(0.05)
    state = browser.execute_script("return window.__scene ? [__scene.ballX, __scene.restCause, __scene.frames] : null")
    raise AssertionError(f"not within {seconds} s: {condition}; the page has {state}")


def wait_event(scene, code, seconds=60.0):
    """Wait for an event that begins with `code`; return it."""
    end_s = time.monotonic() + seconds
    while time.monotonic() < end_s:
        for event in scene.take_events():
            if event[1].startswith(code):
                return event
        time.sleep(0.02)
    raise AssertionError(f"no {code} within {seconds} s")


@contextlib.contextmanager
def sending(scene, intent):
    """Send an intent every 20 ms, as the guard's host does."""
    ended = threading.Event()

    def feed():
        while not ended.wait(0.02):
            scene.send(Command("intent", intent, 0.0))

    thread = threading.Thread(target=feed)
    thread.start()
    yield
    ended.set()
    thread.join()


def test_page_loads_without_an_error(page):
    assert [entry for entry in page.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")] == []
    assert page.title == "Reach"


def test_page_loads_nothing_from_elsewhere(page):
    loaded = page.execute_script("return performance.getEntriesByType('resource').map((r) => r.name)")
    assert loaded
    assert {urlsplit(name).netloc for name in loaded} == {urlsplit(page.current_url).netloc}


@pytest.mark.parametrize("intent", [-0.8, 0.6])
def test_ball_and_hand_follow_the_intent(page, scene, intent):
    with sending(scene, intent):
        wait(page, f"Math.abs(__scene.ballX - ({intent})) < 0.02 && __scene.restCause === ''")
        wait(page, f"Math.sign(__scene.wristX) === {1 if intent > 0 else -1}")


def test_hand_closes_at_the_target(page, scene):
    with sending(scene, 0.05):
        wait(page, "Math.abs(__scene.ballX - 0.05) < 0.01")
        time.sleep(0.3)
        near = page.execute_script("return __scene.grip")
    with sending(scene, 1.0):
        wait(page, f"__scene.grip > {near} + 0.1")


def test_halt_brings_the_limb_to_rest(page, scene):
    with sending(scene, 0.9):
        wait(page, "__scene.ballX > 0.8")
    scene.halt()
    wait(page, "__scene.restCause === 'rest' && __scene.ballX === 0")


def test_silence_brings_the_limb_to_rest_and_says_so(page, scene):
    with sending(scene, -0.9):
        wait(page, "__scene.ballX < -0.8")
    wait(page, "__scene.restCause === 'silent' && __scene.ballX === 0")
    wait(page, "document.getElementById('message').textContent.startsWith('No fresh signal')")
    wait_event(scene, "vr:rest")


def test_cue_and_guard_state_are_shown_and_their_frame_is_reported(page, scene):
    shown_s = time.monotonic()
    scene.show(Status(state="ACTIVE", cue="left", message="Imagine your left hand"))
    at_s, code = wait_event(scene, "vr:cue-shown")
    assert code == "vr:cue-shown:left"
    assert shown_s - 0.05 <= at_s <= time.monotonic()
    assert page.find_element(By.ID, "cue-word").text == "Left"
    assert page.find_element(By.ID, "guard-state").text == "ACTIVE"
    assert page.find_element(By.ID, "message").text == "Imagine your left hand"


def test_frame_times_flow_back(page, scene):
    with sending(scene, 0.3):
        wait(page, "__scene.ballX > 0.2")
        scene.take_events()
        wait_event(scene, "vr:frames")
        _, code = wait_event(scene, "vr:frames")
    values = dict(part.split("=") for part in code.removeprefix("vr:frames:").split())
    assert int(values["n"]) >= 1
    assert 0 < float(values["median"]) <= float(values["max"])
    assert 0 < float(values["error"]) < 0.5
    assert -float(values["error"]) <= float(values["delay"]) < 60


def test_click_in_the_scene_is_an_event(page, scene):
    page.find_element(By.ID, "view").click()
    wait_event(scene, "vr:select")


@pytest.mark.parametrize("way", ["button", "space", "escape"])
def test_stop_calls_stop_and_brings_to_rest(page, scene, way):
    stopped = threading.Event()
    scene.attach_stop(stopped.set)
    with sending(scene, 0.5):
        wait(page, "__scene.ballX > 0.4")
        if way == "button":
            page.find_element(By.ID, "stop").click()
        else:
            page.find_element(By.TAG_NAME, "body").send_keys(Keys.SPACE if way == "space" else Keys.ESCAPE)
        assert stopped.wait(60)
    wait_event(scene, "vr:stop")


def test_headset_is_not_offered_where_there_is_none(page):
    assert not page.find_element(By.ID, "enter").is_displayed()


def test_state_for_tests_cannot_be_written(page):
    assert page.execute_script("try { __scene.ballX = 7 } catch { } return __scene.ballX") == 0


def test_page_of_another_origin_cannot_open_the_socket(browser, scene, tmp_path):
    (tmp_path / "index.html").write_text("<title>other</title><link rel=icon href=data:,>")
    quiet = type("Quiet", (http.server.SimpleHTTPRequestHandler,), {"log_message": lambda *_: None})
    handler = functools.partial(quiet, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as other:
        threading.Thread(target=other.serve_forever, daemon=True).start()
        browser.get(f"http://127.0.0.1:{other.server_port}/index.html")
        place = urlsplit(scene.url)
        answer = browser.execute_async_script(
            "const done = arguments[1]; const socket = new WebSocket(arguments[0]);"
            "socket.onopen = () => done('open'); socket.onerror = () => done('refused');",
            f"ws://{place.netloc}/socket?{place.query}",
        )
        other.shutdown()
    assert answer == "refused"


def test_page_without_the_token_is_refused_in_words(browser, scene):
    browser.get(scene.url.partition("?")[0])
    assert "with its token" in browser.find_element(By.TAG_NAME, "body").text


def test_lost_connection_brings_the_limb_to_rest_and_says_so(browser):
    scene = VrScene(port=0)
    scene.open()
    browser.get(scene.url)
    with sending(scene, 0.9):
        wait(browser, "window.__scene && __scene.ballX > 0.8")
        scene.close()
        wait(browser, "__scene.restCause === 'lost' && __scene.ballX === 0")
    assert browser.find_element(By.ID, "message").text.startswith("Connection lost")
