"""Damage recordings at random and see whether the check file finds it and gives everything else back.

    python benchmarks/bench_verify.py [--files 2000] [--seed 0]

A recording of three streams with losses and markers is damaged in one of eight
ways: bits flipped, ranges zeroed, overwritten, cut out, put in, doubled or
swapped, the end cut off; or its check file is. Which blocks are still whole is
known from how the damage was done. Exit status 1 if one damage is not found, if
one whole block is not in the repaired copy, if a sample there has a wrong
value, time or number, or if a file takes longer than 5 s.
"""

import argparse
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
from tqdm import tqdm

LIMIT_S = 5.0


def make(path: Path) -> None:
    """Record 20 s of EEG (with a loss each second) and IMU, with markers and texts."""
    from bci.acquisition.recorder.xdf_recorder import XdfRecorder
    from bci.stream import Channel, Chunk, Event, Flag, Kind, StreamInfo

    eeg = StreamInfo("eeg", 250.0, tuple(Channel(f"c{k}") for k in range(8)))
    imu = StreamInfo("imu", 50.0, tuple(Channel(n, Kind.ACCEL, "m/s^2") for n in "xyz"))
    rng = np.random.default_rng(0)
    with XdfRecorder(path, {"what": "bench_verify"}) as recorder:
        fast, slow, texts = recorder.add_stream(eeg), recorder.add_stream(imu), recorder.add_text("Texts")
        start = 0
        for tick in range(200):
            n = int(rng.integers(1, 50))
            lost = int(rng.integers(1, 300)) if tick % 10 == 9 else 0
            start += lost
            number = start + np.arange(n)
            events = (Event(start, start / 250, f"m{tick}"),) if tick % 4 == 0 else ()
            flags = Flag.GAP if lost else Flag.LEAD_OFF if tick % 7 == 0 else Flag.OK
            data = np.repeat(number[:, None], 8, 1).astype(np.float32)
            recorder.write(fast, Chunk(data, number / 250, start, eeg, events, flags))
            start += n
            slow_number = 5 * tick + np.arange(5)
            recorder.write(slow, Chunk(np.repeat(slow_number[:, None], 3, 1).astype(np.int16),
                                       slow_number / 50, 5 * tick, imu))  # fmt: skip
            recorder.write_text(texts, start / 250, f"text {tick}")


class Damage:
    """A way to damage bytes; knows which runs of them are still there in one piece."""

    KINDS = ("flip", "zero", "overwrite", "cut out", "put in", "double", "swap", "cut off")

    def __init__(self, data: bytes, kind: str, rng: np.random.Generator) -> None:
        size = len(data)
        at, n = int(rng.integers(0, size)), int(np.exp(rng.uniform(0, np.log(size / 4))))
        end = min(at + n, size)
        noise = rng.bytes(end - at)
        if kind == "flip":
            hits = np.unique(rng.integers(0, size, int(rng.integers(1, 20))))
            changed = bytearray(data)
            for hit in hits:
                changed[hit] ^= 1 << int(rng.integers(0, 8))
            self.data, edges = bytes(changed), [-1, *hits.tolist(), size]
            self.runs = [(a + 1, b) for a, b in zip(edges[:-1], edges[1:], strict=True)]
        elif kind in ("zero", "overwrite"):
            self.data = data[:at] + (bytes(end - at) if kind == "zero" else noise) + data[end:]
            self.runs = [(0, at), (end, size)]
        elif kind == "cut out":
            self.data, self.runs = data[:at] + data[end:], [(0, at), (end, size)]
        elif kind == "put in":
            self.data, self.runs = data[:at] + noise + data[at:], [(0, at), (at, size)]
        elif kind == "double":
            self.data, self.runs = data[:end] + data[at:end] + data[end:], [(0, end), (end, size)]
        elif kind == "swap":
            middle = (at + end) // 2
            self.data = data[:at] + data[middle:end] + data[at:middle] + data[end:]
            self.runs = [(0, at), (at, middle), (middle, end), (end, size)]
        else:
            self.data, self.runs = data[:at], [(0, at)]

    def holds(self, start: int, stop: int) -> bool:
        """Whether the bytes from `start` to before `stop` are surely still together."""
        return any(a <= start and stop <= b for a, b in self.runs)


def rows_of(path: Path) -> dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Return values, times and sample numbers of each stream of samples; texts and times of those of texts."""
    import pyxdf

    from bci.acquisition.recorder.quality import sample_numbers

    streams, _ = pyxdf.load_xdf(str(path), synchronize_clocks=False, dejitter_timestamps=False)
    named = {s["info"]["name"][0]: s for s in streams}
    found = {}
    for name, stream in named.items():
        values, times = stream["time_series"], np.asarray(stream["time_stamps"])
        if stream["info"]["channel_format"][0] == "string":
            found[name] = np.array([row[0] for row in values]), times, times
        else:
            lines = [row[0] for row in named[f"{name}-quality"]["time_series"]] if f"{name}-quality" in named else []
            found[name] = np.asarray(values)[:, 0] if len(times) else times, times, sample_numbers(lines, len(times))
    return found


def wrong_with(
    original: Path, then: dict, damaged: Path, damage: Damage | None, repaired: Path, blocks: list
) -> list[str]:
    """Repair and return what is not as it should be."""
    from bci.acquisition.recorder.repair import repair
    from bci.acquisition.recorder.verify import examine
    from bci.acquisition.recorder.xdf_blocks import SAMPLES

    wrong = []
    begin_s = time.monotonic()
    findings = examine(damaged)
    done = repair(damaged, repaired)
    if time.monotonic() - begin_s > LIMIT_S:
        wrong.append("too slow")
    same = damage is None or damage.data == original.read_bytes()
    if damage is not None and findings.is_sound != same:
        wrong.append("not found" if findings.is_sound else "found where nothing is")
    if damage is None and findings.is_sound and findings.finished:
        wrong.append("damage of the check file not found")
    bytes_now, whole = repaired.read_bytes(), original.read_bytes()
    sure = [b for b in blocks if damage is None or damage.holds(b.offset, b.stop)]
    # Headers, losses and footers are rewritten where rows went; samples are copied as they are.
    gone = [b for b in sure if b.tag == SAMPLES and b.stream in SIGNALS and whole[b.offset : b.stop] not in bytes_now]
    if gone:
        wrong.append(f"{len(gone)} whole blocks are not in the copy")
    if not done.lost and bytes_now != whole:
        wrong.append("nothing is lost, yet the copy differs")
    now = rows_of(repaired)
    for name, (values, times, numbers) in now.items():
        if name.endswith("-quality") or name == "Config":
            continue
        number_of = dict(
            zip(then[name][0].tolist(), zip(*(a.tolist() for a in then[name][1:]), strict=True), strict=True)
        )
        if any(
            number_of[v] != (t, n) for v, t, n in zip(values.tolist(), times.tolist(), numbers.tolist(), strict=True)
        ):
            wrong.append(f"{name}: wrong value, time or number")
    if len(now["Markers"][0]) != len(then["Markers"][0]):
        wrong.append("markers are missing")
    if examine(repaired).damages:
        wrong.append("the copy is not sound")
    return wrong


SIGNALS: set[int] = set()


def main() -> int:
    from bci.acquisition.recorder.check_file import check_path
    from bci.acquisition.recorder.verify import examine
    from bci.acquisition.recorder.xdf_blocks import walk

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng, tally, failed = np.random.default_rng(options.seed), Counter(), 0
    with tempfile.TemporaryDirectory() as folder:
        original = Path(folder) / "original.xdf"
        make(original)
        data, check = original.read_bytes(), check_path(original).read_bytes()
        blocks, names, then = list(walk(data)), examine(original).names, rows_of(original)
        SIGNALS.update(number for number, name in names.items() if name in ("eeg", "imu"))
        print(f"a recording of {len(data)} bytes in {len(blocks)} blocks, check file {len(check)} bytes")
        damaged, repaired = Path(folder) / "damaged.xdf", Path(folder) / "repaired.xdf"
        for number in tqdm(range(options.files), disable=None):
            kind = Damage.KINDS[int(rng.integers(0, len(Damage.KINDS)))]
            at_check = rng.random() < 0.2
            damage = Damage(check if at_check else data, kind, rng)
            damaged.write_bytes(data if at_check else damage.data)
            check_path(damaged).write_bytes(damage.data if at_check else check)
            unchanged = damage.data == (check if at_check else data)
            told = None if at_check else damage
            wrong = [] if unchanged else wrong_with(original, then, damaged, told, repaired, blocks)
            tally["unchanged" if unchanged else f"{kind}{', check file' if at_check else ''}"] += 1
            for path in (repaired, check_path(repaired)):
                path.unlink(missing_ok=True)
            if wrong:
                failed += 1
                print(f"file {number}: {kind}{' of the check file' if at_check else ''}: {'; '.join(wrong)}")
    for what, n in sorted(tally.items()):
        print(f"  {n:5} {what}")
    print(f"{options.files} files: {failed} where a damage was not found, or something whole not given back")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
