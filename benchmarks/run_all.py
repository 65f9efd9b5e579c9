"""Measure every figure; prints each script's own lines and, at the end, which passed.

By default the campaigns (random schedules, damaged files, hours of signal) run in a short form, in about half an
hour. With --full each runs as long as its figure asks for, which takes several hours.
"""

import argparse
import subprocess
import sys
from pathlib import Path

SHORT = {
    "bench_artefacts.py": ["--people", "5"],
    "bench_damage.py": ["--files", "40"],
    "bench_death.py": ["--trials", "60"],
    "bench_endurance.py": ["--hours", "1.1"],
    "bench_high_rate.py": ["--seconds", "20"],
    "bench_lsl_faults.py": ["--trials", "10", "--cuts", "5"],
    "bench_quality.py": ["--trials", "10", "--clean", "30"],
    "bench_rig.py": ["--minutes", "10"],
    "bench_time.py": ["--repeat", "1"],
    "bench_truth.py": ["--schedules", "200", "--gaps", "100"],
    "bench_windows.py": ["--schedules", "1000", "--seconds", "60"],
    "bench_verify.py": ["--files", "100"],
}
FULL = {"bench_kill.py": ["--kills", "200"], "bench_disk_full.py": ["--runs", "100"]}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="run every campaign in its full length")
    parser.add_argument("only", nargs="*", help="scripts to run, as in bench_kill.py; all by default")
    given = parser.parse_args()
    scripts = sorted(p for p in Path(__file__).parent.glob("bench_*.py") if not given.only or p.name in given.only)
    verdicts = {}
    for script in scripts:
        options = (FULL if given.full else SHORT).get(script.name, [])
        print(f"\n== {script.name} {' '.join(options)}", flush=True)
        verdicts[script.name] = subprocess.run([sys.executable, str(script), *options]).returncode
    print("\n== summary")
    for name, code in verdicts.items():
        print(f"{name:<24} {'ok' if code == 0 else f'FAILED ({code})'}")
    return max(verdicts.values(), default=0)


if __name__ == "__main__":
    sys.exit(main())
