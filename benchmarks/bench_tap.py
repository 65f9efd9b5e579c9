"""Hop to another process: from the chunk in the session to the chunk in a reader of the tap, asleep until it comes.

1024 channels of float32, 30 samples every millisecond, for some seconds. A chunk carries the time at which it was
offered; the reader, a process of its own, notes when it has the chunk, which is a copy of its own then. Figure:
median at most 80 us. Beside it the least that a hop costs here: one byte through a pipe to a reader that sleeps.
"""

import argparse
import multiprocessing
import os
import sys
import time

import numpy as np

from bci.runtime.tap import Tap, connect
from bci.stream import Channel, Chunk, StreamInfo

N_CHANNELS, SFREQ, CHUNK = 1024, 30_000.0, 30
LIMIT_US = 80.0
WARM_UP = 0.25


def watch(address, n, out):
    """Read `n` chunks; send the time each took, the chunks lost, and the share of a core."""
    reader = connect(address)
    delays, dropped, begin = [], 0, (time.perf_counter(), time.process_time())
    while not reader.at_end:
        reader.wait(1.0)
        for chunk in reader.read():
            now = time.perf_counter()
            if chunk.n_samples:
                delays.append((now - chunk.times[0], chunk.data[0, 0] == chunk.start % 1000))
        dropped = reader.dropped
    busy = (time.process_time() - begin[1]) / (time.perf_counter() - begin[0])
    out.send((delays, dropped, busy))


def tap(seconds):
    """Return (delays in s, chunks lost, wrong ones, share of a core of session and reader)."""
    info = StreamInfo("amp", SFREQ, tuple(Channel(f"E{k}") for k in range(N_CHANNELS)))
    served = Tap()
    address = served.serve(info)
    here, there = multiprocessing.Pipe(False)
    n = round(seconds * SFREQ / CHUNK)
    child = multiprocessing.get_context("spawn").Process(target=watch, args=(address, n, there))
    child.start()
    while not served.n_readers:
        served.offer(Chunk.empty(info, 0))
        time.sleep(0.005)
    pool = np.zeros((16, CHUNK, N_CHANNELS), np.float32)
    spent, begin = [], time.perf_counter() + 0.05
    for k in range(n):
        time.sleep(max(0.0, begin + k * CHUNK / SFREQ - time.perf_counter()))
        data = pool[k % 16]
        data[:] = k * CHUNK % 1000  # as a device would just have delivered it
        times = np.zeros(CHUNK)
        chunk = Chunk(data, times, k * CHUNK, info)
        times[:] = now = time.perf_counter()
        served.offer(chunk)
        spent.append(time.perf_counter() - now)
    time.sleep(0.1)
    served.close()
    delays, dropped, busy = here.recv()
    child.join()
    times = np.array([delay for delay, _ in delays])
    wrong = sum(not right for _, right in delays)
    return times[round(WARM_UP * len(times)) :], n - len(times), wrong, float(np.median(spent)), busy, dropped


def pipe(seconds):
    """Return the delays of one byte to a process that sleeps, s."""
    come, go = os.pipe()
    here, there = multiprocessing.Pipe(False)
    child = multiprocessing.get_context("fork").Process(target=_byte, args=(come, there))
    child.start()
    sent = []
    for k in range(round(seconds * SFREQ / CHUNK)):
        time.sleep(CHUNK / SFREQ)
        sent.append(time.perf_counter())
        os.write(go, b"1" if k < round(seconds * SFREQ / CHUNK) - 1 else b"0")
    got = here.recv()
    child.join()
    return np.array(got) - np.array(sent)


def _byte(come, out):
    got = []
    while True:
        word = os.read(come, 1)
        got.append(time.perf_counter())
        if word == b"0":
            break
    out.send(got)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--repeat", type=int, default=3)
    given = parser.parse_args()
    every, lost = [], 0
    for _ in range(given.repeat):
        least = pipe(min(2.0, given.seconds))
        times, missing, wrong, spent, busy, dropped = tap(given.seconds)
        every.append(np.median(times))
        lost += missing + wrong
        print(
            f"tap median {1e6 * np.median(times):.0f} us  p99 {1e6 * np.quantile(times, 0.99):.0f} us  lost {missing} "
            f"(told {dropped})  wrong {wrong}  offer {1e6 * spent:.0f} us  reader {100 * busy:.0f} % of a core  "
            f"| one byte through a pipe {1e6 * np.median(least):.0f} us"
        )
    median = 1e6 * float(np.median(every))
    ok = median <= LIMIT_US
    verdict = "passed" if ok else "FAILED"
    print(f"hop of {CHUNK} x {N_CHANNELS} float32 every ms: {median:.0f} us, at most {LIMIT_US:.0f}: {verdict}")
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
