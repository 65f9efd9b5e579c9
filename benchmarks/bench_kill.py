"""Kill a recording session at random moments and count what is left.

    python benchmarks/bench_kill.py [--kills 20] [--seed 0]

A child process records 32 channels at 1 kHz in real time, with markers and
decisions, and says after each accepted chunk how many samples were accepted.
It is killed (SIGKILL) at a random moment, and its file is opened with pyxdf.
Exit status 1 if one accepted sample is missing or changed anywhere.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

N_CHANNELS = 32
SFREQ = 1000.0


def record(path: str, ack: int) -> None:
    """Record for ever; write the number of accepted samples to file descriptor `ack`."""
    from bci.acquisition.recorder.xdf_recorder import XdfRecorder
    from bci.stream import Channel, Chunk, Event, StreamInfo

    info = StreamInfo("amp", SFREQ, tuple(Channel(f"c{k}") for k in range(N_CHANNELS)))
    rng = np.random.default_rng()
    with XdfRecorder(path, {"what": "bench_kill"}) as recorder:
        stream, decisions = recorder.add_stream(info), recorder.add_text("Decisions")
        start, begin_s = 0, time.monotonic()
        while True:
            n = int(rng.integers(1, 40))
            time.sleep(max(0.0, begin_s + (start + n) / SFREQ - time.monotonic()))
            number = start + np.arange(n)
            data = number[:, None] + np.arange(N_CHANNELS) / 64
            events = (Event(start, start / SFREQ, str(start)),) if rng.random() < 0.2 else ()
            recorder.write(stream, Chunk(data, number / SFREQ, start, info, events))
            start += n
            os.write(ack, start.to_bytes(8, "little"))
            recorder.write_text(decisions, start / SFREQ, f'{{"stop": {start}}}')


def kill_once(path: Path, wait_s: float) -> tuple[int, int, bool]:
    """Return samples acknowledged, samples found, and whether every found one is right."""
    import pyxdf

    from bci.acquisition.recorder.recover import open_complete

    command = [sys.executable, __file__, "--child", str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        said = child.stdout.read(8)
        time.sleep(wait_s)
        child.kill()
        said += child.stdout.read()
    acknowledged = int.from_bytes(said[len(said) // 8 * 8 - 8 : len(said) // 8 * 8], "little")
    with open_complete(path) as file:
        streams, _ = pyxdf.load_xdf(file, synchronize_clocks=False, dejitter_timestamps=False)
    amp = next(s for s in streams if s["info"]["name"] == ["amp"])
    number = np.arange(len(amp["time_series"]))
    right = np.array_equal(amp["time_series"], number[:, None] + np.arange(N_CHANNELS) / 64)
    return acknowledged, len(number), right and np.array_equal(amp["time_stamps"], number / SFREQ)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        record(options.child, sys.stdout.fileno())
    lost = 0
    print(f"{'kill':>4} {'after s':>8} {'accepted':>9} {'found':>7} {'lost':>5}")
    with tempfile.TemporaryDirectory() as folder:
        for k, wait_s in enumerate(np.random.default_rng(options.seed).uniform(0, 2, options.kills), 1):
            accepted, found, right = kill_once(Path(folder) / f"{k}.xdf", float(wait_s))
            missing = max(accepted - found, 0) if right else accepted
            lost += missing
            print(f"{k:4} {wait_s:8.3f} {accepted:9} {found:7} {missing:5}{'' if right else '  samples changed'}")
    print("nothing lost" if not lost else f"LOST {lost} samples", f"in {options.kills} kills")
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())
