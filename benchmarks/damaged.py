"""Small whole recordings of every format, and ways to damage them; for `bench_damage.py` and the tests.

Each maker writes what `Truth` says and returns the file to load: channel 0 holds the sample number (modulo 2000) in µV.
"""

import struct
from dataclasses import dataclass

import numpy as np

SFREQ = 256
MARKS = ((300, "left"), (1234, "right"))


@dataclass(frozen=True)
class Truth:
    """What is in a recording: digital numbers of 0.5 µV, shape (n_samples, n_channels)."""

    digital: np.ndarray

    @property
    def uv(self):
        return self.digital * 0.5

    @property
    def names(self):
        return [f"c{k}" for k in range(self.digital.shape[1])]


def truth(n_samples=19200, n_channels=32, seed=0):
    """Return random numbers of 16 bits (a multiple of 256 samples), with the sample number in channel 0."""
    digital = np.random.default_rng(seed).integers(-2000, 2000, (n_samples, n_channels))
    digital[:, 0] = 2 * (np.arange(n_samples) % 2000)
    return Truth(digital)


# ---------------------------------------------------------------- makers
def edf(path, what, width=2, interrupted=(), label="EDF"):
    """Write EDF+ (`width` 3: BDF+); `interrupted` holds (record, seconds missing before it)."""
    n_records, n = len(what.digital) // SFREQ, what.digital.shape[1]
    limit = 32000 if width == 2 else 1 << 22
    note_bytes = 120
    columns = [(16, [*what.names, f"{label} Annotations"]), (80, [""] * (n + 1)), (8, ["uV"] * n + [""])]
    for low in (-0.5 * limit, 0.5 * limit, -limit, limit):
        columns.append((8, [f"{low:.8g}"] * n + [f"{np.sign(low) * 32767:.0f}"]))
    columns += [(80, [""] * (n + 1)), (8, [SFREQ] * n + [note_bytes // width]), (32, [""] * (n + 1))]
    kind = f"{label}+D" if interrupted else f"{label}+C"
    head = "0".ljust(8) if width == 2 else "\xffBIOSEMI"
    head += "X X X X".ljust(80) + "Startdate X X X X".ljust(80) + "01.01.2001.02.03"
    head += f"{256 * (n + 2):<8}{kind:<44}{n_records:<8}{1:<8}{n + 1:<4}"
    head += "".join(str(v).ljust(w) for w, values in columns for v in values)
    records = [head.encode("latin-1")]
    late = dict(interrupted)
    begin_s = 0.0
    for k in range(n_records):
        begin_s += late.get(k, 0)
        rows = what.digital[k * SFREQ : (k + 1) * SFREQ].T.ravel()
        wide = rows.astype("<i4").view(np.uint8).reshape(-1, 4)[:, :width]
        notes = f"+{begin_s:.9g}\x14\x14\0"
        for row, code in MARKS:
            if row // SFREQ == k:
                notes += f"+{begin_s + row % SFREQ / SFREQ:.6f}\x14{code}\x14\0"
        records += [wide.tobytes(), notes.encode().ljust(note_bytes, b"\0")]
        begin_s += 1
    path = path.with_suffix(".edf" if width == 2 else ".bdf")
    path.write_bytes(b"".join(records))
    return path


def edf_d(path, what):
    return edf(path, what, interrupted=((2, 3), (5, 0.5)))


def bdf(path, what):
    return edf(path, what, 3, label="BDF")


def gdf(path, what):
    """Write GDF 1.25: one record per second, 16 bits, an event table."""
    n = what.digital.shape[1]
    n_records = len(what.digital) // SFREQ
    head = b"GDF 1.25".ljust(168) + b"2001010203040500" + struct.pack("<q", 256 * (n + 1)) + bytes(44)
    head += struct.pack("<q2II", n_records, 1, 1, n)
    head += b"".join(name.encode().ljust(16, b"\0") for name in what.names) + bytes(80 * n)
    head += b"uV".ljust(8, b"\0") * n
    head += np.repeat([-16000.0, 16000.0], n).astype("<f8").tobytes()
    head += np.repeat([-32000, 32000], n).astype("<i8").tobytes() + bytes(80 * n)
    head += np.repeat([SFREQ, 3], n).astype("<i4").tobytes() + bytes(32 * n)
    data = what.digital.reshape(n_records, SFREQ, n).transpose(0, 2, 1).astype("<i2").tobytes()
    rows = [row for row, _ in MARKS]
    table = struct.pack("<B3BI", 1, SFREQ % 256, SFREQ // 256, 0, len(rows))
    table += (np.array(rows, "<u4") + 1).astype("<u4").tobytes() + np.array([769, 770], "<u2").tobytes()
    path = path.with_suffix(".gdf")
    path.write_bytes(head + data + table)
    return path


def brainvision(path, what):
    names = what.names
    channels = "\n".join(f"Ch{k + 1}={name},,0.5,µV" for k, name in enumerate(names))
    path.with_suffix(".vhdr").write_text(
        "Brain Vision Data Exchange Header File Version 1.0\n\n[Common Infos]\nCodepage=UTF-8\n"
        f"DataFile={path.name}.eeg\nMarkerFile={path.name}.vmrk\nDataFormat=BINARY\nDataOrientation=MULTIPLEXED\n"
        f"NumberOfChannels={len(names)}\nSamplingInterval={1e6 / SFREQ:g}\n\n[Binary Infos]\n"
        f"BinaryFormat=INT_16\n\n[Channel Infos]\n{channels}\n", encoding="utf-8")  # fmt: skip
    marks = "".join(f"Mk{k + 2}=Stimulus,{code},{row + 1},1,0\n" for k, (row, code) in enumerate(MARKS))
    path.with_suffix(".vmrk").write_text(
        "Brain Vision Data Exchange Marker File, Version 1.0\n\n[Common Infos]\nCodepage=UTF-8\n"
        f"DataFile={path.name}.eeg\n\n[Marker Infos]\nMk1=New Segment,,1,1,0,20010101020304000000\n{marks}",
        encoding="utf-8")  # fmt: skip
    path.with_suffix(".eeg").write_bytes(what.digital.astype("<i2").tobytes())
    return path.with_suffix(".vhdr")


def eeglab(path, what):
    from scipy.io import savemat

    def table(**fields):
        rows = np.empty(len(next(iter(fields.values()))), [(k, "O") for k in fields])
        for key, values in fields.items():
            rows[key] = values
        return rows

    n = len(what.names)
    places = table(labels=what.names, X=[1.0] * n, Y=[0.0] * n, Z=[0.0] * n)
    events = table(type=[c for _, c in MARKS], latency=[r + 1.0 for r, _ in MARKS], duration=[0.0] * len(MARKS))
    path = path.with_suffix(".set")
    eeg = {
        "setname": "", "nbchan": float(n), "pnts": float(len(what.uv)), "trials": 1.0, "srate": float(SFREQ),
        "xmin": 0.0, "xmax": (len(what.uv) - 1) / SFREQ, "data": what.uv.T.astype(np.float32), "chanlocs": places,
        "event": events, "epoch": np.empty((0, 0)), "comments": "", "ref": "common", "icawinv": np.empty((0, 0)),
        "icaweights": np.empty((0, 0)), "icasphere": np.empty((0, 0)), "icachansind": np.empty((0, 0)),
    }  # fmt: skip
    savemat(path, {"EEG": eeg}, appendmat=False, oned_as="row")
    return path


def fif(path, what):
    from bci.interop import to_raw
    from bci.stream import Channel, Event, StreamInfo

    info = StreamInfo("amp", SFREQ, tuple(Channel(name) for name in what.names))
    raw = to_raw(what.uv, info, [Event(row, row / SFREQ, code) for row, code in MARKS])
    path = path.with_name(f"{path.name}_raw.fif")
    raw.save(path, overwrite=True, fmt="single", verbose="error")
    return path


def cnt(path, what):
    """Write Neuroscan CNT of 16 bits; http://paulbourke.net/dataformats/eeg/ has the layout."""
    n, n_samples = what.digital.shape[1], len(what.digital)
    end = 900 + 75 * n + 2 * n * n_samples
    head = bytearray(900)
    head[:12] = b"Version 3.0\0"
    head[225:245] = b"01/01/01\0\0" + b"02:03:04\0\0"
    for at, form, value in [(370, "<H", n), (376, "<H", SFREQ), (864, "<i", n_samples), (886, "<i", end),
                            (890, "<f", n_samples / SFREQ)]:  # fmt: skip
        struct.pack_into(form, head, at, value)
    channels = b""
    for k, name in enumerate(what.names):
        one = bytearray(75)
        one[:10] = name.encode().ljust(10, b"\0")
        struct.pack_into("<2f", one, 19, 100 * np.cos(k), 100 * np.sin(k))
        struct.pack_into("<f", one, 59, 0.5)
        struct.pack_into("<f", one, 71, 204.8)
        channels += one
    table = b"".join(struct.pack("<HBBi", k + 1, 0, 0, 900 + 75 * n + 2 * n * row) for k, (row, _) in enumerate(MARKS))
    path = path.with_suffix(".cnt")
    path.write_bytes(
        head + channels + what.digital.astype("<i2").tobytes() + struct.pack("<Bii", 1, len(table), 0) + table
    )
    return path


def xdf(path, what):
    """Write two streams of samples, one of markers, clock offsets and boundaries."""
    from bci.acquisition.recorder.xdf_writer import XdfWriter
    from bci.stream import Channel, Kind, StreamInfo

    path = path.with_suffix(".xdf")
    with XdfWriter(path) as writer:
        first = writer.add_numeric(StreamInfo("amp", SFREQ, tuple(map(Channel, what.names))), np.dtype("f4"))
        gaze = writer.add_numeric(StreamInfo("eyes", 60, (Channel("x", Kind.GAZE, "px"),)), np.dtype("f8"))
        cues = writer.add_text("cues", "Markers")
        for at in range(0, len(what.uv), 64):
            times = 100 + np.arange(at, at + 64) / SFREQ
            writer.write(first, what.uv[at : at + 64].astype("f4"), times)
            writer.write(gaze, np.full((15, 1), float(at)), 100 + at / SFREQ + np.arange(15) / 60)
            writer.write_text(cues, [(100 + row / SFREQ, code) for row, code in MARKS if at <= row < at + 64])
            if at % 1280 == 0:
                writer.mark_time(100 + at / SFREQ)
    return path


def openbci(path, what):
    """Write what the OpenBCI GUI does: a counter of 8 bits, 8 EXG channels, acceleration, Unix time, markers."""
    names = [f"EXG Channel {k}" for k in range(8)] + [f"Accel Channel {k}" for k in range(3)]
    lines = ["%OpenBCI Raw EXG Data", "%Number of channels = 8", f"%Sample Rate = {SFREQ} Hz",
             "%Board = OpenBCI_GUI$BoardCytonSerial",
             ", ".join(["Sample Index", *names, "Timestamp", "Marker Channel", "Timestamp (Formatted)"])]  # fmt: skip
    marks = {row: k + 1 for k, (row, _) in enumerate(MARKS)}
    for row, values in enumerate(what.uv):
        uv = ", ".join(f"{v:.1f}" for v in np.resize(values, 8))
        lines.append(f"{row % 256}, {uv}, 0.040, 0.420, 0.238, {1.6e9 + row / SFREQ:.6f}, {marks.get(row, 0):.1f}, -")
    path = path.with_suffix(".txt")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def npy(path, what):
    np.save(path.with_suffix(".npy"), what.uv)
    return path.with_suffix(".npy")


def npz(path, what):
    rows, codes = zip(*MARKS, strict=True)
    np.savez(path.with_suffix(".npz"), data=what.uv, sfreq=SFREQ, ch_names=what.names, unit="uV", event_samples=rows,
             event_codes=codes)  # fmt: skip
    return path.with_suffix(".npz")


def csv(path, what):
    marks = dict(MARKS)
    lines = [",".join(["time", *what.names, "marker"])]
    for row, values in enumerate(what.uv):
        lines.append(f"{row / SFREQ:.6f}," + ",".join(f"{v:.1f}" for v in values) + "," + marks.get(row, ""))
    path.with_suffix(".csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path.with_suffix(".csv")


MAKERS = {
    "edf": edf, "edf+d": edf_d, "bdf": bdf, "gdf": gdf, "brainvision": brainvision, "eeglab": eeglab, "fif": fif,
    "cnt": cnt, "xdf": xdf, "openbci": openbci, "npy": npy, "npz": npz, "csv": csv,
}  # fmt: skip
SETTINGS = {"npy": {"sfreq": float(SFREQ)}}
"""What `load` must be told of a format."""


# ---------------------------------------------------------------- damage
def _bits(content, rng, head):
    for at in rng.integers(0, head, rng.integers(1, 9)):
        content[at] ^= 1 << rng.integers(8)


def _truncate(content, rng, head):
    del content[rng.integers(0, len(content)) :]


def _zero(content, rng, head):
    first = rng.integers(0, head)
    n = min(int(rng.integers(1, 5000)), len(content) - first)
    content[first : first + n] = bytes(n)


def _inflate(content, rng, head):
    """Make numbers large, in binary and in decimal."""
    digits = [k for k in range(min(head, 20000)) if 48 <= content[k] < 58]
    for _ in range(rng.integers(1, 4)):
        if digits and rng.random() < 0.7:
            content[rng.choice(digits)] = 57
        else:
            at = int(rng.integers(0, max(1, head - 8)))
            form, value = [("<I", 0xFFFFFFFF), ("<I", 0x7FFFFFFF), ("<H", 0xFFFF), ("<d", 1e300), (">I", 0x7FFFFFFF),
                           ("<Q", 1 << 40), (">I", 0x00FFFFFF)][rng.integers(7)]  # fmt: skip
            if at + struct.calcsize(form) <= len(content):
                struct.pack_into(form, content, at, value)


def _double(content, rng, head):
    first = int(rng.integers(0, head))
    content[first:first] = content[first : first + int(rng.integers(1, 3000))]


def _delete(content, rng, head):
    first = int(rng.integers(0, head))
    del content[first : first + int(rng.integers(1, 3000))]


def _swap(content, rng, head):
    first = int(rng.integers(0, max(1, head - 1)))
    width = int(rng.choice([2, 4, 8]))
    content[first : first + width] = content[first : first + width][::-1]


def _garbage(content, rng, head):
    first = int(rng.integers(0, head))
    text = [
        b"NaN",
        b"\xff\xfe",
        b"1e999",
        b"-",
        b"\0",
        b"<a>",
        b"'\"",
        b"9" * 40,
        b"\r\n\r\n",
        b",,,,",
        "µ€😀".encode(),
    ]
    some = b"".join(text[k] for k in rng.integers(0, len(text), rng.integers(1, 12)))
    content[first : first + len(some)] = some


WAYS = (_bits, _truncate, _zero, _inflate, _double, _delete, _swap, _garbage)


def damage(content, rng):
    """Return `content` (bytes) damaged in one way, half the time near its beginning, a tenth near its end."""
    hurt = bytearray(content)
    where = rng.random()
    way = WAYS[rng.integers(len(WAYS))]
    if where < 0.1:  # the end holds event tables and directories
        tail = bytearray(hurt[-2000:])
        way(tail, rng, len(tail))
        hurt[-2000:] = tail
    else:
        way(hurt, rng, min(len(hurt), 8000 if where < 0.6 else len(hurt)))
    return bytes(hurt)


def damaged_copy(whole, folder, rng):
    """Write a damaged copy of a recording (all files beside it that belong to it) and return its path."""
    files = sorted(whole.parent.glob(f"{whole.stem}.*"))
    hurt = files[rng.integers(len(files))]
    for file in files:
        content = file.read_bytes()
        (folder / file.name).write_bytes(damage(content, rng) if file == hurt else content)
    return folder / whole.name
