"""Cases of the data: shape, names, units, scale, and that what was delivered stays as it is."""

from __future__ import annotations

import numpy as np

from bci.acquisition.conformance.case import Exempt, Figures, Need, Severity, Step, case
from bci.acquisition.conformance.subject import FIRST_S, Subject
from bci.stream import Flag, Kind
from bci.testing import stream_rules as rules
from bci.testing.contract import require
from bci.units import is_voltage

_LOW_UV, _HIGH_UV = 0.05, 5000.0
"""Between a shorted input (0.1 to 1 µV) and movement artefacts of a few mV, robust standard deviation."""
_ELECTRIC = (Kind.EEG, Kind.EOG, Kind.EMG, Kind.ECG)


@case(Step.BRONZE, Severity.CRITICAL)
def delivers_samples(subject: Subject) -> Figures:
    """The first samples come within 5 s of start()."""
    with subject.fresh() as device:
        open_s, _ = subject.timed(device.open)
        start_s, _ = subject.timed(device.start)
        first_s, _ = subject.timed(lambda: subject.first(device))
    total_s = start_s + first_s
    require(total_s <= FIRST_S, f"the first samples come within {FIRST_S:g} s of start()", f"{total_s:.2f} s")
    return {"open_s": open_s, "first_sample_s": total_s}


@case(Step.BRONZE, Severity.MAJOR, Need.SIGNAL)
def chunks_carry_their_stream(subject: Subject) -> None:
    """read() returns Chunks, and each carries the StreamInfo of open()."""
    rules.carries_info(subject.heard.chunks, subject.heard.info)


@case(Step.BRONZE, Severity.MAJOR, Need.SIGNAL)
def data_are_numbers(subject: Subject) -> None:
    """Data are floats or integers of one dtype, times are float64."""
    rules.data_are_numbers(subject.heard.chunks)


@case(Step.BRONZE, Severity.MINOR)
def names_are_plain_and_unique(subject: Subject) -> None:
    """Channel names are not empty, have no blanks around them, and differ by more than case."""
    with subject.fresh() as device:
        names = device.open().ch_names
    for name in names:
        require(bool(name) and name == name.strip(), "a channel name is text without blanks around it", name)
    folded = [n.casefold() for n in names]
    twice = sorted({n for n in names if folded.count(n.casefold()) > 1})
    require(not twice, "channel names differ by more than case", twice)


@case(Step.BRONZE, Severity.CRITICAL)
def units_are_stated(subject: Subject) -> None:
    """EEG is in uV, other electric signals in a voltage, and every channel says its unit and a scale above 0."""
    with subject.fresh() as device:
        channels = device.open().channels
    for channel in channels:
        if channel.kind is Kind.EEG:
            require(channel.unit == "uV", f"EEG channel {channel.name} is in uV", channel.unit)
        elif channel.kind in _ELECTRIC:
            require(is_voltage(channel.unit), f"{channel.kind} channel {channel.name} is in a voltage", channel.unit)
        good = np.isfinite(channel.scale) and channel.scale > 0
        require(bool(good), f"the scale of channel {channel.name} is above 0", channel.scale)


@case(Step.BRONZE, Severity.CRITICAL, Need.SIGNAL)
def eeg_is_of_plausible_size(subject: Subject) -> Figures:
    """EEG has a robust standard deviation between 0.05 µV and 5 mV (median over channels)."""
    heard = subject.heard
    eeg = [i for i, c in enumerate(heard.info.channels) if c.kind is Kind.EEG]
    if not eeg:
        raise Exempt("it has no EEG channel")
    data = np.concatenate([c.physical().data[:, eeg] for c in heard.full]).astype(np.float64)
    spread = 1.4826 * np.nanmedian(np.abs(data - np.nanmedian(data, axis=0)), axis=0)
    typical_uv = float(np.nanmedian(spread))
    require(_LOW_UV <= typical_uv <= _HIGH_UV, f"EEG varies by {_LOW_UV:g} to {_HIGH_UV:g} µV", f"{typical_uv:.3g} µV")
    return {"robust_sd_uv": typical_uv}


@case(Step.SILVER, Severity.CRITICAL, Need.SIGNAL)
def unknown_values_are_said(subject: Subject) -> None:
    """A NaN is flagged, and no value is infinite."""
    for chunk in subject.heard.full:
        if chunk.data.dtype.kind == "f":
            require(not bool(np.isinf(chunk.data).any()), "no value is infinite", chunk.start)
            nan = bool(np.isnan(chunk.data).any())
            require(not nan or Flag.NAN in chunk.flags, "a NaN is flagged NAN", f"chunk {chunk.start}: {chunk.flags!r}")


@case(Step.BRONZE, Severity.CRITICAL, Need.SIGNAL)
def chunks_never_change(subject: Subject) -> None:
    """What was delivered is never written to again."""
    rules.never_changes(subject.heard.chunks, subject.heard.copies)


@case(Step.BRONZE, Severity.MINOR, Need.SIGNAL)
def chunks_cannot_be_written_to(subject: Subject) -> None:
    """Delivered arrays are read-only, so that one reader cannot spoil them for the next."""
    for chunk in subject.heard.full:
        writeable = chunk.data.flags.writeable or chunk.times.flags.writeable
        require(not writeable, "delivered arrays are read-only", f"chunk {chunk.start} can be written to")


@case(Step.SILVER, Severity.CRITICAL, Need.SIGNAL)
def no_chunk_comes_twice(subject: Subject) -> None:
    """The same samples are not delivered again under new numbers."""
    heard = subject.heard
    full = [(c.start, copy) for c, copy in zip(heard.chunks, heard.copies, strict=True) if c.n_samples]
    pairs = [(a, b, start) for (_, a), (start, b) in zip(full, full[1:], strict=False) if len(a) > 3]
    twice = [start for a, b, start in pairs if np.array_equal(a, b, equal_nan=a.dtype.kind == "f")]
    if len(twice) > 0.5 * len(pairs):
        raise Exempt("the signal itself repeats; connect one that has noise", untested=True)
    require(not twice, "no chunk is delivered twice", f"repeated at samples {twice[:5]}")


CASES = (
    delivers_samples,
    chunks_carry_their_stream,
    data_are_numbers,
    names_are_plain_and_unique,
    units_are_stated,
    eeg_is_of_plausible_size,
    unknown_values_are_said,
    chunks_never_change,
    chunks_cannot_be_written_to,
    no_chunk_comes_twice,
)
