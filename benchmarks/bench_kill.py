"""Kill a recording session at random moments and count what is left.

    python benchmarks/bench_kill.py [--kills 20] [--seed 0]

A child process records 32 channels at 1 kHz and 3 at 50 Hz in real time, with
markers and texts, and says after each accepted chunk how many samples, markers
and texts were accepted. It is killed (SIGKILL) at a random moment; its file is
opened with pyxdf, given to MNE, and held against its check file. Exit status 1
if one accepted sample, marker or text is missing or changed anywhere, or if
MNE has other samples or markers, or the check file does not fit.
"""

import argparse
import os
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

N_CHANNELS = 32
SFREQ, SLOW = 1000.0, 50.0
COUNTS = struct.Struct("<4Q")
WHAT = ("samples", "slow samples", "markers", "texts")


def record(path: str, ack: int) -> None:
    """Record for ever; write the numbers of accepted things to file descriptor `ack`."""
    from bci.acquisition.recorder.xdf_recorder import XdfRecorder
    from bci.stream import Channel, Chunk, Event, Kind, StreamInfo

    amp = StreamInfo("amp", SFREQ, tuple(Channel(f"c{k}") for k in range(N_CHANNELS)))
    imu = StreamInfo("imu", SLOW, tuple(Channel(n, Kind.ACCEL, "m/s^2") for n in "xyz"))
    rng = np.random.default_rng()
    with XdfRecorder(path, {"what": "bench_kill"}) as recorder:
        fast, slow, texts = recorder.add_stream(amp), recorder.add_stream(imu), recorder.add_text("Decisions")
        start = slow_start = n_markers = n_texts = 0
        begin_s = time.monotonic()
        while True:
            n = int(rng.integers(1, 40))
            time.sleep(max(0.0, begin_s + (start + n) / SFREQ - time.monotonic()))
            number = start + np.arange(n)
            # Several markers on one sample too, as triggers come in bursts.
            burst = int(rng.integers(1, 6)) if rng.random() < 0.3 else 0
            events = tuple(Event(start, start / SFREQ, str(n_markers + k)) for k in range(burst))
            data = number[:, None] + np.arange(N_CHANNELS) / 64
            recorder.write(fast, Chunk(data, number / SFREQ, start, amp, events))
            start, n_markers = start + n, n_markers + burst
            os.write(ack, COUNTS.pack(start, slow_start, n_markers, n_texts))
            slow_number = np.arange(slow_start, int(start / SFREQ * SLOW))
            recorder.write(slow, Chunk(np.repeat(slow_number[:, None], 3, 1).astype(np.float32),
                                       slow_number / SLOW, slow_start, imu))  # fmt: skip
            slow_start += len(slow_number)
            recorder.write_text(texts, start / SFREQ, str(n_texts))
            n_texts += 1
            os.write(ack, COUNTS.pack(start, slow_start, n_markers, n_texts))


def kill_once(path: Path, wait_s: float) -> tuple[tuple[int, ...], tuple[int, ...], list[str]]:
    """Return what was acknowledged, what was found, and what is wrong with it."""
    import pyxdf

    from bci.acquisition.recorder.recover import open_complete
    from bci.acquisition.recorder.verify import examine

    command = [sys.executable, __file__, "--child", str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        said = child.stdout.read(COUNTS.size)
        time.sleep(wait_s)
        child.kill()
        said += child.stdout.read()
    end = len(said) // COUNTS.size * COUNTS.size
    accepted = COUNTS.unpack(said[end - COUNTS.size : end])
    with open_complete(path) as file:
        streams, _ = pyxdf.load_xdf(file, synchronize_clocks=False, dejitter_timestamps=False)
    named = {s["info"]["name"][0]: s for s in streams}
    rows = [named[n]["time_series"] if n in named else [] for n in ("amp", "imu", "Markers", "Decisions")]
    wrong = []
    number = np.arange(len(rows[0]))
    if not np.array_equal(rows[0], number[:, None] + np.arange(N_CHANNELS) / 64) or not np.array_equal(
        named["amp"]["time_stamps"], number / SFREQ
    ):
        wrong.append("samples changed")
    if len(rows[1]) and not np.array_equal(rows[1][:, 0], np.arange(len(rows[1]))):
        wrong.append("slow samples changed")
    for what, texts in zip(("markers", "texts"), rows[2:], strict=True):
        if [row[0] for row in texts] != [str(k) for k in range(len(texts))]:
            wrong.append(f"{what} changed")
    wrong += in_mne(path, rows[0], [(t, r[0]) for t, r in zip(named["Markers"]["time_stamps"], rows[2], strict=True)])
    findings = examine(path)
    wrong += [damage.what for damage in findings.damages]
    return accepted, tuple(map(len, rows)), wrong


def in_mne(path: Path, samples: np.ndarray, markers: list[tuple[float, str]]) -> list[str]:
    """Return what MNE has that pyxdf has not."""
    from bci.acquisition.replay import Replay
    from bci.interop import to_raw

    chunks = []
    with Replay(path, stream="amp", chunk_s=1.0) as device:
        while not device.at_end:
            chunks.append(device.read(0.0))
    raw = to_raw(chunks)
    wrong = [] if np.allclose(raw.get_data().T * 1e6, samples, rtol=1e-12) else ["MNE has other samples"]
    found = sorted((round(a["onset"] * SFREQ), str(a["description"])) for a in raw.annotations)
    expected = sorted((round(at * SFREQ), text) for at, text in markers)
    # A kill within a write may leave the samples and events of the chunk that was not accepted yet, without markers.
    if found[: len(expected)] != expected or sorted(int(t) for _, t in found) != list(range(len(found))):
        wrong.append("MNE has other markers")
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        record(options.child, sys.stdout.fileno())
    totals, lost, faults = np.zeros(4, int), np.zeros(4, int), 0
    print(f"{'kill':>4} {'after s':>8} {'accepted':>9} {'found':>7} {'markers':>8} {'found':>7} {'lost':>5}")
    with tempfile.TemporaryDirectory() as folder:
        for k, wait_s in enumerate(np.random.default_rng(options.seed).uniform(0, 2, options.kills), 1):
            path = Path(folder) / f"{k}.xdf"
            accepted, found, wrong = kill_once(path, float(wait_s))
            missing = np.maximum(np.subtract(accepted, found), 0)
            totals, lost, faults = totals + accepted, lost + missing, faults + bool(wrong)
            print(f"{k:4} {wait_s:8.3f} {accepted[0]:9} {found[0]:7} {accepted[2]:8} {found[2]:7} {missing.sum():5} "
                  f"{'; '.join(wrong)}", flush=True)  # fmt: skip
    told = ", ".join(f"{n} of {total} {what}" for n, total, what in zip(lost, totals, WHAT, strict=True))
    print(f"lost in {options.kills} kills: {told}; files with something wrong: {faults}")
    return 1 if lost.any() or faults else 0


if __name__ == "__main__":
    sys.exit(main())
