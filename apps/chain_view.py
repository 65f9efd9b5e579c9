"""Show the signal chain of a session: what the decoder sees."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from bci.config import SessionConfig
from bci.errors import ConfigError
from bci.ports import Block, Paradigm
from bci.registry import create
from bci.signal.chain import Chain
from bci.signal.portrait import bands, describe, rows
from bci.stream import Channel, StreamInfo
from bci.trial import Slide


def show_chain(
    path: Path,
    device: str | None = None,
    rate_hz: float | None = None,
    channels: str = "C3,Cz,C4",
    plot: Path | None = None,
    measure: bool = False,
) -> dict[str, Any]:
    """Return the chain of a TOML file in words and numbers.

    Parameters
    ----------
    path : Path
        The file, see `bci.config`.
    device : str, optional
        Another source than the file says; it is opened to ask what it delivers, not started.
    rate_hz : float, optional
        Sampling rate, Hz: no device is opened then.
    channels : str
        With `rate_hz`: names of EEG channels, with commas between.
    plot : Path, optional
        File for a picture.
    measure : bool
        Also measure what a chunk costs.

    Raises
    ------
    ConfigError
        If a block does not fit, or the picture cannot be written there.
    """
    config = SessionConfig.from_toml(path)
    if rate_hz is not None and device is not None:
        raise ConfigError(f"expected --device or --rate, got {device} and {rate_hz:g} Hz; give one of them")
    rules: Paradigm = config.paradigm.create("paradigms")
    blocks: list[Block] = (
        rules.blocks() if config.blocks is None else [block.create("blocks") for block in config.blocks]
    )
    if rate_hz is not None:
        info = StreamInfo("stream", rate_hz, tuple(Channel(name.strip()) for name in channels.split(",")))
    else:
        info = _delivered(create("devices", device) if device else config.device.create("devices"))
    made = Chain(blocks)
    made.prepare(info)
    window = rules.window
    if isinstance(window, Slide):
        seen = f"The decoder sees {window.length_s:g} s every {window.step_s:g} s"
    else:
        seen = f"The decoder sees {window.tmin_s:g} to {window.tmax_s:g} s around events"
    text = [describe(made, measure), f"{seen}, {1e3 * made.delay_s:.0f} ms late by the blocks."]
    if plot is not None:
        _draw(made, plot)
        text.append(f"Drawn into {plot}.")
    return {
        "blocks": [dataclasses.asdict(row) for row in rows(made, measure)],
        "bands": [dataclasses.asdict(band) for band in bands(made)],
        "plot": str(plot) if plot is not None else None,
        "text": "\n".join(text),
    }


def _delivered(device: Any) -> StreamInfo:
    try:
        info: StreamInfo = device.open()
    finally:
        device.close()
    return info


def _draw(chain: Chain, plot: Path) -> None:
    figure = chain.plot()
    known = figure.canvas.get_supported_filetypes()
    if plot.suffix.lower().lstrip(".") not in known:
        raise ConfigError(
            f"expected a picture such as chain.png, got {plot.name}; known are {', '.join(sorted(known))}"
        )
    figure.savefig(plot)
