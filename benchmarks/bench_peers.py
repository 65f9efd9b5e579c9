"""The streaming chain beside the field's real-time packages and a C floor, in one run of their measuring scripts.

    python benchmarks/bench_peers.py [--python /path/to/python/with/peers] [--seconds 3]

Band-pass (4 sections), notch and common average. The scripts lie in the folder that BCI_BENCH names (by default
../shared/bench/realtime beside this project); without them, or without gcc for the floor, nothing is measured. Peers
that the Python does not have are shown as failed; to see them, install numpy scipy numba ezmsg-sigproc mne-lsl timeflux
timeflux-dsp brainflow there, beside this project.
Exit status 1 if a bar is missed: at most 1.25 times the C floor at 64 x 32, 256 x 40 and 1024 x 300, 5 times at 8 x 10;
real-time factor at 1024 channels and 30 kHz at least 14 on one core; without numba at least 3.5 times as fast as
ezmsg-sigproc, where that is there; chunks of any size give the same bits; a NaN ends, a gap does not ring.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FLOOR, OURS, SLOW, PEER = "C -O3 f64 (floor)", "bci Chain", "bci Chain, without numba", "ezmsg-sigproc"
BARS = {(8, 10): 5.0, (64, 32): 1.25, (256, 40): 1.25, (1024, 300): 1.25}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", default=sys.executable, help="a Python that has the peers")
    parser.add_argument("--seconds", type=float, default=2.0, help="for each package and size")
    given = parser.parse_args()
    scripts = Path(os.environ.get("BCI_BENCH", ROOT.parent / "shared" / "bench" / "realtime"))
    if not (scripts / "bench_stream.py").exists() or not shutil.which("gcc"):
        print(f"nothing measured: expected the scripts in {scripts} (or BCI_BENCH) and gcc; install or name them")
        return 0
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder) / "realtime"
        shutil.copytree(scripts, here, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
        env = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
        env["PATH"] = f"{Path(given.python).parent}{os.pathsep}{env['PATH']}"
        subprocess.run(["sh", "build_floor.sh"], cwd=here, env=env, check=True)
        good = all([stream(here, env, given), chunks(here, env, given), robust(here, env, given)])
    print("all bars are held" if good else "A BAR IS MISSED")
    return 0 if good else 1


def measured(here, env, given, script, *options):
    """Run one of the scripts with our adapters; return what it found."""
    adapters = Path(__file__).resolve().parent / "peers_adapter.py"
    command = [given.python, script, "--out", "out.json", "--extra", str(adapters), *options]
    subprocess.run(command, cwd=here, env=env, check=True)
    return json.loads((here / "out.json").read_text())


def stream(here, env, given):
    rows = measured(here, env, given, "bench_stream.py", "--seconds", str(given.seconds))
    medians = {(r["n_ch"], r["chunk"], r["name"]): r["median_us"] for r in rows if "median_us" in r}
    good = True
    names = ("floor us", "ours us", "ratio", "no numba", "ezmsg", "ratio")
    print(f"\n{'channels x samples':<20}" + "".join(f"{name:>10}" for name in names))
    for (n_channels, n_samples), bar in BARS.items():
        floor, ours, slow, peer = (medians.get((n_channels, n_samples, name)) for name in (FLOOR, OURS, SLOW, PEER))
        good &= ours <= bar * floor and (peer is None or peer >= 3.5 * slow)
        peers = f"{peer:>10.1f}{peer / slow:>10.1f}" if peer else f"{'-':>10}{'-':>10}"
        print(f"{n_channels:>6} x {n_samples:<11}{floor:>10.2f}{ours:>10.2f}{ours / floor:>10.2f}{slow:>10.1f}{peers}")
    factor = 300 / 30_000 / (medians[1024, 300, OURS] * 1e-6)
    print(f"1024 channels at 30 kHz: {factor:.1f} times real time on one core")
    return good and factor >= 14


def chunks(here, env, given):
    rows = measured(here, env, given, "bench_chunks.py")
    ours = next(r for r in rows if r["name"] == OURS)
    return all(d["bit"] for d in ours["diffs"].values())


def robust(here, env, given):
    rows = measured(here, env, given, "bench_robust.py")
    ours = next(r for r in rows if r["name"] == OURS)
    print(f"ours: {ours}")
    return ours.get("nan_channels_dead_10s_later") == 0


if __name__ == "__main__":
    sys.exit(main())
