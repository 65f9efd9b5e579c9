"""LSL under faults, between real processes: what is said, how soon, and what is lost.

silence   a plain pylsl sender is killed, frozen (SIGSTOP), or cut off (the link to its network namespace is taken
          down): time until the loss is said. Figure: at most 250 ms, every time.
restart   a sender is killed and started again at once. Figures: the loss is reported; of what the restarted sender
          sent at most 0.25 s are missing with plain pylsl, and nothing with our own (`bci.acquisition.lsl_serve`).
receiver  our receiver is killed and started again, our sender goes on. Figure: nothing is missing between both.
cut       the path, the sender or the receiver stands still for 5 s and for 20 s in front of a running session.
          Figure: no command from samples that are older than the limit of the gate.
local     with our settings our streams are found by a plain program on this machine, and not from a second one (a
          network namespace); nor do we see a stream over there.
markers   50 text and 50 numeric markers in one burst. Figure: each keeps its time, to the sample.

All processes of the measurement raise their priority where the system lets them: others on the machine are not meant.
The link needs root and Linux (`ip netns`); without them that part is left out, and said to be.
"""

import argparse
import contextlib
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
SFREQ, CHUNK = 250.0, 8
SILENCE_LIMIT_S, RESTART_LIMIT_S, AGE_LIMIT_S = 0.25, 0.25, 1.0
PARTS = ["silence", "link", "restart", "receiver", "cut", "local", "markers"]
SPACE, OURS, THEIRS = "bci-lsl", "10.213.7.1", "10.213.7.2"


# ---------------------------------------------------------------- senders
def send_foreign(name):
    """A plain script: numbers its samples in channel 0, begins at once, waits for nobody."""
    import pylsl

    out = pylsl.StreamOutlet(pylsl.StreamInfo(name, "EEG", 2, SFREQ, "float32", name))
    begin, number = pylsl.local_clock(), 0
    while True:
        time.sleep(max(0.0, begin + (number + CHUNK) / SFREQ - pylsl.local_clock()))
        rows = np.arange(number, number + CHUNK)
        noise = np.sin(rows * 0.7) + 0.1 * np.sin(rows**2 % 991)
        out.push_chunk(np.column_stack((rows, 10 * noise)).astype(np.float32), begin + rows / SFREQ)
        number += CHUNK


def send_own(name):
    """A live device that numbers its samples, sent by our sender, which begins at once."""
    from bci.acquisition.driver import Driver, Samples
    from bci.acquisition.lsl_serve import serve
    from bci.stream import Channel, StreamInfo

    class Counter(Driver):
        def _open(self):
            return StreamInfo("counter", SFREQ, (Channel("number"), Channel("Cz")), "counter")

        def _start(self):
            self._begin_s, self._n = self.clock.now(), 0

        def _read(self, timeout_s):
            due_s = self._begin_s + (self._n + CHUNK) / SFREQ
            time.sleep(max(0.0, min(timeout_s, due_s - self.clock.now())))
            if self.clock.now() < due_s:
                return None
            rows = np.arange(self._n, self._n + CHUNK)
            self._n += CHUNK
            return Samples(np.column_stack((rows, np.sin(rows * 0.7))), self._begin_s + rows / SFREQ)

        def _stop(self):
            pass

        def _close(self):
            pass

    serve(Counter(), name, wait_s=None)


def send_markers(name):
    """Samples, and in the middle of them 50 markers at once, each for an instant of its own."""
    import pylsl

    out = pylsl.StreamOutlet(pylsl.StreamInfo(name, "EEG", 2, SFREQ, "float32", name))
    texts = pylsl.StreamOutlet(pylsl.StreamInfo(name + "-text", "Markers", 1, 0, "string", name + "-text"))
    codes = pylsl.StreamOutlet(pylsl.StreamInfo(name + "-code", "Markers", 1, 0, "int32", name + "-code"))
    out.wait_for_consumers(60)
    time.sleep(1.0)
    begin, number = pylsl.local_clock(), 0
    while True:
        time.sleep(max(0.0, begin + (number + CHUNK) / SFREQ - pylsl.local_clock()))
        if number == 50 * CHUNK:
            for k in range(50):
                texts.push_sample([f"text-{k}"], begin + (300 + k) / SFREQ)
                codes.push_sample([k], begin + (300 + k) / SFREQ)
        rows = np.arange(number, number + CHUNK)
        out.push_chunk(np.column_stack((rows, rows)).astype(np.float32), begin + rows / SFREQ)
        number += CHUNK


# --------------------------------------------------------------- receivers
def receive_numbers(name):
    """Print each number that arrives, in runs; until killed."""
    from bci.acquisition.lsl import LslInlet

    with LslInlet(name, timeout_s=20.0) as device:
        while True:
            chunk = device.read(0.5)
            if chunk.n_samples:
                sys.stdout.write(f"{int(chunk.data[0, 0])} {int(chunk.data[-1, 0])}\n")
                sys.stdout.flush()


def receive_session(name):
    """A session whose decoder is always sure: print time and age of every decision that may act."""
    from bci.acquisition.lsl import LslInlet
    from bci.runtime.session import Session
    from bci.safety.gate import BAD, Gate
    from bci.stream import Flag

    class Sure:
        classes_ = np.array(["rest", "left", "right"])

        def fit(self, X, y):
            return self

        def predict_proba(self, X):
            p = 0.9 + 1e-3 * (float(np.abs(X).sum()) % 1.0)
            return np.array([[(1 - p) / 2, p, (1 - p) / 2]])

    def tell(decision, command):
        now_s = time.monotonic()
        acts = command is not None and command.value != 0
        print(json.dumps([now_s, now_s - decision.stop_s, bool(acts), int(decision.flags)]), flush=True)

    device = LslInlet(name, timeout_s=20.0)
    judged = Flag.NOISY | Flag.FLAT | Flag.SATURATED  # what is sent are numbers, no EEG
    gate = Gate(max_age_s=AGE_LIMIT_S, bad_flags=BAD & ~judged)
    with Session(device, decoder=Sure(), gate=gate, blocks=[]) as session:
        session.drive(3600.0, cues=False, on_decision=tell)


def find_plain(name):
    """Print how many streams of this name a plain program finds."""
    import pylsl

    print(len(pylsl.resolve_byprop("name", name, 1, 3.0)), flush=True)


CHILDREN = {
    f.__name__: f for f in (send_foreign, send_own, send_markers, receive_numbers, receive_session, find_plain)
}  # fmt: skip


RUNNING = []


def child(what, name, *, space=False, network=False, out=subprocess.DEVNULL):
    """Start one of the functions above in a process of its own."""
    env = dict(os.environ, PYTHONPATH=str(ROOT), OPENBLAS_NUM_THREADS="1", OMP_NUM_THREADS="1")
    env |= {"BCI_LSL": "network"} if network else {}
    # Another host's name: its clock is measured then, not taken for ours.
    named = ["unshare", "--uts", "sh", "-c", f'hostname {SPACE} && exec "$@"', "sh"]
    before = ["ip", "netns", "exec", SPACE, *named] if space else []
    RUNNING.append(
        subprocess.Popen(
            [*before, sys.executable, __file__, "--child", what, "--name", name],
            stdout=out,
            stderr=subprocess.DEVNULL,
            env=env,
            text=True,
        )
    )
    return RUNNING[-1]


def end(process):
    process.kill()
    process.wait()
    RUNNING.remove(process)


# -------------------------------------------------------------------- link
class Link:
    """A second network namespace, joined to this one by a pair of virtual interfaces."""

    def __enter__(self):
        self.__exit__()
        ours, theirs = f"{SPACE}0", f"{SPACE}1"
        for line in (
            f"netns add {SPACE}",
            f"link add {ours} type veth peer name {theirs}",
            f"link set {theirs} netns {SPACE}",
            f"addr add {OURS}/24 dev {ours}",
            f"link set {ours} up",
            f"-n {SPACE} addr add {THEIRS}/24 dev {theirs}",
            f"-n {SPACE} link set {theirs} up",
            f"-n {SPACE} link set lo up",
        ):
            subprocess.run(["ip", *line.split()], check=True)
        return self

    def __exit__(self, *_):
        subprocess.run(["ip", "netns", "del", SPACE], stderr=subprocess.DEVNULL, check=False)
        subprocess.run(["ip", "link", "del", f"{SPACE}0"], stderr=subprocess.DEVNULL, check=False)

    @staticmethod
    def set(up):
        subprocess.run(["ip", "link", "set", f"{SPACE}0", "up" if up else "down"], check=True)


def may_use_links():
    return sys.platform == "linux" and os.geteuid() == 0 and shutil.which("ip") is not None


# ----------------------------------------------------------------- figures
def until(device, done, limit_s=30.0):
    end_s = time.monotonic() + limit_s
    while time.monotonic() < end_s:
        chunk = device.read(0.5)
        if done(chunk):
            return chunk
    raise SystemExit(f"not within {limit_s} s: {device.report()}")


def flowing(device, seconds):
    """Read until samples have come for so long without a break."""
    begin = None
    until_s = time.monotonic() + 60.0
    while time.monotonic() < until_s:
        chunk = device.read(0.5)
        if not chunk.n_samples:
            begin = None
            continue
        begin = time.monotonic() if begin is None else begin
        if time.monotonic() - begin > seconds:
            return
    raise SystemExit(f"the stream did not come back: {device.report()}")


def silence(device, strike):
    """Return how long after `strike` the loss is said, s."""
    begin_s = time.monotonic()
    strike()
    from bci.stream import Flag

    until(device, lambda c: Flag.SILENT in c.flags)
    return time.monotonic() - begin_s


def bench_silence(trials, rng):
    """Return times until the loss was said, s, for a sender that is frozen and one that is killed."""
    from bci.acquisition.lsl import LslInlet

    found = {"killed": [], "frozen": []}
    name = f"bench-{uuid.uuid4()}"
    sender = child("send_foreign", name)
    with LslInlet(name, timeout_s=20.0) as device:
        for _ in range(trials):
            flowing(device, 0.1 + 0.1 * rng.random())
            found["frozen"].append(silence(device, lambda p=sender: p.send_signal(signal.SIGSTOP)))
            sender.send_signal(signal.SIGCONT)
            flowing(device, 0.1 + 0.1 * rng.random())
            found["killed"].append(silence(device, lambda p=sender: p.kill()))
            end(sender)
            sender = child("send_foreign", name)
    end(sender)
    return found


def bench_link(trials, rng):
    """The same for a link that goes down; needs a process that looks beyond this machine (BCI_LSL=network)."""
    from bci.acquisition.lsl import LslInlet

    found = []
    name = f"bench-{uuid.uuid4()}"
    with Link():
        sender = child("send_foreign", name, space=True)
        with LslInlet(name, timeout_s=20.0) as device:
            for _ in range(trials):
                flowing(device, 0.1 + 0.1 * rng.random())
                found.append(silence(device, lambda: Link.set(False)))
                Link.set(True)
        end(sender)
    return {"link down": found}


def bench_restart(kind, trials, rng):
    """Return (first number received from each restarted sender, losses that were reported)."""
    from bci.acquisition.lsl import LslInlet
    from bci.stream import Flag

    name = f"bench-{uuid.uuid4()}"
    sender = child(kind, name)
    missing, reported = [], 0
    with LslInlet(name, timeout_s=20.0) as device:
        for _ in range(trials):
            flowing(device, 0.2 + 0.2 * rng.random())
            end(sender)
            sender = child(kind, name)
            chunk = until(device, lambda c: c.n_samples and Flag.GAP in c.flags)
            reported += device.report()["restarts"][-1]["lost"] > 0
            missing.append(int(chunk.data[0, 0]))
    end(sender)
    return missing, reported


def bench_receiver(trials, rng):
    """Return how many numbers are in none of the receivers, for a sender that goes on."""
    name = f"bench-{uuid.uuid4()}"
    sender = child("send_own", name)
    missing, last = [], None
    for _ in range(trials + 1):
        receiver = child("receive_numbers", name, out=subprocess.PIPE)
        end_s = time.monotonic() + 1.0 + 0.5 * rng.random()
        first = receiver.stdout.readline().split()
        runs = [first]
        while time.monotonic() < end_s or len(runs) < 5:
            runs.append(receiver.stdout.readline().split())
        receiver.kill()
        runs += [r.split() for r in receiver.stdout.read().splitlines()]
        end(receiver)
        if last is not None:
            missing.append(max(0, int(first[0]) - last - 1))
        last = max(int(r[1]) for r in runs if len(r) == 2)
    end(sender)
    return missing


def bench_cut(what, seconds):
    """Return (commands from samples older than the limit, commands before the cut, commands after it)."""
    name, said = f"bench-{uuid.uuid4()}", []
    with Link() if what == "path" else contextlib.nullcontext() as link:
        sender = child("send_foreign", name, space=link is not None)
        receiver = child("receive_session", name, network=link is not None, out=subprocess.PIPE)
        threading.Thread(target=lambda: said.extend(map(json.loads, receiver.stdout)), daemon=True).start()

        def acting():
            return [r for r in list(said) if r[2]]

        until_s = time.monotonic() + 60.0
        while len(acting()) < 10 and time.monotonic() < until_s:
            time.sleep(0.2)
        stopped = {"sender": sender, "receiver": receiver}.get(what)
        cut_s = time.monotonic()
        stopped.send_signal(signal.SIGSTOP) if stopped else Link.set(False)
        time.sleep(seconds)
        stopped.send_signal(signal.SIGCONT) if stopped else Link.set(True)
        back_s = time.monotonic()
        # TCP waits up to as long again before it tries once more.
        until_s = back_s + 5.0 + (0.0 if stopped else 1.5 * seconds)
        while time.monotonic() < until_s:
            time.sleep(0.2)
        end(sender)
        end(receiver)
    old = sum(age > AGE_LIMIT_S for _, age, _, _ in acting())
    return old, sum(t < cut_s for t, *_ in acting()), sum(t > back_s for t, *_ in acting())


def bench_local():
    """Return whether each finds what it should: plain program here, plain program over there, ours over there."""
    from bci.acquisition.lsl_find import streams

    ours, theirs = f"bench-{uuid.uuid4()}", f"bench-{uuid.uuid4()}"
    with Link():
        senders = [child("send_own", ours), child("send_foreign", theirs, space=True)]
        time.sleep(3.0)
        here = child("find_plain", ours, out=subprocess.PIPE)
        there = child("find_plain", ours, space=True, out=subprocess.PIPE)
        widened = child("find_plain", theirs, out=subprocess.PIPE)  # the way is open: LSL's own defaults do see it
        found = [int(p.communicate()[0].split()[-1]) for p in (here, there, widened)]
        found.append(sum(s["name"] == theirs for s in streams(2.0)))
        for process in (*senders, here, there, widened):
            end(process)
    return dict(zip(("plain_here", "plain_there", "plain_to_there", "ours_to_there"), found, strict=True))


def bench_markers():
    """Return how many of 50 text and 50 numeric markers came with their sample."""
    from bci.acquisition.lsl import LslInlet

    found = {}
    for kind, code in (("text", "text-{}"), ("code", "{}")):
        name = f"bench-{uuid.uuid4()}"
        sender = child("send_markers", name)
        events = []
        with LslInlet(name, markers=f"{name}-{kind}", timeout_s=20.0) as device:
            until(device, lambda c, e=events: (e.extend(c.events), len(e) >= 50)[1])
        end(sender)
        found[kind] = sum(e.code == code.format(k) and e.sample == 300 + k for k, e in enumerate(events))
    return found


# -------------------------------------------------------------------- main
def parts_of(given):
    wanted = given.only or PARTS
    rng = np.random.default_rng(0)
    links = may_use_links()
    report, ok = {}, True

    def note(what, passed, **figures):
        nonlocal ok
        ok = ok and passed
        report[what] = {"ok": passed, **figures}
        if not given.json:
            words = "  ".join(f"{k} {v:.3f}" if isinstance(v, float) else f"{k} {v}" for k, v in figures.items())
            print(f"{'ok' if passed else 'MISSED':<7}{what:<22}{words}", flush=True)

    def judge_silence(times):
        for what, each in times.items():
            over = sum(t > SILENCE_LIMIT_S for t in each)
            note(f"silence: {what}", not over, trials=len(each), median_s=float(np.median(each)),
                 longest_s=float(max(each)), over=over)  # fmt: skip

    if "link" in wanted and links:
        if os.environ.get("BCI_LSL") == "network":
            judge_silence(bench_link(given.trials, rng))
        else:  # liblsl reads its settings once
            command = [sys.executable, __file__, "--only", "link", "--trials", str(given.trials), "--json"]
            done = subprocess.run(command, env=dict(os.environ, BCI_LSL="network"), stdout=subprocess.PIPE, text=True)
            for what, figures in json.loads(done.stdout or '{"link": {"ok": false}}').items():
                note(what, figures.pop("ok"), **figures)
    if "silence" in wanted:
        judge_silence(bench_silence(given.trials, rng))
    if "restart" in wanted:
        for kind, limit_s in (("send_foreign", RESTART_LIMIT_S), ("send_own", 0.0)):
            missing, reported = bench_restart(kind, given.trials, rng)
            note(f"restart: {kind[5:]}", max(missing) / SFREQ <= limit_s and reported == len(missing),
                 trials=len(missing), reported=reported, median_lost_s=float(np.median(missing)) / SFREQ,
                 most_lost_s=max(missing) / SFREQ)  # fmt: skip
    if "receiver" in wanted:
        missing = bench_receiver(max(2, given.trials // 4), rng)
        note("receiver restarted", not any(missing), trials=len(missing), lost=sum(missing))
    if "cut" in wanted:
        for what in ("path", "sender", "receiver") if links else ("sender", "receiver"):
            for seconds in given.cuts:
                old, before, after = bench_cut(what, seconds)
                note(f"cut: {what} {seconds:g} s", not old and before > 0 and after > 0, old_commands=old,
                     commands_before=before, commands_after=after)  # fmt: skip
    if "local" in wanted and links:
        found = bench_local()
        note("local", list(found.values()) == [1, 0, 1, 0], **found)
    if "markers" in wanted:
        for kind, n in bench_markers().items():
            note(f"markers: {kind}", n == 50, on_their_sample=n, of=50)
    if not links:
        print("left out: faults of the link (needs Linux, root and `ip`)", file=sys.stderr)
    return ok, report


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=20, help="trials of each fault (default 20)")
    parser.add_argument("--cuts", type=float, nargs="+", default=[5.0, 20.0], help="lengths of the cuts, s")
    parser.add_argument("--only", nargs="+", choices=PARTS)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--child", choices=CHILDREN, help=argparse.SUPPRESS)
    parser.add_argument("--name", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        return CHILDREN[given.child](given.name)
    logging.disable(logging.ERROR)
    with contextlib.suppress(OSError):
        os.nice(-10)
    try:
        ok, report = parts_of(given)
    finally:
        for process in list(RUNNING):
            end(process)
    if given.json:
        print(json.dumps(report))
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
