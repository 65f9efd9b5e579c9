"""Record a device; send a recording."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tqdm import tqdm

from bci.acquisition.lsl_serve import serve
from bci.acquisition.recorder.disk import bytes_per_s, refuse_if_too_long
from bci.acquisition.replay import Replay
from bci.apps.plain import FAILED, STOPPED
from bci.apps.progress import FollowLoading
from bci.clock import Clock, ManualClock, MonotonicClock
from bci.errors import ConfigError, DeviceLost
from bci.ports import Device, HasEnd, HasOwnTime, RecordsBeside
from bci.registry import create
from bci.runtime.describe import describe, versions
from bci.runtime.loop import keep_report
from bci.runtime.verdicts import VerdictLog
from bci.settings import plugin_name, split_spec
from bci.signal.contact import contacts_of, line, measure, noted, plain, refuse_if_unable
from bci.signal.quality import QualityWatch
from bci.stream import Chunk, StreamInfo

_GRACE_S = 5.0
"""How much longer than asked for a recording may take, s: a source may begin late and stutter."""
_SLOW = 0.02
"""By what part of the time more: the rate that a source states may be above its true one."""
_BAR = "{l_bar}{bar}| {n:.0f} s"
_OPEN_BAR = "{desc}: {n:.0f} s"


def record_device(
    spec: str,
    path: Path,
    seconds: float | None = None,
    force: bool = False,
    fallback: Path | None = None,
    impedance: bool = False,
) -> dict[str, Any]:
    """Record `spec` to `path` for `seconds` or until the keyboard says stop; in `fallback` once its disk is full.

    With `impedance`, the contacts are measured before, and stand in the header of the recording. A source that falls
    silent does not keep it waiting: 5 s and 2 % after `seconds`, on the clock of the device if it has its own time, it
    ends with what came.

    Returns
    -------
    dict
        ``path``, ``paths`` (more than one if a disk was full), ``samples``, ``lost``, ``channels``, ``sfreq`` (Hz),
        ``contact_kohm`` (by channel; empty if not measured), ``ended`` and ``text`` in words, and ``code``, the exit
        code of a program: 0 finished, 2 less than `seconds` came, 130 stopped by the keyboard.

    Raises
    ------
    ConfigError
        If `seconds` is not above 0, the file exists, so many seconds do not fit on the disk, or the device cannot
        measure the contacts that were asked for.
    DeviceLost
        If the device is gone, saying what was recorded.
    """
    if seconds is not None and not seconds > 0:
        raise ConfigError(f"a recording lasts longer than 0 s, got {seconds:g} s; leave it out to record until Ctrl+C")
    device: Any = create("devices", spec, **pace_of(spec, seconds))
    if impedance:
        refuse_if_unable(device, spec)
    if force:
        path = _free(path)
    config = {"device": describe(device), "versions": versions()}
    recorder = create("recorders", "xdf", path=path, config=config, planned_s=seconds, fallback=fallback)
    tally = _Tally()
    info = device.open()
    try:
        if seconds is not None:  # before there is a file
            refuse_if_too_long(seconds, bytes_per_s(info), [path, *([fallback] if fallback else [])])
        info = noted(info, measure(device, info) if impedance else {})
        recorder.open()
        stream = recorder.add_stream(info)
        if isinstance(device, RecordsBeside):
            device.record_beside(recorder)
        watch = QualityWatch(info)
        verdicts = VerdictLog(watch, recorder)
        device.start()
        is_late = _lateness(device, seconds)
        bar = tqdm(total=seconds, desc=path.name, disable=None, bar_format=_BAR if seconds else _OPEN_BAR)
        with bar:
            while not tally.fills(seconds, info):
                chunk = device.read(0.1)
                recorder.write(stream, chunk)
                tally.add(chunk)
                watch.split(chunk)
                verdicts.keep(chunk, tally.last_s)
                bar.update(chunk.n_samples / info.sfreq)
                if isinstance(device, HasEnd) and device.at_end:
                    break
                if seconds is not None and is_late() and not tally.fills(seconds, info):
                    tally.give_up(seconds, info)
                    break
    except KeyboardInterrupt:
        tally.ended, tally.code = "stopped by the keyboard", STOPPED
    except DeviceLost as error:
        raise DeviceLost(f"{error}; {tally.samples} samples were recorded and are in {recorder.path}") from error
    finally:
        keep_report(device, recorder, tally.last_s)
        device.close()
        recorder.close()
    paths = [str(p) for p in recorder.paths]
    return {"path": str(path), "paths": paths, **tally.result(info, paths)}


def serve_recording(
    path: Path, name: str, speed: float, wait_s: float = 300.0, say: Callable[[str], None] = print, **settings: Any
) -> dict[str, Any]:
    """Send `path` as the LSL stream `name` until its end (looped: until Ctrl+C); return what was sent.

    Parameters
    ----------
    path : Path
        Recording.
    name : str
        Name of the stream; the markers are "NAME-markers".
    speed : float
        Times real time.
    wait_s : float
        How long to wait for a receiver, s.
    say : callable
        Takes what a person should know before it begins.
    **settings
        How the file is read, as `Replay` takes it: ``stream``, ``sfreq``, ``ch_names``, ``unit``, ``time_unit``,
        ``salvage``; and ``loop``.
    """
    device = Replay(path, progress=FollowLoading(path.name), **settings)
    with tqdm(desc=path.name, disable=None, bar_format=_BAR, delay=0.1) as bar:

        def follow(chunk: Chunk | None) -> None:
            if chunk is None:
                say(f"Sending {path.name} as {name!r} and {name + '-markers'!r}: waiting {wait_s:g} s for a receiver, "
                    f"as in `bci record got.xdf --device lsl-replay:{name}` ...")  # fmt: skip
                bar.reset(total=None if device.loop else device.duration_s)
            else:
                bar.update(chunk.n_samples / chunk.info.sfreq)

        n = serve(device, name, speed=speed, wait_s=wait_s, follow=follow)
    return {"path": str(path), "name": name, "samples": n, "text": f"Sent {n} samples of {path.name} as {name!r}."}


def pace_of(spec: str, seconds: float | None = None) -> dict[str, float]:
    """Return the settings by which a simulated person without an end runs in real time and not as fast as can be."""
    endless = seconds is None and "speed" not in split_spec(spec)[1]
    return {"speed": 1.0} if endless and plugin_name(spec) == "participant" else {}


class _Tally:
    """What was recorded so far, and how it ended."""

    def __init__(self) -> None:
        self.ended, self.code = "finished", 0
        self.samples = self.lost = self._next = 0
        self.last_s = float("nan")

    def add(self, chunk: Chunk) -> None:
        if chunk.n_samples:
            self.last_s = float(chunk.times[-1])
            self.lost += max(0, chunk.start - self._next)
            self.samples += chunk.n_samples
            self._next = chunk.stop

    def fills(self, seconds: float | None, info: StreamInfo) -> bool:
        return seconds is not None and self.samples + self.lost >= seconds * info.sfreq

    def give_up(self, seconds: float, info: StreamInfo) -> None:
        came = f"{self.samples / info.sfreq:.1f} of {seconds:g} s came"
        self.ended, self.code = f"incomplete, {came} in the time (see that the device is on and delivers)", FAILED

    def result(self, info: StreamInfo, paths: list[str]) -> dict[str, Any]:
        text = (
            f"{self.ended}: {(self.samples + self.lost) / info.sfreq:.1f} s of {info.n_channels} channels at "
            f"{info.sfreq:g} Hz in {' and '.join(paths)}, {self.samples} samples, {self.lost} lost"
        )
        contacts = contacts_of(info)
        if contacts:
            text += f"; contacts: {line(contacts)}"
        return {
            "samples": self.samples, "lost": self.lost, "channels": info.ch_names, "sfreq": info.sfreq,
            "contact_kohm": plain(contacts), "ended": self.ended, "text": text, "code": self.code,
        }  # fmt: skip


def _lateness(device: Device, seconds: float | None) -> Callable[[], bool]:
    """Return what tells whether a source that has just started had time enough for `seconds`."""
    clock: Clock = device.clock if isinstance(device, HasOwnTime) else MonotonicClock()
    if seconds is None or (isinstance(device, HasEnd) and isinstance(clock, ManualClock)):
        return lambda: False  # a recording comes to its end, and its times may jump
    due_s = clock.now() + seconds * (1 + _SLOW) + _GRACE_S
    return lambda: clock.now() >= due_s


def _free(path: Path) -> Path:
    number, free = 1, path
    while free.exists():
        number += 1
        free = path.with_stem(f"{path.stem}-{number}")
    return free
