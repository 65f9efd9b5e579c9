"""Whether the packages here are of the versions that the metadata of this one asks for."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from importlib.metadata import PackageNotFoundError, metadata, requires, version

from packaging.requirements import Requirement

from bci.apps.machine import Check, check

_NOT_OF_A_SESSION = ("dev", "docs", "all")
"""Extras for who works on the project, and the one that only names the others."""


def versions() -> Check:
    """Compare every package that is installed with its range; one of an extra may be absent."""
    try:
        texts, extras = requires("bci") or [], metadata("bci").get_all("Provides-Extra") or []
    except PackageNotFoundError:
        found = "the ranges are not known, bci runs without being installed"
        return check("package versions", False, found, "pip install -e . in its folder", needed=False)
    return judge(texts, [e for e in extras if e not in _NOT_OF_A_SESSION], version)


def judge(texts: Iterable[str], extras: Iterable[str], installed: Callable[[str], str]) -> Check:
    """Return what does not fit.

    Parameters
    ----------
    texts : iterable of str
        Requirements as the metadata has them.
    extras : iterable of str
        Those whose packages are looked at, where they are installed.
    installed : callable
        Returns the version of a package; `PackageNotFoundError` if it is absent.
    """
    extras, unfit, asked, n_fit, needed = list(extras), [], [], 0, False
    for requirement in map(Requirement, texts):
        is_base = _applies(requirement, "")
        if requirement.name == "bci" or not (is_base or any(_applies(requirement, e) for e in extras)):
            continue
        try:
            there = installed(requirement.name)
        except PackageNotFoundError:
            if not is_base:
                continue
            there = "absent"
        if there != "absent" and requirement.specifier.contains(there, prereleases=True):
            n_fit += 1
            continue
        unfit.append(f"{requirement.name} {there}, not {requirement.specifier}")
        asked.append(f"'{requirement.name}{requirement.specifier}'")
        needed = needed or is_base
    found = "; ".join(unfit) if unfit else f"{n_fit} packages, each in the range that was tried"
    fix = f"pip install {' '.join(asked)}"
    return check("package versions", not unfit, found, fix, needed=needed or not unfit)


def _applies(requirement: Requirement, extra: str) -> bool:
    return requirement.marker is None or requirement.marker.evaluate({"extra": extra})
