"""LSL stays on this machine, and programs with LSL's defaults on it are found and find us."""

import os
import subprocess
import sys
import uuid

import pytest

from bci.acquisition.lsl_local import Doorbell, is_local, load_pylsl, users_file
from bci.errors import ConfigError

pytest.importorskip("pylsl")

PLAIN = "import sys, pylsl\nprint(len(pylsl.resolve_byprop('type', sys.argv[1], 2, 10.0)))"
OURS = "import sys\nfrom bci.acquisition.lsl_local import load_pylsl\nlsl = load_pylsl()\n" + PLAIN.partition("\n")[2]
SEND = """
lsl = pylsl
heads = [lsl.StreamInfo(f"{sys.argv[1]}-{k}", sys.argv[1], 1, 100.0, "float32", f"{k}") for k in (1, 2)]
outs = [lsl.StreamOutlet(head) for head in heads]
print("ready", flush=True)
sys.stdin.read()
"""
SEND_PLAIN = "import sys, pylsl" + SEND
SEND_OURS = (
    "import sys\nfrom bci.acquisition.lsl_local import Doorbell, load_pylsl\npylsl = load_pylsl()\n"
    "bell = Doorbell()\nbell.open()\n" + SEND
)


@pytest.fixture
def plain(monkeypatch, tmp_path):
    """The environment of somebody who configured nothing."""
    env = {k: v for k, v in os.environ.items() if k not in ("LSLAPICFG", "BCI_LSL")}
    return env | {"HOME": str(tmp_path)}


@pytest.mark.parametrize(("send", "find"), [(SEND_PLAIN, OURS), (SEND_OURS, "import pylsl\n" + PLAIN)])
def test_plain_programs_and_ours_find_each_other(plain, send, find):
    content = f"T{uuid.uuid4().hex}"
    find = find.replace("pylsl.resolve", "lsl.resolve") if find == OURS else find
    sender = subprocess.Popen(
        [sys.executable, "-c", send, content], env=plain, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert sender.stdout.readline() == b"ready\n"
        found = subprocess.run(
            [sys.executable, "-c", find, content], env=plain, capture_output=True, text=True, check=True
        )
        assert found.stdout.split()[-1] == "2"
    finally:
        sender.communicate()


def test_user_s_own_configuration_wins(monkeypatch, tmp_path):
    path = tmp_path / "lsl.cfg"
    path.write_text("[lab]\nSessionID = mine\n")
    monkeypatch.setenv("LSLAPICFG", str(path))
    assert users_file() == str(path) and not is_local()
    bell = Doorbell()
    bell.open()  # somebody else decides who is answered
    bell.close()


def test_network_is_widened_knowingly(monkeypatch):
    monkeypatch.setenv("BCI_LSL", "network")
    assert not is_local()
    monkeypatch.setenv("BCI_LSL", "internet")
    with pytest.raises(ConfigError, match='"local" or "network"'):
        load_pylsl()


def test_doorbell_closes_any_number_of_times():
    bell = Doorbell()
    bell.open()
    bell.open()
    bell.close()
    bell.close()
