"""The house rules: who may import whom, what is packaged, what a bare import costs."""

import ast
import configparser
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("acquisition", "decoding", "paradigms", "apps", "datasets")
LOW = ("acquisition", "decoding", "paradigms", "datasets")
HOMES = {
    "torch": ("decoding/",),
    "brainflow": ("acquisition/",),
    "pylsl": ("acquisition/", "apps/outputs/lsl.py"),
    "matplotlib": ("bci/signal/picture.py", "bci/signal/chain.py", "apps/"),
    "mne": ("bci/interop.py", "datasets/", "acquisition/formats/mne_files.py", "acquisition/export/"),
    "PySide6": ("apps/",),
    "pyqtgraph": ("apps/",),
}
CORE_MAY = {"bci", "numpy", "scipy", "llvmlite", "numba", "threadpoolctl"} | set(sys.stdlib_module_names)


def sources():
    for folder in ("bci", *FOLDERS):
        for directory, names, files in os.walk(ROOT / folder):  # does not follow links
            names[:] = [n for n in names if n != "__pycache__" and not (Path(directory) / n).is_symlink()]
            for name in files:
                if name.endswith(".py"):
                    yield (Path(directory) / name).relative_to(ROOT)


def imports(path):
    for node in ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: import by full name, not relatively"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", sorted(sources()), ids=str)
def test_imports_follow_the_picture(path):
    folder = path.parts[0]
    for name in imports(path):
        top = name.split(".")[0]
        assert top not in FOLDERS, f"{path} imports {name}; import bci.{name}"
        if folder == "bci":
            assert not any(name.startswith(f"bci.{f}") for f in FOLDERS), f"{path} imports {name}, which is above it"
            allowed = top in CORE_MAY or str(path) in HOMES.get(top, ())
            assert allowed, f"{path} imports {name}; bci/ may use numpy and scipy only"
        elif folder in LOW:
            others = [f for f in FOLDERS if f != folder]
            assert not any(name.startswith(f"bci.{f}") for f in others), f"{path} imports {name}, a neighbour"
        if top in HOMES:
            assert str(path).startswith(HOMES[top]), f"{path} imports {name}, at home in {HOMES[top]}"


def packages_listed():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    return set(config["options"]["packages"].split())


def test_setup_lists_every_package():
    found = {"bci"}
    for path in sources():
        if path.name == "__init__.py":
            dotted = ".".join(path.parent.parts)
            found.add(dotted if dotted.startswith("bci") else f"bci.{dotted}")
    assert packages_listed() == found


@pytest.mark.parametrize("folder", FOLDERS)
def test_folder_is_linked_into_the_package(folder):
    link = ROOT / "bci" / folder
    assert link.is_symlink(), f"bci/{folder} must be a link to ../{folder}"
    assert os.readlink(link) == f"../{folder}"


@pytest.mark.parametrize("folder", FOLDERS)
def test_folder_refuses_any_other_name(folder):
    done = subprocess.run([sys.executable, "-c", f"import {folder}"], cwd=ROOT, capture_output=True, text=True)
    assert f"import bci.{folder}" in done.stderr


def test_import_bci_stays_light():
    heavy = ["torch", "scipy.signal", "mne", "matplotlib", "PySide6", "brainflow", "pylsl", "numba", "sklearn"]
    code = f"import bci, sys; print([m for m in {heavy!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_registered_plugin_exists():
    from bci.registry import BUILTIN

    for table in BUILTIN.values():
        for target in table.values():
            module, _, name = target.partition(":")
            path = ROOT / "/".join(module.split(".")[1:] if module.split(".")[1] in FOLDERS else module.split("."))
            file = path.with_suffix(".py") if path.with_suffix(".py").exists() else path / "__init__.py"
            assert file.exists(), target
            defined = {n.name for n in ast.parse(file.read_text()).body if isinstance(n, ast.ClassDef)}
            assert name in defined, target
