"""Silence or death of a source to the loss event: killed, frozen, link down, unplugged; at most 250 ms in every trial.

The source is a process of its own that sends packets through a pseudo-terminal or a TCP connection; the reader is a
driver as one would write it for such an amplifier, read in steps of 20 ms as the session's loop does. The event is
`DeviceLost`, or a chunk flagged SILENT. Killed and frozen are signals to the source; unplugged closes its end of the
wire while it runs on; link down is a relay between the two that swallows everything and keeps the wire open.
"""

import argparse
import json
import logging
import os
import random
import select
import signal
import socket
import statistics
import struct
import subprocess
import sys
import time
import tty
from collections import deque
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from bci.acquisition.driver import Driver
from bci.acquisition.packets import PacketTracker
from bci.errors import DeviceLost
from bci.runtime.loop import READ_S
from bci.stream import Channel, Flag, StreamInfo

LIMIT_S = 0.25
SFREQ, PER_PACKET, N_CHANNELS = 250.0, 2, 4
FRAME = struct.Struct(f"<2sB{PER_PACKET * N_CHANNELS}i")
FAULTS = {"killed": signal.SIGKILL, "frozen": signal.SIGSTOP, "link down": signal.SIGUSR1, "unplugged": signal.SIGUSR2}

# Standard library only, so that a thousand of them start quickly.
SETTINGS = f"FORMAT, PER_PACKET, PERIOD_S = {FRAME.format!r}, {PER_PACKET}, {PER_PACKET / SFREQ}\n"
SOURCE = """
import os, signal, socket, struct, sys, time
wire, relayed = sys.argv[1], sys.argv[2] == "1"
if wire == "tcp":
    server = socket.create_server(("127.0.0.1", 0))
    print(server.getsockname()[1], flush=True)
    peer, _ = server.accept()
    server.close()
    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    out = peer.detach()
else:
    out = int(sys.argv[3])
    print(0, flush=True)
swallow = False
def down(*_):
    global swallow
    swallow = True
def pull(*_):
    os.close(out)
    time.sleep(60)
if relayed:
    source, relay = os.pipe()
    if os.fork():
        os.close(relay)
        signal.signal(signal.SIGUSR1, down)
        while data := os.read(source, 65536):
            if not swallow:
                os.write(out, data)
        sys.exit()
    os.close(out)
    os.close(source)
    out = relay
signal.signal(signal.SIGUSR2, pull)
frame = struct.Struct(FORMAT)
k, begin = 0, time.monotonic()
try:
    while True:
        values = [v for s in range(PER_PACKET) for v in (PER_PACKET * k + s, 1, 2, 3)]
        os.write(out, frame.pack(b"\\xa5\\x5a", k % 256, *values))
        k += 1
        time.sleep(max(0.0, begin + k * PERIOD_S - time.monotonic()))
except OSError:
    pass
"""


class Amplifier(Driver):
    """Frames of two samples with a counter, from a terminal or a socket. Channel 0 is the number of the sample."""

    def __init__(self, wire, relayed):
        super().__init__()
        self.wire, self.relayed = wire, relayed

    def _open(self):
        ends = os.openpty() if self.wire == "pty" else ()
        command = [
            sys.executable,
            "-S",
            "-E",
            "-c",
            SETTINGS + SOURCE,
            self.wire,
            "1" if self.relayed else "0",
            *map(str, ends[:1]),
        ]
        self.source = subprocess.Popen(command, stdout=subprocess.PIPE, pass_fds=ends[:1], start_new_session=True)
        if ends:
            os.close(ends[0])
            tty.setraw(ends[1])
        port = int(self.source.stdout.readline())
        self._fd = ends[1] if ends else socket.create_connection(("127.0.0.1", port)).detach()
        return StreamInfo("amplifier", SFREQ, [Channel(f"c{k}") for k in range(N_CHANNELS)])

    def _start(self):
        self._tracker = PacketTracker(SFREQ, samples_per_packet=PER_PACKET, reorder=0, first_counter=0)
        self._bytes, self._runs = b"", deque()

    def _read(self, timeout_s):
        now_s = self.clock.now()
        self._runs.extend(self._tracker.poll(now_s))
        until_s = min(timeout_s, max(0.0, self._tracker.due_s - now_s))
        if not self._runs and select.select([self._fd], [], [], until_s)[0]:
            self._take()
        return self._runs.popleft() if self._runs else None

    def _take(self):
        try:
            got = os.read(self._fd, 65536)
        except OSError as error:  # the terminal hung up, or the connection was reset
            raise DeviceLost(f"bytes of the amplifier were expected, got {error}; plug it in again") from error
        if not got:
            raise DeviceLost("bytes of the amplifier were expected, it closed the connection; switch it on again")
        self._bytes += got
        n = len(self._bytes) // FRAME.size
        frames = [FRAME.unpack_from(self._bytes, k * FRAME.size) for k in range(n)]
        self._bytes = self._bytes[n * FRAME.size :]
        if frames:
            data = np.array([f[2:] for f in frames], dtype=np.float64).reshape(-1, N_CHANNELS)
            arrivals = np.full(n, self.clock.now())
            self._runs.extend(self._tracker.push(np.array([f[1] for f in frames]), data, arrivals))

    def _stop(self):
        return

    def _close(self):
        os.close(self._fd)
        os.killpg(self.source.pid, signal.SIGKILL)
        self.source.wait()
        self.source.stdout.close()


def trial(job):
    """Return (fault, wire, s from the fault to the event, samples that carried a wrong number, voided trials)."""
    number, fault, wire = job
    rng, voided = random.Random(number), 0
    while True:
        with Amplifier(wire, relayed=fault == "link down") as device:
            until_s, wrong, early = time.monotonic() + rng.uniform(0.15, 0.4), 0, False
            while time.monotonic() < until_s:
                chunk = device.read(READ_S)
                wrong += int((chunk.data[:, 0] != np.arange(chunk.start, chunk.stop)).sum())
                early = early or bool(chunk.flags & Flag.SILENT)
            if early and voided < 20:  # the source itself got no processor for so long: its silence was real
                voided += 1
                continue
            begin_s = time.monotonic()
            os.kill(device.source.pid, FAULTS[fault])
            return fault, wire, waited(device, begin_s), wrong, voided


def waited(device, begin_s):
    while time.monotonic() < begin_s + 5.0:
        try:
            if device.read(READ_S).flags & Flag.SILENT:
                break
        except DeviceLost:
            break
    return time.monotonic() - begin_s


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--at-once", type=int, default=4)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    logging.disable(logging.WARNING)
    ways = [(fault, wire) for fault in FAULTS for wire in ("pty", "tcp")]
    jobs = [(k, *ways[k % len(ways)]) for k in range(given.trials)]
    with ThreadPoolExecutor(given.at_once) as pool:
        results = list(pool.map(trial, jobs))
    late = sum(s > LIMIT_S for _, _, s, _, _ in results)
    wrong, voided = sum(r[3] for r in results), sum(r[4] for r in results)
    table = {
        f"{fault}, {wire}": {
            "n": len(found),
            "median_ms": 1e3 * statistics.median(found),
            "longest_ms": 1e3 * max(found),
        }
        for fault, wire in ways
        if (found := [s for f, w, s, _, _ in results if (f, w) == (fault, wire)])
    }
    if given.json:
        print(json.dumps({"trials": len(results), "late": late, "wrong_numbers": wrong, "voided": voided, **table}))
    else:
        for name, row in table.items():
            print(
                f"{name:<16} {row['n']:>4} trials, median {row['median_ms']:.0f} ms, longest {row['longest_ms']:.0f} ms"
            )
        print(
            f"{len(results) - late} of {len(results)} within {1e3 * LIMIT_S:.0f} ms; {wrong} samples with a wrong "
            f"number; {voided} trials begun again because the source paused by itself"
        )
    return 1 if late or wrong else 0


if __name__ == "__main__":
    sys.exit(main())
