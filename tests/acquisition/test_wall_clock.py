"""A wall clock that steps by an hour, in processes where a shim shifts it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("brainflow")

SHIM = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>

static long step(void)
{
    const char *path = getenv("BCI_WALL_STEP");
    long seconds = 0;
    FILE *file = path ? fopen(path, "r") : 0;
    if (file) {
        if (fscanf(file, "%ld", &seconds) != 1) seconds = 0;
        fclose(file);
    }
    return seconds;
}

int clock_gettime(clockid_t id, struct timespec *t)
{
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
    int failed = real(id, t);
    if (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE) t->tv_sec += step();
    return failed;
}

int gettimeofday(struct timeval *t, void *zone)
{
    struct timespec s;
    clock_gettime(CLOCK_REALTIME, &s);
    t->tv_sec = s.tv_sec;
    t->tv_usec = s.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *t)
{
    struct timespec s;
    clock_gettime(CLOCK_REALTIME, &s);
    if (t) *t = s.tv_sec;
    return s.tv_sec;
}
"""

HEAD = """
import logging, os, sys, time
import numpy as np
from bci.acquisition.brainflow_board import BrainFlowBoard

logging.basicConfig(level=logging.WARNING, stream=sys.stdout)

def step(seconds):
    with open(os.environ["BCI_WALL_STEP"], "w") as file:
        file.write(str(seconds))

def read(board, seconds):
    chunks, end_s = [], time.monotonic() + seconds
    while time.monotonic() < end_s:
        begin_s = time.monotonic()
        chunk = board.read(0.1)
        assert time.monotonic() - begin_s < 1.0, "a read froze"
        if chunk.n_samples:
            chunks.append(chunk)
    return chunks

"""

READS_ON = """
with BrainFlowBoard() as board:
    chunks = read(board, 1.5)
    wall_s = time.time()
    step({step})
    assert abs(time.time() - wall_s - {step}) < 60, "the shim does nothing"
    time.sleep(0.8)  # a flood would run over the ring by now
    stepped_s, n_before = time.monotonic(), len(chunks)
    while len(chunks) < n_before + 100 and time.monotonic() < stepped_s + 25:  # a busy machine starts it slowly
        chunks += read(board, 0.5)
    assert time.monotonic() - chunks[-1].times[-1] < 1.0
    times = np.concatenate([c.times for c in chunks])
    numbers = np.concatenate([np.arange(c.start, c.stop) for c in chunks])
    assert (np.diff(times) > 0).all()
    # Real time and sample numbers keep together across the step.
    assert np.abs((times - times[0]) - (numbers - numbers[0]) / 250).max() < 0.25
    print(board.report()["gaps"])
    begin_s = time.monotonic()
assert time.monotonic() - begin_s < 2.0, "the release hung"
"""

READS_TWO = """
from bci.acquisition.rig import Rig

presets = ("default", "auxiliary")
with Rig({p: f"brainflow:synthetic,preset={p}" for p in presets}) as rig:
    chunks = {p: [] for p in presets}
    def gather(seconds):
        end_s = time.monotonic() + seconds
        while time.monotonic() < end_s:
            for arrival in rig.read(0.1):
                if arrival.chunk is not None and arrival.chunk.n_samples:
                    chunks[arrival.name].append(arrival.chunk)
    gather(1.5)
    step(-3600)
    stepped_s = time.monotonic()
    while time.monotonic() < stepped_s + 25:
        gather(0.5)
        if all(c[-1].times[-1] > stepped_s + 1.5 for c in chunks.values()):
            break
    for p in presets:
        times = np.concatenate([c.times for c in chunks[p]])
        numbers = np.concatenate([np.arange(c.start, c.stop) for c in chunks[p]])
        assert (np.diff(times) > 0).all() and times[-1] > stepped_s + 1.0
        assert np.abs((times - times[0]) - (numbers - numbers[0]) / rig.infos[p].sfreq).max() < 0.25
        print(p, [g["cause"] for g in rig.reader(p).device.report()["gaps"]])
    assert len({rig.reader(p).device._process.pid for p in presets}) == 1
"""

CYTON = """
from test_cyton_over_pty import Cyton, numbers

cyton = Cyton()
with BrainFlowBoard("cyton", serial_port=cyton.port) as board:
    chunks = read(board, 1.0)
    for seconds in (3600, -3600):
        step(seconds)
        chunks += read(board, 0.7)
    truth, given = numbers(chunks)
    times = np.concatenate([c.times for c in chunks])
    assert board.n_lost == 0 and np.array_equal(truth, given) and len(truth) > 400
    assert np.abs(np.diff(times) - 1 / 250).max() < 3e-3
cyton.close()
"""

HANGS = """
board = BrainFlowBoard()
board.open()
board.start()
read(board, 0.5)
step(-3600)
time.sleep(0.1)  # its thread now sleeps for an hour
begin_s = time.monotonic()
board.close()
assert time.monotonic() - begin_s < 9.0
again = BrainFlowBoard()
with again:
    assert read(again, 0.5)
"""


@pytest.fixture(scope="module")
def shim(tmp_path_factory):
    compiler = shutil.which("cc")
    if compiler is None or sys.platform != "linux":
        pytest.skip("no C compiler, or no LD_PRELOAD, to shift the wall clock with")
    folder = tmp_path_factory.mktemp("shim")
    (folder / "shim.c").write_text(SHIM)
    subprocess.run([compiler, "-shared", "-fPIC", "-o", folder / "shim.so", folder / "shim.c", "-ldl"], check=True)
    return folder


def run(shim, text):
    (shim / "step").write_text("0")
    env = dict(os.environ, LD_PRELOAD=str(shim / "shim.so"), BCI_WALL_STEP=str(shim / "step"))
    env["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    done = subprocess.run([sys.executable, "-c", HEAD + text], env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("step_s", [3600, -3600])
def test_step_by_an_hour_freezes_nothing_and_shifts_no_times(shim, step_s):
    said = run(shim, READS_ON.replace("{step}", str(step_s)))
    assert f"the wall clock stepped by {step_s:+.1f} s and the board was started anew" in said


def test_presets_of_one_board_are_started_anew_together(shim):
    said = run(shim, READS_TWO)
    for preset in ("default", "auxiliary"):
        assert f"{preset} ['the wall clock stepped by -3600.0 s and the board was started anew']" in said


def test_step_by_an_hour_is_nothing_to_a_board_with_its_own_clock(shim):
    assert "lost" not in run(shim, CYTON)


def test_board_that_hangs_while_it_is_released_is_ended_and_said(shim):
    said = run(shim, HANGS)
    assert "so its process was ended" in said
