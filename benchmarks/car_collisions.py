"""Count the collisions of the simulated car under random intents, silences and halts.

python benchmarks/car_collisions.py --episodes 200 --vehicles 18 --jobs 2
"""

import argparse
import collections

import numpy as np
from joblib import Parallel, delayed

from bci.apps.control.car import PHYSICS_S, Car
from bci.decision import Command


def episode(seed, seconds, vehicles):
    """Drive once; return the codes of all events and whether other vehicles collided among themselves."""
    car, rng, codes = Car(seed=seed, n_vehicles=vehicles), np.random.default_rng(seed + 10_000), []
    hold_s = silent_s = intent = 0.0
    while car.highway.time_s < seconds and car.state != "crashed":
        hold_s, silent_s = hold_s - PHYSICS_S, silent_s - PHYSICS_S
        if hold_s <= 0:
            intent = float(rng.choice([-1, 0, 0, 1]) * rng.uniform(0.4, 1.0))
            hold_s = rng.uniform(0.3, 2.0)
            if rng.random() < 0.06:
                silent_s = rng.uniform(0.5, 10.0)
            if rng.random() < 0.02:
                car.halt()
        if silent_s <= 0:
            for _ in range(3):
                car.send(Command("intent", intent, 0.0))
        car.step(PHYSICS_S)
        codes += [code for _, code in car.take_events()]
    others = car.highway.others_crashed
    car.close()
    return seed, codes, others


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--episodes", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=40.0)
    parser.add_argument("--vehicles", type=int, default=18)
    parser.add_argument("--jobs", type=int, default=2)
    args = parser.parse_args()
    runs = Parallel(args.jobs)(delayed(episode)(s, args.seconds, args.vehicles) for s in range(args.episodes))
    count = collections.Counter()
    for seed, codes, others in runs:
        count["other vehicles crashed"] += others
        for code in codes:
            parts = code.split(":")
            count[":".join(parts[:3]) if parts[1] in ("collision", "stopping") else ":".join(parts[1:3])] += 1
            if parts[1] == "collision":
                print(f"seed {seed}: {code}")
    for name, n in sorted(count.items()):
        print(f"{n:6d}  {name}")
    collisions = sum(n for name, n in count.items() if name.startswith("car:collision"))
    print(f"{collisions} collisions in {args.episodes} episodes of {args.seconds:g} s, {args.vehicles} vehicles")


if __name__ == "__main__":
    main()
