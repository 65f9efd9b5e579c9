"""1024 channels at 30 kHz from a driver through the recorder, a chain and a window to a decoder: nothing may be lost.

An amplifier (a process of its own) writes 16-bit samples into shared memory at the pace of its clock, with the number
of the sample in channel 0. The loop is the session's: read, record, spiking-band power at 100 Hz, window, linear
decoder. Afterwards the file is read again: every sample must be there once, and packets picked at random must have
the hash of what was sent. Fails if anything is lost, or if the loop falls behind.
"""

import argparse
import hashlib
import multiprocessing
import resource
import struct
import sys
import tempfile
import time
from multiprocessing import shared_memory
from pathlib import Path

import numpy as np

from bci.acquisition.driver import Driver, Samples
from bci.acquisition.recorder.xdf_recorder import XdfRecorder
from bci.runtime.calm import calm
from bci.runtime.loop import Loop
from bci.signal.filters import Highpass
from bci.signal.pipeline import Pipeline
from bci.signal.power import BinPower
from bci.signal.spatial import Reference
from bci.stream import Channel, Kind, StreamInfo
from bci.trial import Slide

PACKET_S, RING_S = 0.01, 4.0
MOST_BEHIND_S = 1.0
SPOTS = 200


def noise(packet, n_channels):
    """What every packet holds; channel 0 is then overwritten by the number of the sample."""
    return np.random.default_rng(0).normal(0, 200, (packet, n_channels)).astype(np.int16)


def number(first, n):
    return (np.arange(first, first + n) & 0x7FFF).astype(np.int16)


def truth(first, table):
    """The packet whose first sample is `first`: its rows are rotated, so that no two that follow are alike."""
    rows = np.roll(table, first // len(table) % 97, axis=0)
    rows[:, 0] = number(first, len(table))
    return rows


def amplify(name, shape, packet, sfreq, begin, told):
    """Write packets into the ring at their time and tell how many there are."""
    memory = shared_memory.SharedMemory(name)
    ring = np.ndarray(shape, np.int16, memory.buf)
    table = noise(packet, shape[1])
    begin.wait()
    begin_s, n = time.monotonic(), 0
    told.send(begin_s)
    while begin.is_set():
        n += packet
        slots = slice((n - packet) % shape[0], (n - packet) % shape[0] + packet)
        shift = (n - packet) // packet % 97
        ring[slots][shift:] = table[: packet - shift]
        ring[slots][:shift] = table[packet - shift :]
        ring[slots, 0] = number(n - packet, packet)
        time.sleep(max(0.0, begin_s + n / sfreq - time.monotonic()))
        told.send(n)
    told.send(-n)
    memory.close()


class Amplifier(Driver):
    """The other end: waits on the pipe, copies what is new, and counts what was overwritten before it came."""

    def __init__(self, n_channels, sfreq):
        super().__init__()
        self.n_channels, self.sfreq, self.packet = n_channels, sfreq, round(PACKET_S * sfreq)
        self.behind = []

    def _open(self):
        self.shape = (round(RING_S / PACKET_S) * self.packet, self.n_channels)
        self.memory = shared_memory.SharedMemory(create=True, size=2 * self.shape[0] * self.shape[1])
        self.ring = np.ndarray(self.shape, np.int16, self.memory.buf)
        self.ring[:] = 0  # touch every page before it is in a hurry
        context = multiprocessing.get_context("spawn")
        self.told, other = context.Pipe(duplex=False)
        self.begin = context.Event()
        args = (self.memory.name, self.shape, self.packet, self.sfreq, self.begin, other)
        self.process = context.Process(target=amplify, args=args, daemon=True)
        self.process.start()
        channels = [Channel("n", Kind.TRIG, ""), *(Channel(f"c{k}", scale=0.195) for k in range(1, self.n_channels))]
        return StreamInfo("array", self.sfreq, channels, "simulated")

    def _start(self):
        self.begin.set()
        self.begin_s = self.told.recv()
        self.taken = self.there = 0
        self.sent = None

    def _read(self, timeout_s):
        if not self._hear(timeout_s):
            return None
        size = self.shape[0]
        lost = max(0, self.there - size + self.packet - self.taken)  # the packet being written counts as gone
        first = self.taken + lost
        n = min(self.there - first, size - first % size, round(0.1 * self.sfreq))
        data = self.ring[first % size : first % size + n].copy()
        self.taken = first + n
        self.behind.append((self.there - self.taken) / self.sfreq)
        return Samples(data, self.begin_s + np.arange(first + 1, first + n + 1) / self.sfreq, lost, cause="overrun")

    def _hear(self, timeout_s):
        """Take what the amplifier has told; wait only if nothing is there to read."""
        while self.sent is None and self.told.poll(0.0 if self.there > self.taken else timeout_s):
            count = self.told.recv()
            self.there = abs(count)
            if count < 0:
                self.sent = -count
                break
        return self.there > self.taken

    def _stop(self):
        self.begin.clear()

    def _close(self):
        self.begin.clear()
        self.process.join(5)
        del self.ring
        self.memory.close()
        self.memory.unlink()


def decode(seconds, path, n_channels, sfreq):
    """Run the loop; return the driver and what it took."""
    device = Amplifier(n_channels, sfreq)
    pipeline = Pipeline([Highpass(300.0, order=2), Reference(), BinPower(0.01)], Slide(0.5, 0.02))
    loop = Loop(device, pipeline, None if path is None else XdfRecorder(path))
    loop.open()
    weights = np.random.default_rng(1).standard_normal((2, n_channels * 50))
    spent, decisions, oldest_s = {}, 0, 0.0
    used = resource.getrusage(resource.RUSAGE_SELF)
    try:
        loop.start()
        begin_s = time.monotonic()
        with calm():
            for turn in loop.turns():
                begin = time.perf_counter()
                for cut in turn.cuts:
                    (weights @ cut.chunk.data.ravel()).argmax()
                    decisions += 1
                    oldest_s = max(oldest_s, time.monotonic() - float(cut.chunk.times[-1]))
                turn.stages["decode"] = time.perf_counter() - begin
                for stage, took_s in turn.stages.items():
                    spent[stage] = spent.get(stage, 0.0) + took_s
                if device.begin.is_set() and time.monotonic() - begin_s >= seconds:
                    device.begin.clear()  # the amplifier stops; what it has sent is still to be read
                if device.sent is not None and device.taken >= device.sent:
                    break
        wall_s = time.monotonic() - begin_s
    finally:
        loop.close()
    cpu = resource.getrusage(resource.RUSAGE_SELF)
    cpu_s = cpu.ru_utime + cpu.ru_stime - used.ru_utime - used.ru_stime
    return device, {"wall": wall_s, "cpu": cpu_s, "decisions": decisions, "oldest": oldest_s, "spent": spent}


def recorded(path):
    """Yield the rows of all sample chunks of the (one) numeric stream with int16 samples."""
    with open(path, "rb") as file:
        assert file.read(4) == b"XDF:"
        signal = None
        while (size := file.read(1)) != b"":
            length = int.from_bytes(file.read(size[0]), "little")
            tag, stream = struct.unpack("<HI", (head := file.read(min(6, length))).ljust(6, b"\0"))
            if tag == 2 and b"<channel_format>int16" in (text := file.read(length - 6)):
                signal = stream, int(text.split(b"<channel_count>")[1].split(b"<")[0])
            elif tag == 3 and signal is not None and stream == signal[0]:
                content = file.read(length - 6)
                n_bytes = content[0]
                n = int.from_bytes(content[1 : 1 + n_bytes], "little")
                yield rows_of(content[1 + n_bytes :], n, signal[1])
            elif tag != 2:
                file.seek(length - len(head), 1)


def rows_of(content, n, n_channels):
    """Decode samples that all have a time stamp, or that have one now and then."""
    stamped = np.dtype([("size", "u1"), ("time", "<f8"), ("row", "<i2", (n_channels,))])
    if len(content) == n * stamped.itemsize:
        return np.frombuffer(content, stamped)["row"]
    rows, at = np.empty((n, n_channels), np.int16), 0
    for k in range(n):
        at += 1 + content[at]
        rows[k] = np.frombuffer(content, "<i2", n_channels, at)
        at += 2 * n_channels
    return rows


def verify(path, device):
    """Return how many samples the file holds in unbroken order, and how many of the packets picked have their hash."""
    table = noise(device.packet, device.n_channels)
    n_packets = device.taken // device.packet
    picked = set(np.random.default_rng(2).integers(0, n_packets, SPOTS).tolist())
    right, n, kept = 0, 0, np.empty((0, device.n_channels), np.int16)
    for rows in recorded(path):
        if not np.array_equal(rows[:, 0], number(n + len(kept), len(rows))):
            return n, right, len(picked)
        kept = np.concatenate([kept, rows]) if len(kept) else rows
        while len(kept) >= device.packet:
            if n // device.packet in picked:
                sent = hashlib.sha256(np.ascontiguousarray(truth(n, table))).digest()
                right += hashlib.sha256(np.ascontiguousarray(kept[: device.packet])).digest() == sent
            kept, n = kept[device.packet :], n + device.packet
    return n + len(kept), right, len(picked)


def report(device, took, sfreq):
    busy_s = sum(s for stage, s in took["spent"].items() if stage != "read")
    per_s = device.n_delivered / sfreq
    print(f"{'stage':<10}{'share of real time':>20}")
    for stage, spent_s in took["spent"].items():
        if stage != "read":
            print(f"{stage:<10}{spent_s / per_s:>19.1%}")
    print(f"{'together':<10}{busy_s / per_s:>19.1%}   (CPU, with reading: {took['cpu'] / per_s:.0%} of one core)")
    print(f"{device.n_delivered} samples in {took['wall']:.1f} s, lost {device.n_lost}, {took['decisions']} decisions")
    behind = max(device.behind)
    print(f"behind by at most {1e3 * behind:.0f} ms, at the end {1e3 * device.behind[-1]:.0f} ms; oldest decision "
          f"{1e3 * took['oldest']:.0f} ms after its newest sample")  # fmt: skip
    return behind


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--channels", type=int, default=1024)
    parser.add_argument("--sfreq", type=float, default=30_000.0)
    parser.add_argument("--folder", help="where the file (61 MB/s) goes; a temporary folder by default")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        path = Path(folder) / "array.xdf"
        device, took = decode(arguments.seconds, path, arguments.channels, arguments.sfreq)
        behind = report(device, took, arguments.sfreq)
        print(f"file of {path.stat().st_size / 1e9:.2f} GB; reading it again ...", flush=True)
        n, right, picked = verify(path, device)
    print(f"in the file: {n} of {device.sent} samples in unbroken order, {right} of {picked} packets with their hash")
    kept = device.n_lost == 0 and device.n_delivered == device.sent == n and right == picked
    print("nothing lost" if kept else "LOST SAMPLES", "and" if kept else "or", end=" ")
    print("kept up" if behind < MOST_BEHIND_S else "FELL BEHIND")
    return 0 if kept and behind < MOST_BEHIND_S else 1


if __name__ == "__main__":
    sys.exit(main())
