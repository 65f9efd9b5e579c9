"""The safety drill: kill a decoder while it drives, and time how long the output takes to its safe value."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import Any

from bci.ports import Hazard, Limits
from bci.safety.console import ScriptedOperator
from bci.safety.link import GuardedEffector

BAR_S = 0.15

# A decoder that drives: it sends a valid command every 20 ms and prints when it sent the last.
_DECODER = """
import sys, time, socket
from bci.safety.frame import COMMAND, QUALITY, Frame, pack
token, port = bytes.fromhex(sys.argv[1]), int(sys.argv[2])
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
n = 0
while True:
    n += 1
    now = time.monotonic()
    s.sendto(pack(Frame(n, now, 0.8, 0.0, QUALITY, "intent"), COMMAND, token), ("127.0.0.1", port))
    sys.stdout.write(f"{now}\\n"); sys.stdout.flush()
    time.sleep(0.02)
"""


def drill(timeout_s: float = 10.0) -> dict[str, Any]:
    """Kill a driving decoder once.

    Returns
    -------
    dict
        ``neutral_s`` from the last valid command to the safe value as heard
        from the guard, ``passed`` (at most 0.15 s, and nothing but the safe
        value in the second after), ``text``.
    """
    guarded = GuardedEffector("log", limits=Limits(hazard=Hazard.BODY, max_age_s=0.3), simulated=True)
    guarded.self_test()
    (address, token), operator = guarded.command_address, ScriptedOperator(guarded.console)
    decoder = subprocess.Popen(
        [sys.executable, "-c", _DECODER, token.hex(), str(address[1])],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        operator.arm()
        end_s = time.monotonic() + timeout_s
        while guarded.output < 0.5 and time.monotonic() < end_s:
            time.sleep(0.005)
        drove = guarded.output
        decoder.kill()
        text, _ = decoder.communicate()
        last_s = float(text.split()[-1])
        while guarded.output != 0.0 and time.monotonic() < last_s + 2.0:
            time.sleep(0.001)
        neutral_s = time.monotonic() - last_s
        after = [guarded.output]
        while time.monotonic() < last_s + neutral_s + 1.0:
            after.append(guarded.output)
            time.sleep(0.005)
        passed = drove >= 0.5 and neutral_s <= BAR_S and not any(after)
        state = guarded.state
    finally:
        decoder.kill()
        operator.close()
        guarded.close()
    words = f"neutral {neutral_s * 1e3:.0f} ms after the last command (bar {BAR_S * 1e3:.0f} ms), guard {state}, " + (
        "passed" if passed else f"FAILED (it drove at {drove:.2f})"
    )
    return {"neutral_s": neutral_s, "passed": passed, "text": words}
