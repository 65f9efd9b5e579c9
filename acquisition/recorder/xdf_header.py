"""The descriptions in an XDF file: XML that says what a stream is."""

from __future__ import annotations

import re
from typing import Any
from xml.etree.ElementTree import Element, SubElement, tostring

import numpy as np

from bci.errors import DataError
from bci.signal.contact import KEY, contacts_of
from bci.stream import StreamInfo

_FORMATS = {"f4": "float32", "f8": "double64", "i1": "int8", "i2": "int16", "i4": "int32", "i8": "int64"}
# XDF has no unsigned numbers: the next larger signed type holds them all.
_WIDER = {"b1": "i1", "u1": "i2", "u2": "i4", "u4": "i8", "f2": "f4"}

# XML 1.0, production [2] "Char": everything else may not stand in a document, not even escaped.
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def signal_header(info: StreamInfo, stored: np.dtype[Any], kind: str = "") -> Element:
    """Return the header of a stream of numbers: everything that `info` says, and how they are stored."""
    root = _description(info.name, kind or info.channels[0].kind.value.upper(), info.n_channels)
    SubElement(root, "nominal_srate").text = repr(float(info.sfreq))
    SubElement(root, "channel_format").text = _FORMATS[stored.str[1:]]
    SubElement(root, "source_id").text = clean(info.source_id)
    desc = SubElement(root, "desc")
    channels, contacts = SubElement(desc, "channels"), contacts_of(info)
    for channel in info.channels:
        entry = SubElement(channels, "channel")
        SubElement(entry, "label").text = clean(channel.name)
        SubElement(entry, "unit").text = "microvolts" if channel.unit == "uV" else clean(channel.unit)
        SubElement(entry, "type").text = channel.kind.value.upper()
        if channel.scale != 1.0:  # the convention has no word for it: ours, with a name that says what it does
            SubElement(entry, "scale_to_unit").text = repr(channel.scale)
        if channel.name in contacts:  # ours as well: NaN is unknown, inf no contact
            SubElement(entry, KEY).text = repr(contacts[channel.name])
        if channel.position is not None:
            # The channel meta-data convention of XDF gives locations in millimetres.
            in_mm, in_m = SubElement(entry, "location"), SubElement(entry, "position_m")
            for axis, metres in zip("XYZ", channel.position, strict=True):
                SubElement(in_mm, axis).text = f"{1e3 * metres:.3f}"
                SubElement(in_m, axis).text = repr(float(metres))  # to the bit, for our own replay
    meta = SubElement(desc, "meta")
    for key, value in info.meta.items():
        if key == KEY:
            continue  # stands with the channels
        SubElement(meta, "entry", {"key": clean(key)}).text = clean(value)
    return root


def text_header(name: str, kind: str, source_id: str) -> Element:
    """Return the header of a stream of texts."""
    root = _description(name, kind, 1)
    SubElement(root, "nominal_srate").text = "0"
    SubElement(root, "channel_format").text = "string"
    SubElement(root, "source_id").text = clean(source_id)
    SubElement(root, "desc")
    return root


def clean(text: str) -> str:
    """Return `text` with what XML 1.0 cannot hold (control characters, lone surrogates) replaced by U+FFFD."""
    return _NOT_XML.sub("\ufffd", text)


def stored_type(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the type in which numbers of `dtype` are kept: their own, or the next wider one that XDF has."""
    code = np.dtype(dtype).str[1:]
    code = _WIDER.get(code, code)
    if code not in _FORMATS:
        raise DataError(
            f"XDF holds {', '.join(_FORMATS.values())} and texts; got samples of type {dtype}; convert them to float64"
        )
    return np.dtype("<" + code)


def _description(name: str, kind: str, n_channels: int) -> Element:
    root = Element("info")
    for key, text in (("name", name), ("type", kind), ("channel_count", str(n_channels))):
        SubElement(root, key).text = clean(text)
    return root


def xml_bytes(root: Element) -> bytes:
    """Return an XML document."""
    body: bytes = tostring(root, encoding="utf-8")
    return b'<?xml version="1.0"?>' + body
