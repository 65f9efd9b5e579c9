"""Begin a driver: write an installable package with driver, emulator, tests and docs."""

from __future__ import annotations

import importlib.util
import keyword
import re
from importlib.resources import files
from pathlib import Path

from bci.errors import ConfigError
from bci.registry import names

_PARTS = {
    "pyproject.toml": "pyproject.toml",
    "README.md": "README.md",
    "src/__init__.py": "src/@NAME@/__init__.py",
    "src/frames.py": "src/@NAME@/frames.py",
    "src/driver.py": "src/@NAME@/driver.py",
    "src/emulator.py": "src/@NAME@/emulator.py",
    "tests/test_dialogue.py": "tests/test_dialogue.py",
    "tests/test_conformance.py": "tests/test_conformance.py",
}


def scaffold(name: str, folder: Path) -> Path:
    """Write the package `name` into a new folder of that name.

    Parameters
    ----------
    name : str
        Name of package, module and device: lower-case letters, digits and underscores.
    folder : Path
        Where.

    Returns
    -------
    Path
        The folder of the package.

    Raises
    ------
    ConfigError
        If the name cannot be one of a package, is taken by a device, or the folder exists.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or keyword.iskeyword(name):
        raise ConfigError(
            "a package needs a name of lower-case letters, digits and underscores that is no word of Python, got "
            f"{name!r}; try my_amp"
        )
    if name in names("devices") or name in ("bci", "tests") or importlib.util.find_spec(name) is not None:
        raise ConfigError(f"expected a new name, {name!r} is taken; choose another")
    target = folder / name
    if target.exists():
        raise ConfigError(f"expected a new folder, {target} exists; choose another name or --out")
    words = {"@NAME@": name, "@CLASS@": "".join(part.capitalize() for part in name.split("_"))}
    template = files("bci.acquisition.conformance") / "template"
    for source, place in _PARTS.items():
        path = target / _filled(place, words)
        path.parent.mkdir(parents=True, exist_ok=True)
        text = (template / f"{source}.txt").read_text(encoding="utf-8")
        path.write_text(_filled(text, words), encoding="utf-8")
    return target


def _filled(text: str, words: dict[str, str]) -> str:
    for word, value in words.items():
        text = text.replace(word, value)
    return text
