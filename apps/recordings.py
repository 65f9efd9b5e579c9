"""Look into, check, repair and export recordings, for the command line."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tqdm import tqdm

from bci.acquisition.recorder.repair import repair
from bci.acquisition.recorder.summary import StreamSummary, summarize
from bci.acquisition.recorder.verify import Damage, Findings, examine
from bci.errors import ConfigError
from bci.signal import contact
from bci.stream import Chunk

FORMATS = ("edf", "bdf", "fif", "bids")
_MOST = 20
"""Damages that are told one by one."""


def describe_recording(path: Path) -> dict[str, Any]:
    """Return what is in `path`, with ``text`` for people."""
    found = summarize(path)
    streams = [_plain(stream) for stream in found.streams]
    ended = "finished" if found.is_finished else "not finished: it was cut off, or is being written"
    check = "has a check file" if found.has_check else "has no check file"
    lines = [f"{path.name}: {found.size / 1e6:.1f} MB, begun {found.begun or 'unknown'}, {ended}, {check}"]
    lines += [_stream_line(stream) for stream in found.streams]
    if found.left_over:
        where = "in its middle" if found.is_damaged else "at its end"
        lines.append(f"{found.left_over} bytes {where} are no whole block; see `bci recording verify {path.name}`")
    return {
        "path": str(path), "bytes": found.size, "begun": found.begun, "finished": found.is_finished,
        "check_file": found.has_check, "left_over": found.left_over, "streams": streams, "text": "\n".join(lines),
    }  # fmt: skip


def verify_recording(path: Path) -> dict[str, Any]:
    """Check every block of `path`; return what is damaged, ``text`` for people, and ``code``: 0 sound, 1 damaged."""
    with _bytes_bar(path, "checking") as progress:
        found = examine(path, progress)
    return {**_findings(found), "text": _verdict(found), "code": 0 if found.is_sound else 1}


def repair_recording(path: Path, target: Path | None = None) -> dict[str, Any]:
    """Write a copy of `path` with every whole block; return where it is and what is missing for good."""
    with _bytes_bar(path, "checking") as progress:
        done = repair(path, target, progress)
    found = done.findings
    if done.path == path:
        lines = [f"{path.name} is whole; nothing was to be repaired."]
        if not found.has_check:
            lines = [f"{path.name} is whole by its structure; nothing was to be repaired."]
    else:
        lines = [f"Wrote {done.path} and its check file: {done.kept} blocks were whole"]
        lines[0] += f", {done.restored} were put back from the check file." if found.has_check else "."
    if found.cut:
        lines.append(f"  its last {found.cut} bytes, half a block that was being written when it was cut, are left out")
    lines += [f"  {_damage_line(damage)}" for damage in done.lost[:_MOST]]
    if len(done.lost) > _MOST:
        lines.append(f"  ... and {len(done.lost) - _MOST} more; --json lists all")
    for name, n in done.lost_samples.items():
        lines.append(f"  {name or 'an unknown stream'}: {n} lost in all")
    if done.lost_samples:
        lines.append("Lost samples are gaps in the copy; all others keep their number and time.")
    if not found.has_check:
        lines.append("There was no check file: a changed byte inside a block was not seen.")
    return {
        "path": str(done.path), "kept": done.kept, "restored": done.restored, "lost_samples": done.lost_samples,
        "lost": [asdict(damage) for damage in done.lost], "text": "\n".join(lines),
    }  # fmt: skip


def export_recording(
    path: Path, to: str, target: Path | None = None, stream: str | None = None, **labels: Any
) -> dict[str, Any]:
    """Write `path` in another format and compare what was written.

    Parameters
    ----------
    path : Path
        Recording.
    to : str
        One of `FORMATS`.
    target : Path, optional
        File, or folder of the BIDS data set; beside the recording by default.
    stream : str, optional
        Name of the stream; the first with EEG by default.
    **labels
        For BIDS: ``subject``, ``task``, ``session``, ``run``, ``line_hz``.
    """
    if to not in FORMATS:
        raise ConfigError(f"a recording is exported to {', '.join(FORMATS)}, got {to!r}; choose one of them")
    from bci.acquisition.export.signal import read_signal

    with tqdm(desc="reading", disable=None, bar_format="{desc}: {n:.0f} s", delay=0.2) as bar:

        def follow(chunk: Chunk) -> None:
            bar.update(chunk.n_samples / chunk.info.sfreq)

        signal = read_signal(path, stream, follow)
    endings = {"fif": "_raw.fif", "bids": "-bids"}
    target = target or path.with_name(f"{path.stem}{endings.get(to, '.' + to)}")
    if to == "bids":
        from bci.acquisition.export.bids import write_bids

        proof = write_bids(signal, target, **labels)
    elif to == "fif":
        from bci.acquisition.export.fif import write_fif

        proof = write_fif(signal, target)
    else:
        from bci.acquisition.export.edf import write_edf

        proof = write_edf(signal, target)
    missing = sum(n for _, n in signal.gaps)
    text = (
        f"Wrote {proof.path}: {proof.samples} samples of {proof.channels} channels, {missing} of them lost in "
        f"{len(signal.gaps)} gaps, {proof.annotations} annotations. Read back: the same samples (SHA-256 "
        f"{proof.sha256[:16]}...), largest difference {proof.largest_error:.3g} in the unit of the channel."
    )
    return {**asdict(proof), "path": str(proof.path), "gaps": len(signal.gaps), "lost": missing, "text": text}


def _bytes_bar(path: Path, what: str) -> _Bar:
    return _Bar(path.stat().st_size if path.exists() else 0, what)


class _Bar:
    """A progress bar over bytes, where there is a terminal and it takes a moment."""

    def __init__(self, total: int, what: str) -> None:
        self._bar: Any = tqdm(total=total, desc=what, unit="B", unit_scale=True, disable=None, delay=0.3)

    def __enter__(self) -> Callable[[int], object]:
        update: Callable[[int], object] = self._bar.update
        return update

    def __exit__(self, *_: object) -> None:
        self._bar.close()


def _plain(stream: StreamSummary) -> dict[str, Any]:
    """Return a stream for JSON, which has no NaN."""
    values = {**asdict(stream), "duration_s": stream.duration_s, "contact_kohm": contact.plain(stream.contact_kohm)}
    return {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in values.items()}


def _stream_line(stream: StreamSummary) -> str:
    if stream.format == "string":
        return f"  {stream.name} ({stream.type}): {stream.samples} texts"
    lost = f", {stream.lost} lost in {stream.gaps} gaps" if stream.lost else ", nothing lost"
    return (
        f"  {stream.name} ({stream.type}): {stream.n_channels} channels of {stream.format} at {stream.sfreq:g} Hz, "
        f"{stream.samples} samples, {stream.duration_s:.1f} s{lost}"
        + (f"\n    contacts: {contact.line(stream.contact_kohm)}" if stream.contact_kohm else "")
    )


def _findings(found: Findings) -> dict[str, Any]:
    return {
        "path": str(found.path), "sound": found.is_sound, "bytes": found.size, "blocks": len(found.kept),
        "check_file": found.has_check, "finished": found.finished, "unchecked_bytes": found.unchecked,
        "cut_bytes": found.cut, "damages": [asdict(damage) for damage in found.damages],
    }  # fmt: skip


def _verdict(found: Findings) -> str:
    name, n = found.path.name, len(found.damages)
    places = f"{n} place{'s' * (n != 1)}"
    if not found.has_check:
        first = f"{name} has no check file: only its structure could be looked at, and it is " + (
            f"whole: {len(found.kept)} blocks."
            if found.is_sound
            else f"damaged in {places}; {len(found.kept)} blocks are whole."
        )
    elif found.is_sound:
        first = f"{name} is as it was written: {len(found.kept)} blocks, {found.size} bytes."
    else:
        first = f"{name} is damaged in {places}; {len(found.kept)} blocks are whole."
    lines = [first, *[f"  {_damage_line(damage)}" for damage in found.damages[:_MOST]]]
    if n > _MOST:
        lines.append(f"  ... and {n - _MOST} more; --json lists all")
    if not found.finished:
        lines.append("It was not closed: it was cut off, its recorder was killed, or is still writing.")
    if found.cut:
        lines.append(f"Its last {found.cut} bytes are half a block that was being written then; readers leave it out.")
    if found.has_check and found.unchecked:
        lines.append(f"{found.unchecked} bytes are whole blocks of which the check file says nothing.")
    if not found.is_sound and (found.kept or found.has_check):
        lines.append(f"`bci recording repair {name}` writes a copy with every whole block.")
    return "\n".join(lines)


def _damage_line(damage: Damage) -> str:
    where = f"bytes {damage.offset} to {damage.offset + damage.length - 1}: " if damage.length else ""
    return f"{where}{damage.what}"
