"""Measure every figure; prints each script's own lines and, at the end, which passed."""

import subprocess
import sys
from pathlib import Path


def main():
    scripts = sorted(p for p in Path(__file__).parent.glob("bench_*.py"))
    verdicts = {}
    for script in scripts:
        print(f"\n== {script.name}", flush=True)
        verdicts[script.name] = subprocess.run([sys.executable, str(script)]).returncode
    print("\n== summary")
    for name, code in verdicts.items():
        print(f"{name:<24} {'ok' if code == 0 else f'FAILED ({code})'}")
    return max(verdicts.values(), default=0)


if __name__ == "__main__":
    sys.exit(main())
