"""Pushed = delivered + reported lost, exactly: random schedules of faults, and every length of gap from 1 to 2000.

A source counts its samples; a faulty link carries them; the driver at its end knows packets with a counter of 8 or
16 bits and their times of arrival. Every sample that is delivered has to carry its true number, and the report every
loss, duplicate and packet out of order where the ledger of the link has it; every NaN has to be flagged, every silence
said, a wrong rate told. A schedule has another rate, packet size, counter, chunk, and its own faults.
"""

import argparse
import json
import logging
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import numpy as np

from bci.acquisition.counting import Counting
from bci.acquisition.faults import Chance, Fault, FaultKind
from bci.acquisition.faulty import FaultyDevice
from bci.acquisition.truth import differences
from bci.stream import Flag

SFREQS = (125.0, 250.0, 500.0)
SILENT_S = 0.35
"""A pause longer by two chunks must be called silence, s: the deadline, and the wait for a packet out of order."""
RARE = 0.1
ON_THE_WAY = 16
"""Most samples that a jitter of 20 ms may hold back when an outage begins."""
GAP_LEAD_S = 3.0


def schedule(seed):
    """Return (sfreq, settings of the device, faults) of one random schedule."""
    rng = np.random.default_rng(seed)
    sfreq = float(rng.choice(SFREQS))
    n = int(rng.choice((1, 1, 1, 2, 5)))
    bits = int(rng.choice((8, 8, 16)))
    reorder = 4 if sfreq / n >= 50 else 2
    chance = Chance(sfreq, 30, seed, reorder=reorder, apart_s=0.6)
    faults = chance.until(rng.uniform(8, 20))
    if rng.random() < RARE:
        # Before a rate is known, the whole turns within a gap cannot be: these gaps come after three seconds.
        faults = [f for f in faults if f.at_s > GAP_LEAD_S]
        faults.append(Fault(FaultKind.RATE, amount=sfreq * float(rng.choice((0.8, 0.95, 1.05, 1.25, 2.0)))))
    if rng.random() < RARE:
        faults.append(Fault(FaultKind.UNIT))
    if rng.random() < RARE:
        faults.append(Fault(FaultKind.DRIFT, amount=float(rng.uniform(-300, 300))))
    if rng.random() < RARE:
        faults.append(Fault(FaultKind.JITTER, amount=float(rng.uniform(0.001, 0.02))))
    settings = {"samples_per_packet": n, "counter_bits": bits, "reorder": reorder, "seed": seed}
    return sfreq, settings, faults


def gap(n):
    """Return (sfreq, settings, faults) with one gap of `n` samples, told by a counter of 8 bits."""
    return 250.0, {}, [Fault(FaultKind.LOSS, GAP_LEAD_S, n=n)]


def play(plan, seed=0):
    """Return (what is wrong, counts of faults by kind, samples pushed)."""
    sfreq, settings, faults = plan
    device = FaultyDevice(Counting(sfreq, 2, chunk_s=float(np.random.default_rng(seed).choice((0.016, 0.04, 0.2)))),
                          faults=faults, **settings)  # fmt: skip
    over_s = max((f.over_s(sfreq) for f in faults if np.isfinite(f.over_s(sfreq))), default=3.0) + 6.0
    wrong, last, unknown, flags = [], -1, 0, Flag.OK
    with device:
        while device.clock.now() < over_s:
            chunk = device.read(0.1)
            numbers = chunk.data[:, 0]
            if not np.array_equal(numbers, np.arange(chunk.start, chunk.stop)):
                wrong.append(f"samples {chunk.start}-{chunk.stop} are in truth {numbers[:1]}-{numbers[-1:]}")
            if chunk.n_samples:
                last = int(numbers[-1])
                nans = np.isnan(chunk.data).any(axis=1).sum()
                unknown += int(nans)
                if bool(nans) != bool(chunk.flags & Flag.NAN):
                    wrong.append(f"NaN and its flag differ at sample {chunk.start}")
            flags |= chunk.flags
        report = device.report()
    return judged(device, report, last, unknown, flags, wrong)


def undecidable(device, report):
    """Return how many gaps are of whole turns of the counter, behind packets that were on their way before them.

    Such a burst looks the same wherever in it the turns are missing: how many is told, the place is not.
    """
    turn = device.samples_per_packet << device.counter_bits
    told = [(int(g["sample"]), int(g["lost"])) for g in report["gaps"]]
    missing = [gap for gap in device.ledger.gaps() if gap not in told]
    return sum(n % turn == 0 and any(m == n and 0 < at - s <= ON_THE_WAY for s, m in told) for at, n in missing)


def judged(device, report, last, unknown, flags, wrong):
    ledger = device.ledger
    found = differences(ledger, report)
    places = undecidable(device, report)
    if places and len(found) == 2 * places:  # nothing else is wrong, and every count is right
        wrong, found = [], []
    wrong = wrong[:3] + found
    if last + 1 != report["delivered"] + report["lost"]:
        wrong.append(f"{last + 1} were pushed, {report['delivered']} delivered and {report['lost']} reported lost")
    nans = sum(r.n for r in ledger.of(FaultKind.NAN))
    hidden = ledger.n_lost and sum(
        len(np.intersect1d(np.arange(a.first, a.first + a.n), np.arange(b.first, b.first + b.n)))
        for a in ledger.of(FaultKind.NAN) for b in ledger.records if b.lost
    )  # fmt: skip
    if unknown != nans - hidden:
        wrong.append(f"{nans - hidden} samples with NaN were sent, {unknown} came")
    for record in ledger.records:
        pause = record.lost or record.kind is FaultKind.FREEZE
        end_s = record.time_s + record.duration_s
        said = any(s["time"] < end_s and s["time"] + s["duration"] > record.time_s for s in report["silences"])
        if pause and record.duration_s > SILENT_S + 2 * device.source.chunk_s and not said:
            wrong.append(f"nothing came for {record.duration_s:.3f} s from {record.time_s:.3f} s on; nobody said so")
    declared = ledger.of(FaultKind.RATE)
    if bool(declared) != bool(flags & Flag.RATE):
        wrong.append(f"rate: truth {bool(declared)}, told {bool(flags & Flag.RATE)}, {report['sfreq']} Hz")
    kinds = {}
    for record in ledger.records:
        kinds[record.kind.value] = kinds.get(record.kind.value, 0) + 1
    if places:
        kinds["undecidable place"] = places
    return wrong, kinds, last + 1


def work(make, seed):
    logging.disable(logging.WARNING)
    return seed, *play(make(seed), seed)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--schedules", type=int, default=10_000)
    parser.add_argument("--gaps", type=int, default=2000, help="every gap from 1 to so many samples")
    parser.add_argument("--first", type=int, default=0, help="seed of the first schedule")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    begin, mistakes, kinds, pushed = time.perf_counter(), 0, {}, 0
    jobs = [
        ("schedule", schedule, range(given.first, given.first + given.schedules)),
        ("gap", gap, range(1, given.gaps + 1)),
    ]
    with ProcessPoolExecutor(given.jobs) as pool:
        for name, make, seeds in jobs:
            for seed, wrong, found, n in pool.map(partial(work, make), seeds, chunksize=20):
                pushed += n
                mistakes += bool(wrong)
                for kind, count in found.items():
                    kinds[kind] = kinds.get(kind, 0) + count
                for line in wrong:
                    print(f"{name} {seed}: {line}", flush=True)
    report = {"schedules": given.schedules, "gaps": given.gaps, "samples": pushed, "faults": kinds,
              "mismatches": mistakes, "seconds": round(time.perf_counter() - begin, 1)}  # fmt: skip
    if given.json:
        print(json.dumps(report))
    else:
        print(f"{given.schedules} schedules and {given.gaps} gaps, {pushed} samples, {sum(kinds.values())} faults: "
              f"{', '.join(f'{k} {v}' for k, v in sorted(kinds.items()))}")  # fmt: skip
        print(f"mismatches: {mistakes} (none allowed); {report['seconds']} s")
    return 1 if mistakes else 0


if __name__ == "__main__":
    sys.exit(main())
