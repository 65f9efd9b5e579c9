"""The same session as a TOML file, read into frozen dataclasses.

.. code-block:: toml

    seed = 1
    record = "run.xdf"

    [device]
    name = "participant"
    strength = 1.0

    [paradigm]
    name = "motor-imagery"
    n_trials = 10

    [decoder]
    name = "csp-lda"

    [[effectors]]
    name = "log"

    [drive]
    duration_s = 60
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from bci.errors import ConfigError
from bci.registry import create
from bci.settings import check_settings, fits
from bci.stream import Flag, unknown
from bci.trial import Locked, Slide

if TYPE_CHECKING:
    from bci.runtime.intake import Overrun
    from bci.runtime.session import Session
    from bci.signal.chain import GapPolicy

_KINDS: Mapping[str, tuple[Any, str]] = MappingProxyType(
    {
        "effectors": (list, "a list of tables, each begun by [[effectors]]"),
        "blocks": (list, "a list of tables, each begun by [[blocks]]"),
        "calibrate": (dict, "a table, begun by [calibrate]"),
        "drive": (dict, "a table, begun by [drive]"),
        "gate": (dict, "a table, begun by [gate]"),
        "record": (str, "the name of a file"),
        "record_fallback": (str, "the name of a folder"),
        "planned_s": (float, "a number of seconds"),
        "seed": (int, "a whole number"),
        "impedance": (bool, "true or false"),
        "gap": (str, '"bridge" or "reset"'),
        "bridge_s": (float, "a number of seconds"),
        "overrun": (str, '"block", "drop-oldest" or "skip-to-newest"'),
    }
)


_PLAIN = ("gate", "record", "record_fallback", "planned_s", "seed", "impedance", "gap", "bridge_s", "overrun")


@dataclass(frozen=True, slots=True)
class Plugin:
    """A plugin by name, with its settings."""

    name: str
    settings: Mapping[str, Any] = field(default_factory=dict)

    def create(self, group: str) -> Any:
        """Make it; `PluginError` or `ConfigError` if that fails."""
        settings = dict(self.settings)
        if isinstance(settings.get("window"), Mapping):
            settings["window"] = _window(settings["window"])
        return create(group, self.name, **settings)


@dataclass(frozen=True, slots=True)
class Calibrate:
    """What to calibrate on: the source itself, another one, or the first part of a recording (s of signal)."""

    source: str | None = None
    until_s: float | None = None

    def __post_init__(self) -> None:
        if self.until_s is not None and not self.until_s > 0:
            raise ConfigError(f"a calibration lasts longer than 0 s, got {self.until_s:g} s; correct until_s")


@dataclass(frozen=True, slots=True)
class Drive:
    """How long to drive (s of signal), with cues or without."""

    duration_s: float = 60.0
    cues: bool = True

    def __post_init__(self) -> None:
        if not self.duration_s > 0:
            raise ConfigError(f"a drive lasts longer than 0 s, got {self.duration_s:g} s; correct duration_s")


@dataclass(frozen=True, slots=True)
class SessionConfig:
    """Everything that a session needs, as plain values."""

    device: Plugin = Plugin("participant")  # frozen
    paradigm: Plugin = Plugin("motor-imagery")  # frozen
    decoder: Plugin = Plugin("csp-lda")  # frozen
    blocks: tuple[Plugin, ...] | None = None
    effectors: tuple[Plugin, ...] = ()
    calibrate: Calibrate = Calibrate()  # frozen
    gate: Mapping[str, Any] = field(default_factory=dict)
    drive: Drive = Drive()  # frozen
    record: str | None = None
    record_fallback: str | None = None
    planned_s: float | None = None
    seed: int = 0
    impedance: bool = False
    gap: GapPolicy = "bridge"
    bridge_s: float = 1.0
    overrun: Overrun = "block"

    @classmethod
    def from_toml(cls, path: str | Path) -> SessionConfig:
        """Read a TOML file.

        Raises
        ------
        ConfigError
            If the file is missing, is not TOML, or has keys that mean nothing.
        """
        try:
            text = Path(path).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is not text in UTF-8"
            raise ConfigError(f"expected a TOML file at {path}, could not read it: {why}; check the path") from error
        try:
            table = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise ConfigError(f"{path} is not valid TOML: {error}; correct that line") from error
        try:
            return cls.from_mapping(table)
        except ConfigError as error:
            raise ConfigError(f"{path}: {error}") from error

    @classmethod
    def from_mapping(cls, table: Mapping[str, Any]) -> SessionConfig:
        """Read plain values; unknown keys are errors that name the nearest known one."""
        _known("key", table, [f.name for f in fields(cls)])
        for key, kind in _KINDS.items():
            if key in table and not fits(table[key], kind[0]):
                raise ConfigError(f"{key} must be {kind[1]}, got {table[key]!r}; correct the file")
        values: dict[str, Any] = {k: table[k] for k in _PLAIN if k in table}
        for key in ("device", "paradigm", "decoder"):
            if key in table:
                values[key] = _plugin(key, table[key])
        for key in ("blocks", "effectors"):
            if key in table:
                values[key] = tuple(_plugin(key, entry) for entry in table[key])
        parts: dict[str, type[Calibrate] | type[Drive]] = {"calibrate": Calibrate, "drive": Drive}
        for key, part in parts.items():
            if key in table:
                check_settings(part, f"[{key}]", (), table[key])
                values[key] = part(**table[key])
        return cls(**values)

    def session(self, **changes: Any) -> Session:
        """Make the session; `changes` replace arguments of `Session`."""
        from bci.runtime.session import Session
        from bci.safety.gate import Gate
        from bci.safety.link import guarded

        arguments: dict[str, Any] = {
            "device": self.device.create("devices"),
            "paradigm": self.paradigm.create("paradigms"),
            "decoder": self.decoder.create("decoders"),
            "blocks": None if self.blocks is None else [b.create("blocks") for b in self.blocks],
            "effectors": [guarded(e.name, **e.settings) for e in self.effectors],
            "record": self.record,
            "record_fallback": self.record_fallback,
            "planned_s": self.planned_s,
            "seed": self.seed,
            "impedance": self.impedance,
            "gap": self.gap,
            "bridge_s": self.bridge_s,
            "overrun": self.overrun,
        }
        if self.gate:
            settings = dict(self.gate)
            if "bad_flags" in settings:
                settings["bad_flags"] = _flags(settings["bad_flags"])
            check_settings(Gate, "gate", (), settings)
            arguments["gate"] = Gate(**settings)
        return Session(**{**arguments, **changes})


def _plugin(key: str, table: Any) -> Plugin:
    if isinstance(table, str):
        return Plugin(table)
    if not isinstance(table, Mapping) or not isinstance(table.get("name"), str):
        raise ConfigError(f'[{key}] needs a name, such as name = "..."; got {table!r}')
    return Plugin(table["name"], {k: v for k, v in table.items() if k != "name"})


def _window(table: Mapping[str, Any]) -> Slide | Locked:
    kinds = {frozenset(("length_s", "step_s")): Slide, frozenset(("tmin_s", "tmax_s")): Locked}
    kind = kinds.get(frozenset(table) - {"codes"})
    if kind is None:
        raise ConfigError(
            "window needs length_s and step_s (sliding), or tmin_s and tmax_s (locked to events), got "
            f"{sorted(table)}; correct the file"
        )
    check_settings(kind, "window", (), table)
    codes = {"codes": tuple(table["codes"])} if "codes" in table else {}
    return kind(**{**table, **codes})


def _flags(names: Any) -> Flag:
    """Return flags by their names."""
    if not fits(names, list[str]):
        raise ConfigError(f'bad_flags of gate takes a list of names, got {names!r}; as in ["GAP", "FLAT"]')
    found = Flag.OK
    for name in names:
        if name not in Flag.__members__:
            raise ConfigError(unknown("flag in bad_flags of gate:", name, Flag.__members__))
        found |= Flag[name]
    return found


def _known(what: str, table: Mapping[str, Any], names: list[str]) -> None:
    for key in table:
        if key not in names:
            raise ConfigError(unknown(what, key, names))
