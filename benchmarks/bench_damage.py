"""Load damaged recordings of every format and count what comes of it.

    python benchmarks/bench_damage.py [--files 2000] [--format edf ...] [--seed 0]

Whole recordings of about 1.2 MB are made, each copy is damaged in one way (flipped bits, cut off, zeroed, numbers
inflated, spans doubled or deleted, bytes swapped, garbage text; see `damaged.py`) and loaded. A copy may load (no EEG
format has checksums, damage in samples cannot be seen), or be refused with `FormatError`.
Memory is what the reading process and this one grow by, in sizes of the file (of 1 MB, where damage left less); a file
above the bar is loaded twice, since the first of its kind may make the reader import a library.
Exit status 1 if anything else is raised, the reader crashes the program, a file takes over 5 s or over ten times its
size.
"""

import argparse
import collections
import contextlib
import logging
import shutil
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))
import damaged

from bci.acquisition.formats.sandbox import shared_sandbox
from bci.acquisition.recording import load
from bci.errors import FormatError

LONGEST_S = 5.0
MOST_MEMORY = 10.0


class Memory:
    """What two processes hold, sampled while a file is read."""

    def __init__(self):
        self._stop = threading.Event()
        self._sandbox = shared_sandbox()
        self._before = self._held()
        self.peak = 0
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self):
        for pid in self._pids():  # begin a new high-water mark
            with contextlib.suppress(OSError):
                Path(f"/proc/{pid}/clear_refs").write_text("5")
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._look()
        self._stop.set()
        self._thread.join()

    def _pids(self):
        return ["self", *([self._sandbox.pid] if self._sandbox.pid else [])]

    def _held(self, key="VmRSS"):
        # What this process maps of the reader's samples is counted there; of its own, what no other shares.
        total = 0
        for pid in self._pids():
            with contextlib.suppress(OSError, KeyError):
                lines = dict(line.split(":") for line in Path(f"/proc/{pid}/status").read_text().splitlines())
                total += int(lines["RssAnon" if pid == "self" else key].split()[0]) << 10
        return total

    def _look(self):
        self.peak = max(self.peak, self._held("VmHWM") - self._before)

    def _watch(self):
        while not self._stop.wait(0.01):
            self._look()


def load_one(path, settings):
    """Return what came of it, s, bytes."""
    memory = Memory()
    begin_s = time.perf_counter()
    with memory:
        try:
            load(path, **settings)
            outcome = "loaded"
        except FormatError as error:
            text = str(error)
            outcome = "crashed" if "crashed" in text else "late" if "not over after" in text else "refused"
            if "MB of memory" in text:
                outcome = "memory"
        except Exception as error:  # noqa: BLE001 - what must not come
            outcome = f"{type(error).__name__}: {error}"
    return outcome, time.perf_counter() - begin_s, memory.peak


def run(name, n_files, seed, folder, keep):
    """Return whether the format holds the bars; prints its line."""
    rng = np.random.default_rng([seed, *name.encode()])
    whole = damaged.MAKERS[name](folder / "whole" / "x", damaged.truth())
    settings = damaged.SETTINGS.get(name, {})
    found, others = collections.Counter(), collections.Counter()
    longest_s = most = 0.0
    for k in range(n_files):
        hurt = damaged.damaged_copy(whole, folder / "hurt", rng)
        load(whole, **settings) if shared_sandbox().pid is None else None  # a new reader is not the file's growth
        size = sum(p.stat().st_size for p in (folder / "hurt").iterdir())
        outcome, took_s, peak = load_one(hurt, settings)
        if peak > MOST_MEMORY * max(size, 1e6) and shared_sandbox().pid is not None:
            peak = load_one(hurt, settings)[2]  # what a library took that was imported for it is not the file's
        ratio = peak / max(size, 1e6)
        known = outcome in ("loaded", "refused", "crashed", "late", "memory")
        found[outcome if known else "other"] += 1
        if not known:
            others[outcome[:150]] += 1
        if keep and (not known or outcome in ("crashed", "late", "memory") or took_s > 1 or ratio > MOST_MEMORY):
            shutil.copytree(folder / "hurt", Path(keep) / f"{name}-{k}", dirs_exist_ok=True)
            print(f"  {name} {k}: {outcome}, {took_s:.2f} s, {ratio:.1f} x")
        longest_s, most = max(longest_s, took_s), max(most, ratio)
    columns = [found[key] for key in ("loaded", "refused", "late", "memory", "crashed", "other")]
    print(f"{name:<12}" + "".join(f"{n:8}" for n in columns) + f"{longest_s:9.2f}{most:8.1f}", flush=True)
    for text, n in others.items():
        print(f"  {n} x {text}")
    return not others and longest_s <= LONGEST_S and most <= MOST_MEMORY


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=2000, help="of each format")
    parser.add_argument("--format", nargs="+", choices=list(damaged.MAKERS), default=list(damaged.MAKERS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", help="folder for the worst files")
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    print(f"{'format':<12}" + "".join(f"{w:>8}" for w in ("loaded", "refused", "late", "memory", "crashed", "other")) +
          f"{'max s':>9}{'max x':>8}")  # fmt: skip
    good = True
    with tempfile.TemporaryDirectory() as folder:
        for name in options.format:
            for part in ("whole", "hurt"):
                shutil.rmtree(Path(folder) / part, ignore_errors=True)
                (Path(folder) / part).mkdir()
            good &= run(name, options.files, options.seed, Path(folder), options.keep)
    print("all bars are held" if good else "A BAR IS MISSED")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
