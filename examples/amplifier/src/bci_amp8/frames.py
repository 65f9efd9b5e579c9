"""The bytes of the protocol: frames out of them."""

from __future__ import annotations

import binascii
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

N_CHANNELS = 8
VREF_V, GAIN = 4.5, 24
# ADS1299 datasheet, "Data Format": 24-bit two's complement, 1 LSB = (2 * vref / gain) / 2**24.
SCALE_UV = 1e6 * VREF_V / GAIN / 2**23
COUNTER_BITS = 8
"""Width of the counter."""
SYNC = b"\xa5\x5a"
SIZE = len(SYNC) + 2 + 3 * N_CHANNELS + 2


@dataclass(frozen=True, slots=True, eq=False)
class Frames:
    """Whole frames in the order in which they came.

    Parameters
    ----------
    counters : ndarray of int, shape (n_frames,)
        Modulo 256.
    data : ndarray of int32, shape (n_frames, n_channels)
        Samples, multiples of `SCALE_UV`.
    battery : float
        What the last frame says is left, 0 to 1; NaN without a frame.
    """

    counters: NDArray[np.int64]
    data: NDArray[np.int32]
    battery: float


def pack(counter: int, values: list[int], battery_percent: int = 87) -> bytes:
    """Return the bytes of one frame; values are limited to 24 bits as the converter does it."""
    limited = (min(max(v, -(2**23)), 2**23 - 1) for v in values)
    body = SYNC + bytes([counter % 2**COUNTER_BITS, battery_percent])
    body += b"".join(v.to_bytes(3, "big", signed=True) for v in limited)
    return body + binascii.crc_hqx(body, 0xFFFF).to_bytes(2, "big")


class Parser:
    """Take frames out of a stream of bytes, whatever lies between them.

    Attributes
    ----------
    n_bad : int
        Frames with a wrong checksum; they are dropped, and the counter shows them as lost.
    """

    def __init__(self) -> None:
        self._rest = b""
        self.n_bad = 0

    def feed(self, received: bytes) -> Frames:
        """Return the frames that are complete now."""
        data, at = self._rest + received, 0
        found: list[bytes] = []
        while (at := data.find(SYNC, at)) >= 0 and len(data) - at >= SIZE:
            frame = data[at : at + SIZE]
            if binascii.crc_hqx(frame[:-2], 0xFFFF) == int.from_bytes(frame[-2:], "big"):
                found.append(frame)
                at += SIZE
            else:
                self.n_bad += 1
                at += 1  # damaged, or not the beginning of a frame: look for the next from here
        # The last byte may be the first half of a mark.
        self._rest = data[at:] if at >= 0 else data[-1:]
        return _unpacked(found)


def _unpacked(frames: list[bytes]) -> Frames:
    raw = np.frombuffer(b"".join(frames), np.uint8).reshape(len(frames), SIZE)
    high, middle, low = np.moveaxis(raw[:, 4:-2].reshape(-1, N_CHANNELS, 3).astype(np.int32), 2, 0)
    unsigned = high << 16 | middle << 8 | low
    data = (unsigned ^ 0x800000) - 0x800000
    battery = float(raw[-1, 3]) / 100 if frames else float("nan")
    return Frames(raw[:, 2].astype(np.int64), data, battery)
