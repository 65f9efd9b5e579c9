"""Send a device to other programs as LSL streams."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tqdm import tqdm

from bci.acquisition.lsl_serve import serve
from bci.apps.record import pace_of
from bci.registry import create
from bci.stream import Chunk

_BAR = "{desc}: {n:.0f} s"


def serve_device(spec: str, name: str, keep_s: float, say: Callable[[str], None] = print) -> dict[str, Any]:
    """Send the device `spec` as the LSL stream `name` until its end or Ctrl+C; return what was sent.

    Parameters
    ----------
    spec : str
        The device.
    name : str
        Name of the stream; the markers are "NAME-markers".
    keep_s : float
        For how long what nobody receives is kept, s.
    say : callable
        Takes what a person should know before it begins.
    """
    device: Any = create("devices", spec, **pace_of(spec))
    with tqdm(desc=name, disable=None, bar_format=_BAR, delay=0.1) as bar:

        def follow(chunk: Chunk | None) -> None:
            if chunk is None:
                say(f"Sending {spec} as {name!r} and {name + '-markers'!r}, until Ctrl+C; receive it with "
                    f"`bci view --device lsl:{name}`.")  # fmt: skip
            else:
                bar.update(chunk.n_samples / chunk.info.sfreq)

        n = serve(device, name, wait_s=None, keep_s=keep_s, follow=follow)
    return {"device": spec, "name": name, "samples": n, "text": f"Sent {n} samples of {spec} as {name!r}."}
