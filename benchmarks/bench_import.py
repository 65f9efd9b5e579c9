"""`import bci` against `import numpy`, fresh interpreters, alternating in one run. Bar: 1.6 x."""

import statistics
import subprocess
import sys
import time

REPEAT = 15
HEAVY = ["torch", "scipy.signal", "mne", "PySide6", "brainflow"]


def seconds(code):
    begin = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)
    return time.perf_counter() - begin


def main():
    cases = {
        "numpy": "import numpy",
        "bci": "import bci",
        "bci types": "import bci; bci.Chunk; bci.Event",
        "nothing": "",
    }
    times = {name: [] for name in cases}
    for _ in range(REPEAT):
        for name, code in cases.items():
            times[name].append(seconds(code))
    medians = {name: statistics.median(t) for name, t in times.items()}
    for name, median in medians.items():
        print(f"{name:<10} {median * 1e3:6.0f} ms, {median / medians['numpy']:.2f} x numpy")
    code = f"import bci, sys; print([m for m in {HEAVY!r} if m in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.strip()
    print("heavy modules loaded:", loaded)
    passed = medians["bci"] <= 1.6 * medians["numpy"] and loaded == "[]"
    print("passed" if passed else "FAILED")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
