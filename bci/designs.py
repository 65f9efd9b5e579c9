"""What was designed with MNE, as blocks that run live."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from bci import interop
from bci.errors import ConfigError
from bci.ports import Block
from bci.signal.chain import Chain
from bci.signal.fir_design import minimum_phase
from bci.signal.fixed import FixedFilter, Places
from bci.signal.spatial import SpatialFilter


def from_mne(design: Any, sfreq: float | None = None, phase: Literal["linear", "minimum"] = "linear") -> Block:
    """Return what was designed with MNE as a block.

    Parameters
    ----------
    design : object
        One of: what `mne.filter.create_filter` returns (taps, or a dict with sections); an `mne.preprocessing.ICA` (its
        `exclude` is taken out, see `bci.interop.from_ica`); projectors (SSP, the average reference among them); an
        `mne.channels.DigMontage`; or a recording, epochs or their `mne.Info`: its places, the filter that its
        `highpass` and `lowpass` tell of as MNE designs it by default, and its projectors, as a chain.
    sfreq : float, optional
        The rate that a filter was designed for, Hz: needed for taps and sections; for an info, the rate of the live
        stream if it is another.
    phase : {"linear", "minimum"}, default="linear"
        What becomes of symmetric taps. Linear: as they are, which delays by half their length. Minimum: others with
        the same gain and the least delay.

    Returns
    -------
    Block
        After `prepare` its `delay_s` tells how late it is.

    Raises
    ------
    ConfigError
        If it is nothing of these, or a filter comes without its rate.

    Notes
    -----
    A causal filter delays; MNE's default filters do not, because they look into the future. With taps the gain is the
    one that MNE applied. Sections are applied once here: MNE applies them forwards and backwards unless told
    ``phase="forward"``, so its gain is the square. Which reference a recording was given is not kept by MNE, unless
    by a projector: add `bci.signal.spatial.Reference`. Projectors and ICA keep their own EEG channels only.
    """
    if phase not in ("linear", "minimum"):
        raise ConfigError(f"expected the phase 'linear' or 'minimum', got {phase!r}; correct it")
    if hasattr(design, "pca_components_"):
        return interop.from_ica(design, list(design.exclude) or None)
    if hasattr(design, "get_positions"):
        return Places(interop.places_of(design))
    info = getattr(design, "info", design)
    if isinstance(info, Mapping) and "chs" in info:
        return _of_info(info, sfreq, phase)
    if isinstance(design, Mapping) and "col_names" in (design.get("data") or {}):
        return _of_projectors([design])
    if isinstance(design, Sequence) and len(design) and all(isinstance(p, Mapping) for p in design):
        return _of_projectors(design)
    return _of_filter(design, sfreq, phase)


def _of_filter(design: Any, sfreq: float | None, phase: str) -> FixedFilter:
    if isinstance(design, Mapping) and ("sos" in design or {"a", "b"} <= set(design)):
        if "sos" in design:
            sos = design["sos"]
        else:
            from scipy.signal import tf2sos

            sos = tf2sos(design["b"], design["a"])
        return FixedFilter(_rate(sfreq), sos=sos)
    if isinstance(design, np.ndarray) and design.ndim == 1:
        return FixedFilter(_rate(sfreq), taps=minimum_phase(design) if phase == "minimum" else design)
    raise ConfigError(
        "expected taps, a dict with sections, an ICA, projectors, a montage, a recording or an info of MNE, got "
        f"{type(design).__name__}; give what mne.filter.create_filter returns, for example"
    )


def _of_projectors(projectors: Sequence[Mapping[str, Any]]) -> SpatialFilter:
    names = list(dict.fromkeys(name for p in projectors for name in p["data"]["col_names"]))
    return SpatialFilter(interop.projection(projectors, names), names, names)


def _of_info(info: Mapping[str, Any], sfreq: float | None, phase: str) -> Chain:
    rate = float(sfreq or info["sfreq"])
    blocks: list[Block] = []
    about = interop.describe_info(info)
    taps = interop.default_taps(rate, info["highpass"], info["lowpass"])
    if taps is not None:
        blocks.append(_of_filter(taps, rate, phase))
    eeg = [c.name for c in about.channels if c.kind.value == "eeg" and c.name not in info["bads"]]
    projectors = [p for p in info["projs"] if set(p["data"]["col_names"]) & set(eeg)]
    if projectors:
        blocks.append(SpatialFilter(interop.projection(projectors, eeg), eeg, eeg))
    places = {c.name: c.position for c in about.channels if c.position}
    if places:
        blocks.append(Places(places))
    return Chain(blocks)


def _rate(sfreq: float | None) -> float:
    if sfreq is None:
        raise ConfigError("a filter belongs to one sampling rate, got none; give the sfreq that it was designed for")
    return float(sfreq)
