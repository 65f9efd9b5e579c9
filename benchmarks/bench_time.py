"""Map a drifting source to the session clock: error over a simulated hour, and how well the rate is known.

A source runs `ppm` fast or slow against the session clock; its chunks arrive late in several ways. Truth is known, so
the error is exact: delivered time less time of sampling less the shortest possible delay. Figures: after the first
30 s at most 2 ms, and the rate within 10 ppm from the tenth minute on.
"""

import argparse
import json
import sys

import numpy as np

from bci.acquisition.timebase import ClockFit

SFREQ, CHUNK = 250.0, 10
SETTLED_S, MOST_S, MOST_PPM = 30.0, 2e-3, 10.0


def exponential(rng, sent):
    return rng.exponential(2e-3, len(sent))


def polled(rng, sent):
    """A reader that sleeps 5 ms between looks, and a little longer."""
    looks = np.cumsum(5e-3 + rng.exponential(0.1e-3, int(sent[-1] / 5e-3) + 10))
    return looks[np.searchsorted(looks, sent)] - sent


def radio(rng, sent):
    """Most packets are 10 ms late, the quickest are rare."""
    return rng.gamma(2.0, 5e-3, len(sent))


def stalls(rng, sent):
    """Now and then everything waits for up to 3 s and comes at once."""
    free = sent + rng.exponential(1e-3, len(sent))
    for begin in rng.uniform(0, sent[-1], int(sent[-1] / 20)):
        held = (free > begin) & (free < begin + rng.uniform(0.1, 3.0))
        free[held] = free[held].max(initial=0.0)
    return np.maximum.accumulate(free) - sent


def congestion(rng, sent):
    """Every two minutes on average, the way is 2 to 20 ms longer for up to 40 s."""
    late = rng.exponential(1e-3, len(sent))
    for begin in rng.uniform(0, sent[-1], int(sent[-1] / 120)):
        late[(sent > begin) & (sent < begin + rng.uniform(5, 40))] += rng.uniform(2e-3, 20e-3)
    return late


JITTERS = (exponential, polled, radio, stalls, congestion)


def trial(jitter, ppm, seconds, seed, wander_ppm=0.0):
    """Return error of the delivered times (s) and of the rate (ppm, and in standard errors), one per chunk."""
    rng = np.random.default_rng(seed)
    n = int(seconds * SFREQ / CHUNK)
    counted = np.arange(1, n + 1) * CHUNK / SFREQ
    # A quartz that warms up: its rate comes to its final value within minutes.
    drift = 1e-6 * (ppm * counted + wander_ppm * 600 * np.expm1(-counted / 600))
    sent = counted + drift
    arrived = sent + jitter(rng, sent)
    fit, times, rates, errors = ClockFit(), np.empty(n), np.empty(n), np.empty(n)
    rises, last = True, -np.inf
    for k in range(n):
        fit.add(counted[k], 1000.0 + arrived[k])
        given = fit.follow(counted[k] + np.arange(1 - CHUNK, 1) / SFREQ)
        rises &= bool(given[0] > last and (np.diff(given) > 0).all())
        times[k], last = given[-1], given[-1]
        rates[k], errors[k] = fit.rate, fit.rate_error
    true_rate = 1 + 1e-6 * (ppm - wander_ppm * np.exp(-counted / 600))
    return counted, times - 1000.0 - sent, 1e6 * (rates - true_rate), 1e6 * errors, rises


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3600.0, help="length of one trial, simulated")
    parser.add_argument("--repeat", type=int, default=2, help="seeds of each case")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    cases = [(j, ppm, 0.0) for j in JITTERS for ppm in (-200.0, 200.0)] + [(exponential, 50.0, 5.0)]
    rows, ok = [], True
    for jitter, ppm, wander in cases:
        late, off, within, rises = [], [], [], True
        for seed in range(given.repeat):
            counted, error, rate, stderr, rising = trial(jitter, ppm, given.seconds, seed, wander)
            late.append(np.abs(error[counted > SETTLED_S]).max())
            off.append(np.abs(rate[counted > 600]).max(initial=0.0))
            within.append(
                np.mean(np.abs(rate[counted > 600]) <= 2 * stderr[counted > 600]) if counted[-1] > 600 else 1.0
            )
            rises &= rising
        passed = bool(max(late) <= MOST_S and max(off) <= MOST_PPM and rises)
        ok &= passed
        rows.append({"jitter": jitter.__name__, "ppm": ppm, "wander_ppm": wander, "rises": rises, "ok": passed,
                     "error_ms": 1e3 * float(max(late)), "rate_ppm": float(max(off)),
                     "within_2_se": float(np.mean(within))})  # fmt: skip
        if not given.json:
            r = rows[-1]
            print(f"{r['jitter']:<12} {ppm:+5.0f} ppm (wander {wander:.0f})  error {r['error_ms']:.2f} ms  rate off "
                  f"{r['rate_ppm']:.2f} ppm, within 2 standard errors {100 * r['within_2_se']:.0f} %  "
                  f"{'ok' if passed else 'FAILED'}", flush=True)  # fmt: skip
    if given.json:
        print(json.dumps(rows))
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
