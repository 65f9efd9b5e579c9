"""How soon a slow block is named: from the moment it begins to be slow to the line in the log. Bar: 100 ms.

A source gives 32 samples each 32 ms; after a while one block of three takes 45 ms for each chunk, or hangs for 2 s.
"""

import argparse
import logging
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "bci"))
import test_overrun as parts  # the source and the block of the tests

from bci.runtime.loop import Loop
from bci.signal.filters import Bandpass, Notch
from bci.signal.pipeline import Pipeline
from bci.trial import Slide

LIMIT_S = 0.1


class Slow(parts.Sluggish):
    """Fast, until it is not."""

    def __init__(self, length_s):
        self.length_s, self.n, self.begin_s = length_s, 0, None

    def process(self, chunk):
        self.n += chunk.n_samples > 0
        if self.n > 10 and chunk.n_samples:
            self.begin_s = self.begin_s or time.monotonic()
            time.sleep(self.length_s)
        return chunk


class Told(logging.Handler):
    """Notes when the block was named."""

    def __init__(self):
        super().__init__(logging.WARNING)
        self.at_s = None

    def emit(self, record):
        if "block Slow" in record.getMessage() and self.at_s is None:
            self.at_s = time.monotonic()


def trial(length_s):
    """Return how long it took to name the block, s."""
    block, told = Slow(length_s), Told()
    log = logging.getLogger("bci.runtime.slow")
    log.addHandler(told)
    log.propagate = False
    loop = Loop(parts.Steady(), Pipeline([Bandpass(8.0, 30.0), block, Notch(50.0)], Slide(0.1, 0.1)))
    loop.open()
    loop.start()
    for _ in loop.turns():
        if told.at_s is not None or (block.begin_s and time.monotonic() - block.begin_s > 3.0):
            break
    loop.close()
    log.removeHandler(told)
    return float("inf") if told.at_s is None else told.at_s - block.begin_s


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=20)
    given = parser.parse_args()
    longest = 0.0
    for name, length_s in (("45 ms per 32 ms chunk", 0.045), ("hangs for 2 s", 2.0)):
        times = [trial(length_s) for _ in range(given.trials)]
        longest = max(longest, *times)
        print(
            f"{name:<22} {given.trials} trials: named after {1e3 * np.median(times):.0f} ms (median), "
            f"{1e3 * max(times):.0f} ms at most"
        )
    print(
        f"longest {1e3 * longest:.0f} ms, at most {1e3 * LIMIT_S:.0f}: {'passed' if longest <= LIMIT_S else 'FAILED'}"
    )
    return 0 if longest <= LIMIT_S else 1


if __name__ == "__main__":
    sys.exit(main())
