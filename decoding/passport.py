"""Model files that say what they were made for, and refuse anything else."""

from __future__ import annotations

import datetime
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bci.decoding.tensorfile import read_tensors, write_tensors
from bci.errors import BciError, ConfigError, DataError, FormatError
from bci.ports import Block
from bci.registry import load as load_plugin
from bci.registry import names as plugin_names
from bci.runtime.describe import describe, versions
from bci.stream import Channel, Kind, StreamInfo, difference
from bci.trial import Locked, Slide, Window

log = logging.getLogger(__name__)

FORMAT, VERSION = "bci-model", 1


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A decoder with its passport.

    Parameters
    ----------
    decoder : Decoder
        Ready to predict, bit for bit as it was saved.
    manifest : mapping
        Everything the file says: ``format, version, decoder, params, classes, input, source, blocks,
        window, provenance, sha256``.
    """

    decoder: Any
    manifest: Mapping[str, Any]

    @property
    def classes(self) -> tuple[Any, ...]:
        """The classes, in the order of the probabilities."""
        return tuple(self.manifest["classes"])

    @property
    def window(self) -> Window:
        """The window it was trained on."""
        settings = dict(self.manifest["window"])
        kind = settings.pop("class").rpartition(".")[2]
        if kind == "Slide":
            return Slide(**settings)
        return Locked(settings["tmin_s"], settings["tmax_s"], tuple(settings["codes"]))

    def check(
        self, info: StreamInfo | None = None, blocks: Sequence[Block] | None = None, window: Window | None = None
    ) -> None:
        """Refuse what the model was not made for.

        Parameters
        ----------
        info : StreamInfo, optional
            The stream the windows are cut from, after the chain.
        blocks : sequence of Block, optional
            The chain.
        window : Slide or Locked, optional
            The window.

        Raises
        ------
        ConfigError
            Naming what differs in montage, rate, units, chain or window.
        """
        if info is not None:
            _check_input(self.manifest["input"], info)
        if blocks is not None and _blocks(blocks) != self.manifest["blocks"]:
            raise ConfigError(
                f"the model was trained on the chain {_in_words(self.manifest['blocks'])}, got "
                f"{_in_words(_blocks(blocks))}; use its chain or train again"
            )
        if window is not None and window != self.window:
            raise ConfigError(f"the model was trained on {self.window}, got {window}; use its window or train again")


def save(
    path: str | Path,
    decoder: Any,
    info: StreamInfo,
    *,
    blocks: Sequence[Block | Mapping[str, Any]],
    window: Window,
    raw_info: StreamInfo | None = None,
    provenance: Mapping[str, Any] | None = None,
) -> Path:
    """Save a fitted decoder with everything needed to use it rightly.

    Parameters
    ----------
    path : str or Path
        File to write, as in ``"model.bci"``; replaced if there is one.
    decoder : Decoder
        Fitted, registered, with ``get_params``, ``get_state`` and ``set_state``.
    info : StreamInfo
        The stream the windows were cut from (after the chain).
    blocks : sequence of Block or of mapping
        The chain, or what `bci.runtime.describe.describe` says of it.
    window : Slide or Locked
        The window.
    raw_info : StreamInfo, optional
        The stream that entered the chain.
    provenance : mapping, optional
        How it was trained: ``n_trials``, ``score``, ``seed`` and the like. Date and versions
        are added. Never the name of a person.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    ConfigError
        If the decoder is not registered, not fitted, or has settings that are not plain.
    DataError
        If the decoder was fitted on another number of channels, or something is not plain JSON.
    """
    path = Path(path)
    name = _registered_name(decoder)
    state = decoder.get_state()
    n_fitted = getattr(decoder, "n_channels_", info.n_channels)
    if n_fitted != info.n_channels:
        raise DataError(
            f"the decoder was fitted on {n_fitted} channels, got an info with {info.n_channels}; "
            "pass the info after the chain"
        )
    now = datetime.datetime.now(datetime.UTC)
    manifest = {
        "format": FORMAT,
        "version": VERSION,
        "decoder": name,
        "params": describe(decoder.get_params(deep=False)),
        "classes": decoder.classes_.tolist(),
        "input": _stream(info),
        "source": None if raw_info is None else _stream(raw_info),
        "blocks": _blocks(blocks),
        "window": describe(window),
        "provenance": {
            **describe(dict(provenance or {})),
            "saved_utc": now.isoformat(timespec="seconds"),
            "versions": versions(),
        },
    }
    try:
        write_tensors(path, manifest, state)
    except OSError as error:
        raise DataError(f"cannot write the model to {path}: {error.strerror}; choose another folder") from error
    log.info("saved a %s model for %d channels to %s", name, info.n_channels, path)
    return path


def load(
    path: str | Path,
    info: StreamInfo | None = None,
    *,
    blocks: Sequence[Block] | None = None,
    window: Window | None = None,
) -> LoadedModel:
    """Load a model; refuse a damaged file, and whatever the model was not made for.

    Parameters
    ----------
    path : str or Path
        A file made by `save`.
    info, blocks, window
        See `LoadedModel.check`; what is not given is not checked.

    Raises
    ------
    FormatError
        If the file is of another format or version, or has any damage.
    ConfigError
        If montage, rate, units, chain or window differ.
    PluginError
        If the decoder's package is missing.
    """
    path = Path(path)
    manifest, arrays = read_tensors(path)
    if manifest.get("format") != FORMAT or manifest.get("version") != VERSION:
        raise FormatError(
            f"expected {FORMAT} version {VERSION}, got {manifest.get('format')!r} version {manifest.get('version')!r} "
            f"in {path.name}; update bci or train again"
        )
    known = plugin_names("decoders")
    if manifest.get("decoder") not in known:
        raise FormatError(
            f"expected a model of a registered decoder ({', '.join(sorted(known))}), got "
            f"{manifest.get('decoder')!r} in {path.name}; install the package that brings it"
        )
    try:
        decoder = load_plugin("decoders", manifest["decoder"])(**manifest["params"])
        decoder.set_state(arrays, manifest["classes"])
    except BciError:
        raise
    except (TypeError, ValueError, KeyError, IndexError) as error:
        raise FormatError(
            f"the decoder {manifest['decoder']!r} of this version cannot take the state in {path.name} ({error}); "
            "train again"
        ) from error
    model = LoadedModel(decoder, manifest)
    model.check(info, blocks, window)
    return model


def _registered_name(decoder: Any) -> str:
    target = f"{type(decoder).__module__}:{type(decoder).__qualname__}"
    for name, known in plugin_names("decoders").items():
        if known == target:
            if all(hasattr(decoder, verb) for verb in ("get_params", "get_state", "set_state")):
                return name
            break
    raise ConfigError(
        f"a model file needs a registered decoder with get_params, get_state and set_state, got {target}; "
        f"use one of {', '.join(sorted(plugin_names('decoders')))} or register yours (entry point bci.decoders)"
    )


def _stream(info: StreamInfo) -> dict[str, Any]:
    # Neither source_id nor meta: they may lead to a person.
    channels = [{"name": c.name, "kind": c.kind.value, "unit": c.unit} for c in info.channels]
    return {"sfreq": float(info.sfreq), "channels": channels}


def _blocks(blocks: Sequence[Block | Mapping[str, Any]]) -> list[dict[str, Any]]:
    # The delay is a result of `prepare`, not a setting.
    return [{k: v for k, v in describe(b).items() if k != "delay_s"} for b in blocks]


def _in_words(blocks: Sequence[Mapping[str, Any]]) -> str:
    words = []
    for b in blocks:
        settings = ", ".join(f"{k}={v}" for k, v in sorted(b.items()) if k != "class")
        words.append(f"{str(b.get('class', '?')).rpartition('.')[2]}({settings})")
    return " -> ".join(words) or "(none)"


def _check_input(expected: Mapping[str, Any], info: StreamInfo) -> None:
    channels = tuple(Channel(c["name"], Kind(c["kind"]), c["unit"]) for c in expected["channels"])
    found = difference("the model", StreamInfo("model", expected["sfreq"], channels), info)
    if found:
        raise ConfigError(found)
