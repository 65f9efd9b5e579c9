"""What this computer is like for a session: clock, disk, timing, rights, network, boards."""

from __future__ import annotations

import contextlib
import glob
import importlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bci.errors import BciError

Check = dict[str, Any]

LSL_PORTS = "UDP 16571 and TCP and UDP 16572-16699"
"""What LSL uses as we configure it (its own default is 16572-16604): discovery, then data and time."""
_GROUP = "224.0.0.183"  # the group in which LSL looks for streams of the same network
_LEAST_FREE_GB, _LEAST_MB_S, _MOST_FSYNC_S = 1.0, 5.0, 0.25
_MOST_LATE_S, _MOST_SLEW = 0.01, 1e-3
_BOARD_S = 5.0


def check(what: str, ok: bool, found: str, fix: str = "", needed: bool = True) -> Check:
    """Return one finding: what was looked at, whether it is well, what was found, and what to do if it is not."""
    return {"what": what, "ok": ok, "needed": needed, "found": found, "fix": "" if ok else fix}


# ------------------------------------------------------------------ clock and processor
def clock() -> Check:
    """Whether the monotonic clock is fine enough, and goes as fast as the wall clock."""
    resolution = time.get_clock_info("monotonic").resolution
    begin = time.monotonic(), time.time()
    time.sleep(0.5)
    spent, wall = time.monotonic() - begin[0], time.time() - begin[1]
    slew = wall / spent - 1
    ok = resolution <= 1e-3
    found = f"resolution {resolution:g} s"
    if abs(slew) > _MOST_SLEW:  # what steers is monotonic; recordings of other machines are matched by wall time
        found += f"; the wall clock is being set just now ({1e3 * (wall - spent):+.1f} ms in {spent:.1f} s)"
    return check("monotonic clock", ok, found, "use a machine whose monotonic clock is finer than 1 ms")


def time_service() -> Check:
    """Whether something keeps the wall clock right; it dates recordings."""
    answer = ""
    if shutil.which("timedatectl"):
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            command = ["timedatectl", "show", "-p", "NTPSynchronized", "--value"]
            answer = subprocess.run(command, capture_output=True, text=True, timeout=1.0).stdout.strip()
    if answer in ("yes", "no"):
        fix = "timedatectl set-ntp true, so that dates of recordings are right; samples are not affected"
        found = "kept right by a time service" if answer == "yes" else "no time service"
        return check("wall clock", answer == "yes", found, fix, needed=False)
    return check("wall clock", True, "not known who keeps it right; it only dates recordings", needed=False)


def timing() -> Check:
    """How late this process wakes up from a short sleep."""
    late = []
    for _ in range(100):
        begin = time.perf_counter()
        time.sleep(1e-3)
        late.append(time.perf_counter() - begin - 1e-3)
    worst_s = sorted(late)[-2]  # a single one may be anything
    found = f"wakes up to {1e3 * worst_s:.1f} ms late"
    return check("timing", worst_s <= _MOST_LATE_S, found, "end other programs, or give the loop a core", needed=False)


def governor() -> Check:
    """Whether the processor is allowed to run at full speed."""
    kinds = set()
    for path in glob.glob("/sys/devices/system/cpu/cpu*/cpufreq/scaling_governor"):
        with contextlib.suppress(OSError):
            kinds.add(Path(path).read_text().strip())
    slow = sorted(kinds & {"powersave", "ondemand", "conservative"})
    found = f"governor {', '.join(sorted(kinds))}" if kinds else "its governor is not shown here"
    fix = "sudo cpupower frequency-set -g performance, so that it need not wake up first"
    return check("processor speed", not slow, found, fix, needed=False)


def real_time() -> Check:
    """Whether the guard may ask for real-time priority."""
    try:
        import resource
    except ImportError:
        return check("real-time rights", True, "not needed on this system", needed=False)
    most = getattr(resource, "RLIMIT_RTPRIO", None)
    ok = os.geteuid() == 0 or (most is not None and resource.getrlimit(most)[0] != 0)
    found = "the guard may have priority" if ok else "none; the guard runs as any program"
    fix = "put '@audio - rtprio 95' into /etc/security/limits.d/bci.conf, join the group audio, log in again"
    return check("real-time rights", ok or sys.platform != "linux", found, fix, needed=False)


def cores() -> Check:
    """Whether loop, guard and window need not share one core."""
    n = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    found = f"{n} cores; the loop, the guard and a window each want one"
    return check("processor", n >= 2, found, "use a machine, or a share of one, with two cores or more")


# ------------------------------------------------------------------ disk
def space() -> Check:
    """Whether recordings fit here."""
    free_gb = shutil.disk_usage(os.getcwd()).free / 1e9
    found = f"{free_gb:.0f} GB free here"
    return check("disk for recordings", free_gb > _LEAST_FREE_GB, found, "free some space, or record to another disk")


def writing() -> Check:
    """Whether this folder takes samples fast and for good: speed of writing, time of ``fsync``."""
    folder = os.getcwd()
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".bci-doctor-") as file:
            block, begin = os.urandom(1 << 20), time.perf_counter()
            for _ in range(16):
                file.write(block)
            file.flush()
            os.fsync(file.fileno())
            mb_s = 16 / (time.perf_counter() - begin)
            waits = [_fsync(file) for _ in range(5)]
    except OSError as error:
        return check("folder for recordings", False, f"{folder} cannot be written to ({error.strerror})",
                     "change to a folder of your own, or mend its rights")  # fmt: skip
    worst_s = max(waits)
    found = f"{mb_s:.0f} MB/s, fsync within {1e3 * worst_s:.0f} ms"
    fix = "record to a local disk; this one is slow, and a recorder that waits for it delays the loop"
    return check("folder for recordings", mb_s >= _LEAST_MB_S and worst_s <= _MOST_FSYNC_S, found, fix, needed=False)


def _fsync(file: Any) -> float:
    file.write(bytes(4096))
    file.flush()
    begin = time.perf_counter()
    os.fsync(file.fileno())
    return time.perf_counter() - begin


# ------------------------------------------------------------------ network
def multicast() -> Check:
    """Whether a multicast message of this machine comes back to it: how LSL streams of other machines are found."""
    fix = f"for LSL between machines use a network that allows multicast; let {LSL_PORTS} through the firewall"
    text = os.urandom(8)
    try:
        with (
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ear,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mouth,
        ):
            ear.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            ear.bind(("", 0))  # a port of our own: LSL programs shall not hear this
            member = socket.inet_aton(_GROUP) + socket.inet_aton("0.0.0.0")
            ear.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, member)
            ear.settimeout(0.5)
            mouth.sendto(text, (_GROUP, ear.getsockname()[1]))
            ok = ear.recv(64) == text
    except OSError as error:
        found = f"a message to {_GROUP} did not come back ({error.strerror or error})"
        return check("multicast", False, found, fix, needed=False)
    return check("multicast", ok, "a message comes back", fix, needed=False)


def lsl_loop() -> Check:
    """Whether an own LSL stream is found and read here."""
    from bci.acquisition.lsl_local import SCOPE, is_local, load_pylsl

    fix = f"let {LSL_PORTS} through the firewall{_firewalls()}, and give the loopback interface multicast"
    try:
        lsl = load_pylsl()
    except BciError as error:
        return check("LSL", False, str(error), "pip install pylsl", needed=False)
    name = f"bci-doctor-{os.getpid()}"
    outlet = lsl.StreamOutlet(lsl.StreamInfo(name, "Test", 1, 100.0, "float32", name))
    begin = time.perf_counter()
    found = lsl.resolve_byprop("source_id", name, 1, 3.0)
    if not found:
        return check("LSL", False, "an own stream was not found within 3 s", fix, needed=False)
    found_s = time.perf_counter() - begin
    inlet = lsl.StreamInlet(found[0], recover=False)
    try:
        inlet.open_stream(timeout=2.0)
        outlet.wait_for_consumers(1.0)
        outlet.push_sample([1.0])
        sample, _ = inlet.pull_sample(timeout=1.0)
    except (TimeoutError, lsl.LostError) as error:
        said = f"an own stream was found but not read ({type(error).__name__})"
        return check("LSL", False, said, fix, needed=False)
    finally:
        inlet.close_stream()
    reach = f"streams of this machine only ({SCOPE}=network widens)" if is_local() else "streams of the network too"
    words = f"an own stream was found in {found_s:.1f} s and read; {reach}"
    return check("LSL", sample == [1.0], words, fix, needed=False)


def firewall() -> Check:
    """Whether a firewall is on that may keep LSL from other machines; what crosses it cannot be tried from here."""
    seen = _firewalls()
    said = "one is on: LSL streams of other machines may not come through" if seen else "none was seen"
    return check("firewall", not seen, said, f"let {LSL_PORTS} through{seen}", needed=False)


def _firewalls() -> str:
    """Return which firewall seems to be on, in brackets; "" if none is seen."""
    seen = []
    with contextlib.suppress(OSError):
        if "ENABLED=yes" in Path("/etc/ufw/ufw.conf").read_text():
            seen.append("ufw: sudo ufw allow 16571:16699/udp; sudo ufw allow 16572:16699/tcp")
    if Path("/run/firewalld").is_dir():
        seen.append("firewalld: sudo firewall-cmd --add-port=16571-16699/udp --add-port=16572-16699/tcp")
    return f" ({'; '.join(seen)})" if seen else ""


# ------------------------------------------------------------------ boards
def board() -> Check:
    """Whether BrainFlow's synthetic board delivers; its library can hang, so it is given a time."""
    answer: list[str] = []
    thread = threading.Thread(target=lambda: answer.append(_try_board()), daemon=True)
    thread.start()
    thread.join(_BOARD_S)
    said = answer[0] if answer else f"no answer within {_BOARD_S:g} s"
    fix = "pip install --force-reinstall brainflow 'setuptools<81'; on Linux it needs libstdc++ and libbluetooth"
    return check("BrainFlow", said.startswith("samples"), said, fix, needed=False)


def _try_board() -> str:
    from bci.acquisition.brainflow_board import BrainFlowBoard

    try:
        with BrainFlowBoard("synthetic") as device:
            begin = time.monotonic()
            while time.monotonic() - begin < 2.0:
                if device.read(0.2).n_samples:
                    return f"samples of the synthetic board after {time.monotonic() - begin:.1f} s"
    except (BciError, ImportError, OSError) as error:
        return f"the synthetic board does not open: {error}"
    return "the synthetic board opens but delivers nothing within 2 s"


def serial_ports() -> Check:
    """Whether the serial ports that are plugged in may be used."""
    try:
        ports = [p.device for p in importlib.import_module("serial.tools.list_ports").comports()]
    except ImportError:
        ports = sorted(glob.glob("/dev/ttyUSB*") + glob.glob("/dev/ttyACM*"))
    locked = [p for p in ports if os.path.exists(p) and not os.access(p, os.R_OK | os.W_OK)]
    found = f"no right to use {', '.join(locked)}" if locked else ", ".join(ports) or "none is plugged in"
    fix = "join the group that owns them (Debian: sudo usermod -a -G dialout $USER), then log in again"
    return check("serial ports", not locked, found, fix, needed=False)


CHECKS: tuple[Callable[[], Check], ...] = (
    clock, time_service, cores, timing, governor, real_time, space, writing, multicast, firewall, lsl_loop, board,
    serial_ports,
)  # fmt: skip
"""All of these, in order."""
