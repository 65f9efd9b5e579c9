"""Measure what recording costs: 1024 channels at 30 kHz, and 64 at 1 kHz with and without the check file.

    python benchmarks/bench_recorder.py [--seconds 10] [--folder .]

int16 from 10 ms chunks (61 MB/s) in real time, and doubles from 40 ms chunks.
Every sample is then counted and held against the check file. Exit status 1 if
the fast one takes more than 40 % of a core, falls behind, or lost a sample.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

LIMIT = 0.40


def record(path: Path, n_channels: int, sfreq: float, dtype: type, chunk_s: float, seconds: float, check: bool) -> dict:
    """Record in real time; return the share of a core, and how long writes took, s."""
    from bci.acquisition.recorder.xdf_recorder import XdfRecorder
    from bci.stream import Channel, Chunk, StreamInfo

    scale = 0.195 if dtype is np.int16 else 1.0
    info = StreamInfo("amp", sfreq, tuple(Channel(f"c{k}", scale=scale) for k in range(n_channels)))
    n, rng = round(chunk_s * sfreq), np.random.default_rng(0)
    data = [rng.integers(-3000, 3000, (n, n_channels)).astype(dtype) for _ in range(20)]
    took = []
    with XdfRecorder(path, check=check) as recorder:
        stream, begin_s, cpu_s = recorder.add_stream(info), time.monotonic(), time.process_time()
        for k in range(round(seconds / chunk_s)):
            time.sleep(max(0.0, begin_s + (k + 1) * chunk_s - time.monotonic()))
            at_s = time.perf_counter()
            recorder.write(stream, Chunk(data[k % 20], (k * n + np.arange(n)) / sfreq, k * n, info))
            took.append(time.perf_counter() - at_s)
        behind_s, used_s = time.monotonic() - begin_s - seconds, time.process_time() - cpu_s
    return {
        "share": used_s / seconds,
        "behind_s": behind_s,
        "took": np.quantile(took, [0.5, 0.99, 1]),
        "n": (k + 1) * n,
    }


def main() -> int:
    from bci.acquisition.recorder.summary import summarize
    from bci.acquisition.recorder.verify import examine

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--folder", type=Path, default=None, help="where to record; the temporary folder by default")
    options = parser.parse_args()
    failed = False
    for n_channels, sfreq, dtype, chunk_s, check, limit in (
        (64, 1000.0, np.float64, 0.04, False, 1.0),
        (64, 1000.0, np.float64, 0.04, True, 1.0),
        (1024, 30000.0, np.int16, 0.01, True, LIMIT),
    ):
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            path = Path(folder) / "run.xdf"
            got = record(path, n_channels, sfreq, dtype, chunk_s, options.seconds, check)
            amp = next(s for s in summarize(path).streams if s.name == "amp")
            size, found = path.stat().st_size, examine(path)
        missing = got["n"] - amp.samples
        bad = missing or found.damages or got["share"] > limit or got["behind_s"] > 0.5
        failed |= bool(bad)
        median, p99, longest = 1e3 * got["took"]
        print(f"{n_channels:5} channels of {np.dtype(dtype)} at {sfreq:g} Hz, {'with' if check else 'no'} check file: "
              f"{size / options.seconds / 1e6:.1f} MB/s, {100 * got['share']:.1f} % of a core, write "
              f"{median:.2f} ms median, {p99:.2f} p99, {longest:.1f} longest, "
              f"{missing} samples missing, {len(found.damages)} damages"
              f"{'  FAILED' if bad else ''}", flush=True)  # fmt: skip
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
