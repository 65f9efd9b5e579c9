"""Eight hours of a closed loop: memory flat to 1 %, no thread and no open file more than after the warm-up.

A simulated person behind a faulty link, recorded, filtered, decoded and gated, as fast as the machine can (or, with
--live, in real time). Resident memory, threads and file descriptors are sampled each minute of signal; the median of
the last tenth is compared with that of the tenth after the warm-up.
"""

import argparse
import json
import logging
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

from bci.acquisition.faulty import FaultyDevice
from bci.acquisition.participant import Participant
from bci.paradigms.motor_imagery import MotorImagery
from bci.runtime.run import KEPT
from bci.runtime.session import Session

LIMIT = 0.01
WARM_S = 1.25 * 0.1 * KEPT
"""What a run keeps of its decisions, one each tenth of a second, fills up first, s."""
PAGE = os.sysconf("SC_PAGE_SIZE")


def sample():
    """Return (resident bytes, threads, open files) of this process."""
    resident = int(Path("/proc/self/statm").read_text().split()[1]) * PAGE
    return resident, len(os.listdir("/proc/self/task")), len(os.listdir("/proc/self/fd"))


class Watch:
    """Sample each minute of signal."""

    def __init__(self, every_s):
        self.every_s, self.next_s, self.rows = every_s, 0.0, []

    def __call__(self, turn):
        if turn.stop_s >= self.next_s:
            self.next_s = turn.stop_s + self.every_s
            self.rows.append((turn.stop_s, *sample()))


def drive(seconds, live, per_minute, folder, every_s):
    device = FaultyDevice(Participant(seed=1, speed=1.0 if live else "max"), per_minute=per_minute, seed=1)
    paradigm = MotorImagery(n_trials=4)
    watch = Watch(every_s)
    begin = time.perf_counter()
    with Session(device, paradigm, "csp-lda", record=Path(folder) / "long.xdf", seed=1, on_turn=watch) as session:
        session.calibrate()
        session.fit()
        paradigm.n_trials = int(seconds / 3 / paradigm.cue_s) + 1  # cues until the end
        run = session.drive(seconds)
        report = device.report()
        size = (Path(folder) / "long.xdf").stat().st_size
    return watch.rows, run, report, size, time.perf_counter() - begin


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hours", type=float, default=8.0)
    parser.add_argument("--live", action="store_true", help="in real time")
    parser.add_argument("--per-minute", type=float, default=4.0, help="faults")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    logging.disable(logging.WARNING)
    seconds = 3600 * given.hours
    if seconds < 1.5 * WARM_S:
        parser.error(f"the warm-up takes {WARM_S / 3600:.2f} h of signal; give {1.5 * WARM_S / 3600:.2f} hours or more")
    with tempfile.TemporaryDirectory() as folder:
        rows, run, report, size, took_s = drive(seconds, given.live, given.per_minute, folder, 60.0)
    steady = [row for row in rows if row[0] > WARM_S]
    tenth = max(1, len(steady) // 10)
    first, last = steady[:tenth], steady[-tenth:]
    before, after = (statistics.median(row[1] for row in part) for part in (first, last))
    growth = after / before - 1
    threads, files = (max(r[k] for r in last) - max(r[k] for r in first) for k in (2, 3))
    result = {
        "hours": given.hours, "live": given.live, "seconds": round(took_s, 1), "memory_mb": round(after / 2**20, 1),
        "growth": round(growth, 5), "more_threads": threads, "more_files": files, "decisions": run.n_decisions,
        "recording_mb": round(size / 2**20, 1), "lost": report["lost"], "gaps": report["n_gaps"],
    }  # fmt: skip
    if given.json:
        print(json.dumps(result))
    else:
        print(
            f"{given.hours:g} h of signal in {took_s:.0f} s: {run.n_decisions} decisions, "
            f"{result['recording_mb']} MB recorded, {report['n_gaps']} gaps with {report['lost']} samples"
        )
        print(
            f"memory {before / 2**20:.1f} -> {after / 2**20:.1f} MB after the warm-up ({100 * growth:+.2f} %, at "
            f"most {100 * LIMIT:g} %); {threads:+d} threads, {files:+d} open files"
        )
    return 0 if growth <= LIMIT and threads <= 0 and files <= 0 else 1


if __name__ == "__main__":
    sys.exit(main())
