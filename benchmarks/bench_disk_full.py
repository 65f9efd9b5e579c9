"""Fill the disk under a recording and count what is left.

    python benchmarks/bench_disk_full.py [--runs 20] [--seed 0]

On a file system of 4 MB (a tmpfs, so this takes Linux and root) 32 channels are
recorded with markers, while something else fills the disk in steps of its own.
Half of the runs have a second place to go on in. Exit status 1 if one accepted
sample or marker is missing or changed, if the alarm came later than 1 s after
the first chunk that did not fit, or if a file is not as its check file says.
"""

import argparse
import contextlib
import logging
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

N_CHANNELS, SFREQ = 32, 1000.0
LIMIT_S = 1.0


class Alarm(logging.Handler):
    """Keeps the time of the first error that names the fallback."""

    at_s: float | None = None

    def emit(self, entry: logging.LogRecord) -> None:
        if self.at_s is None and "goes on in" in entry.getMessage():
            self.at_s = time.monotonic()


def fill(recorder, hog: Path, rng: np.random.Generator) -> tuple[int, int, float, float]:
    """Record until it is refused, or 50 chunks into the fallback.

    Returns accepted samples and markers, when the first write that did not fit began, and when it was refused.
    """
    from bci.errors import RecordingError
    from bci.stream import Channel, Chunk, Event, StreamInfo

    info = StreamInfo("amp", SFREQ, tuple(Channel(f"c{k}") for k in range(N_CHANNELS)))
    stream, start, n_markers, left, full_s = recorder.add_stream(info), 0, 0, 50, None
    with open(hog, "ab", buffering=0) as other:
        while left:
            # Where it is full for the other one as well, the recorder has to find out by itself.
            with contextlib.suppress(OSError):
                other.write(bytes(int(rng.integers(0, 8000))))
            n = int(rng.integers(1, 60))
            number = start + np.arange(n)
            events = tuple(Event(start, start / SFREQ, str(n_markers + k)) for k in range(int(rng.integers(0, 3))))
            data = number[:, None] + np.arange(N_CHANNELS) / 64
            begun_s = time.monotonic()
            try:
                recorder.write(stream, Chunk(data, number / SFREQ, start, info, events))
            except RecordingError:
                return start, n_markers, begun_s, time.monotonic()
            start, n_markers = start + n, n_markers + len(events)
            if len(recorder.paths) > 1:
                full_s, left = full_s or begun_s, left - 1
    return start, n_markers, full_s or 0.0, float("inf")


def found_in(paths: list[Path]) -> tuple[int, int, list[str]]:
    """Return samples and markers that are there, and what is wrong with them."""
    import pyxdf

    from bci.acquisition.recorder.quality import sample_numbers
    from bci.acquisition.recorder.recover import open_complete
    from bci.acquisition.recorder.verify import examine

    wrong, samples, numbers, markers = [], [], [], []
    for path in paths:
        with open_complete(path) as file:
            streams, _ = pyxdf.load_xdf(file, synchronize_clocks=False, dejitter_timestamps=False)
        named = {s["info"]["name"][0]: s for s in streams}
        samples.append(named["amp"]["time_series"])
        lines = [row[0] for row in named["amp-quality"]["time_series"]]
        numbers.append(sample_numbers(lines, len(samples[-1])))
        markers += [row[0] for row in named["Markers"]["time_series"]] if "Markers" in named else []
        wrong += [f"{path.name}: {damage.what}" for damage in examine(path).damages]
    together, number = np.concatenate(samples), np.concatenate(numbers)
    expected = np.arange(len(together))
    if not np.array_equal(together, expected[:, None] + np.arange(N_CHANNELS) / 64):
        wrong.append("samples changed")
    if not np.array_equal(number, expected):
        wrong.append("sample numbers changed")
    if markers != [str(k) for k in range(len(markers))]:
        wrong.append("markers changed")
    return len(together), len(markers), wrong


def run_once(small: Path, spare: Path | None, rng: np.random.Generator) -> tuple[int, int, float, list[str]]:
    """Fill the disk once; return lost samples, lost markers, the delay of the alarm (s), and what is wrong."""
    from bci.acquisition.recorder.xdf_recorder import XdfRecorder

    alarm = Alarm()
    logging.getLogger("bci").addHandler(alarm)
    recorder = XdfRecorder(small / "run.xdf", {"what": "bench_disk_full"}, fallback=spare).open()
    try:
        accepted, n_markers, begun_s, refused_s = fill(recorder, small / "hog", rng)
    finally:
        recorder.close()
        logging.getLogger("bci").removeHandler(alarm)
    samples, markers, wrong = found_in(list(recorder.paths))
    if len(recorder.paths) != (1 if spare is None else 2):
        wrong.append(f"{len(recorder.paths)} files")
    delay_s = (refused_s if alarm.at_s is None else alarm.at_s) - begun_s
    return max(accepted - samples, 0), max(n_markers - markers, 0), delay_s, wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        print("not measured: mounting a small file system takes Linux and root")
        return 0
    logging.getLogger("bci").propagate = False  # the alarms are what is measured
    rng, lost, faults, longest_s = np.random.default_rng(options.seed), np.zeros(2, int), 0, 0.0
    for run in range(1, options.runs + 1):
        with tempfile.TemporaryDirectory() as folder:
            small, spare = Path(folder) / "small", Path(folder) / "spare"
            small.mkdir()
            spare.mkdir()
            subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(small)], check=True)
            try:
                second = spare if run % 2 == 0 else None
                samples, markers, delay_s, wrong = run_once(small, second, rng)
            finally:
                subprocess.run(["umount", str(small)], check=True)
        lost += np.array([samples, markers])
        longest_s, faults = max(longest_s, delay_s), faults + bool(wrong)
        print(f"run {run:3} {'with' if second else 'no  '} fallback: lost {samples} samples, {markers} markers, "
              f"alarm after {1e3 * delay_s:.1f} ms {'; '.join(wrong)}", flush=True)  # fmt: skip
    print(f"{options.runs} full disks: {lost[0]} samples and {lost[1]} markers lost, latest alarm "
          f"{1e3 * longest_s:.1f} ms, files with something wrong: {faults}")  # fmt: skip
    return 1 if lost.any() or faults or longest_s > LIMIT_S else 0


if __name__ == "__main__":
    sys.exit(main())
