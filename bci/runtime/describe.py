"""Put into words what a session is made of: for recordings, model files and reports."""

from __future__ import annotations

import dataclasses
import enum
import math
import platform
import subprocess
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from bci.ports import Device

PACKAGES = ("numpy", "scipy", "numba", "mne", "brainflow", "pylsl", "torch", "scikit-learn", "pyriemann")


def describe(part: Any) -> Any:
    """Return plain values (dicts, lists, numbers, texts) that say how `part` is set.

    Objects are described by their class and their public settings; paths by
    their last part only, since folders may carry a person's name.
    """
    if isinstance(part, float) and not math.isfinite(part):
        return str(part)  # JSON has no infinity
    if isinstance(part, enum.Enum):
        return part.name  # before numbers and texts, which some of them are as well
    if part is None or isinstance(part, bool | int | float | str):
        return part
    if isinstance(part, Path):
        return part.name
    if isinstance(part, Mapping):
        return {str(k): describe(v) for k, v in part.items()}
    if isinstance(part, list | tuple | set | frozenset):
        return [describe(v) for v in part]
    if hasattr(part, "get_params"):
        settings = part.get_params(deep=False)
    elif dataclasses.is_dataclass(part) and not isinstance(part, type):
        settings = {f.name: getattr(part, f.name) for f in dataclasses.fields(part)}
    elif hasattr(part, "tolist"):
        return describe(part.tolist())
    else:
        settings = {k: v for k, v in getattr(part, "__dict__", {}).items() if _is_setting(k, v)}
    return {
        "class": f"{type(part).__module__}.{type(part).__qualname__}",
        **{k: describe(v) for k, v in settings.items()},
    }


def versions() -> dict[str, str]:
    """Return the versions that a result may depend on; no names of people or machines."""
    import bci

    found = {"bci": bci.__version__, "python": platform.python_version(), "platform": sys.platform}
    revision = _revision(Path(bci.__file__).parents[1])
    if revision:
        found["revision"] = revision
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "absent"
    return found


def _revision(folder: Path) -> str:
    """Return the revision of a checkout of the project, "" for an installed package."""
    if not (folder / ".git").exists():
        return ""
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), "describe", "--always", "--dirty"], capture_output=True, text=True, timeout=5
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip()


def _is_setting(name: str, value: Any) -> bool:
    kinds = (bool, int, float, str, tuple, list, Path, enum.Enum, Mapping, np.ndarray)
    plain = value is None or isinstance(value, kinds)
    made_of = plain or dataclasses.is_dataclass(value) or isinstance(value, Device)  # a device may wrap another
    return not name.startswith("_") and not name.endswith("_") and made_of
