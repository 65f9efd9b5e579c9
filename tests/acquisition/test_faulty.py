"""A faulty device against its own ledger: what the driver finds out is what really happened."""

import json
import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bci.acquisition.counting import Counting
from bci.acquisition.faults import Chance, Fault, FaultKind, Script
from bci.acquisition.faulty import LINK_DOWN, FaultyDevice, FaultyReplay
from bci.acquisition.participant import Participant
from bci.acquisition.recorder.xdf_recorder import XdfRecorder
from bci.acquisition.truth import Ledger, Record, differences
from bci.clock import MonotonicClock
from bci.errors import ConfigError, DeviceLost, FormatError
from bci.ports import HasEnd
from bci.registry import create
from bci.stream import Channel, Chunk, Flag, StreamInfo
from bci.testing.device import check_device

SFREQ = 250.0


def play(faults, seconds=None, source=None, **more):
    """Return (device, chunks) of a stream with `faults` that ends well after them."""
    device = FaultyDevice(source or Counting(n_channels=3), faults=faults, **more)
    over = [f.over_s(SFREQ) for f in device.faults if math.isfinite(f.over_s(SFREQ))]
    until_s = seconds or max(over, default=1.0) + 1.5
    chunks = []
    with device:
        while device.clock.now() < until_s:
            chunks.append(device.read(0.1))
        device.final = device.report()
    return device, [c for c in chunks if c.n_samples or c.flags]


def mistakes(device, chunks):
    """Return what the driver got wrong: places, counts, the balance."""
    found = differences(device.ledger, device.final)  # the balance of counts, and every loss at its place
    for chunk in chunks:
        if chunk.data[:, 0].tolist() != list(range(chunk.start, chunk.stop)):
            found.append(f"numbers of {chunk.start}-{chunk.stop}")
    pushed = chunks[-1].data[-1, 0] + 1
    if pushed != device.final["delivered"] + device.final["lost"]:
        found.append(f"pushed {pushed} is not delivered plus lost")
    return found


def fault(kind, at_s=1.5, **more):
    return Fault(FaultKind(kind), at_s, **more)


LOSSES = [
    fault("loss", n=1),
    fault("loss", n=256),
    fault("loss", n=1999),
    fault("freeze", duration_s=0.1),
    fault("freeze", duration_s=3.0),
    fault("freeze", duration_s=3.0, n=300),
    fault("freeze", duration_s=1.024, n=256),
    fault("disconnect", duration_s=2.0),
    fault("restart", duration_s=2.0),
    fault("reorder", n=4),
    fault("duplicate", n=1),
    fault("jitter", duration_s=2.0, amount=0.03),
    fault("drift", duration_s=2.0, amount=200.0),
    fault("drift", duration_s=2.0, amount=-200.0),
]


@pytest.mark.parametrize("one", LOSSES, ids=lambda f: f"{f.kind.value}-{f.n}-{f.duration_s:g}")
@pytest.mark.parametrize("n", [1, 5])
def test_report_is_the_truth_for_each_kind(one, n):
    device, chunks = play([one], samples_per_packet=n)
    assert not mistakes(device, chunks)
    assert (device.final["lost"] > 0) == any(r.lost for r in device.ledger.records)


@pytest.mark.parametrize("n", [1, 7, 256, 512, 1999])
def test_loss_right_after_the_start_is_counted(n):
    device, chunks = play([fault("loss", 0.0, n=n)])
    assert not mistakes(device, chunks) and device.final["lost"] == n


@settings(max_examples=200, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 10**6), n=st.sampled_from((1, 2, 5)), bits=st.sampled_from((8, 16)))
def test_random_schedules_balance_to_the_sample(seed, n, bits):
    faults = Chance(SFREQ, 60, seed, reorder=2, longest_loss=600, begin_s=1.2).until(4.0)
    source = Counting(n_channels=3, chunk_s=0.1)
    device, chunks = play(faults, source=source, samples_per_packet=n, counter_bits=bits, reorder=2, seed=seed)
    assert not mistakes(device, chunks)


def test_the_truth_is_not_taken_from_the_report():
    device, _ = play([fault("loss", n=256), fault("reorder", 3.0, n=2), fault("duplicate", 3.5, n=2)])
    true = device.final
    lies = [
        true | {"delivered": true["delivered"] - 1},
        true | {"delivered": true["delivered"] + 256, "lost": true["lost"] - 256},
        true | {"waiting": true["waiting"] + 1},
        true | {"lost": 0},
        true | {"gaps": [], "n_gaps": 0},
        true | {"gaps": [true["gaps"][0] | {"lost": 255}]},
        true | {"gaps": [true["gaps"][0] | {"sample": 7}]},
        true | {"duplicates": 0},
        true | {"reordered": 2},
    ]
    assert not differences(device.ledger, true)
    assert all(differences(device.ledger, lie) for lie in lies)


def test_each_loss_has_sample_time_count_and_cause():
    device, _ = play([fault("disconnect", duration_s=2.0)])
    (gap,) = device.final["gaps"]
    assert gap["sample"] == 875 and gap["lost"] == 500 and gap["cause"] == LINK_DOWN
    assert gap["time"] == pytest.approx(3.5)
    assert device.final["causes"] == {LINK_DOWN: {"gaps": 1, "lost": 500}}


def test_a_pause_is_silence_whether_or_not_anything_is_lost():
    for kind in ("freeze", "disconnect"):
        device, chunks = play([fault(kind, duration_s=2.0)])
        assert sum(Flag.SILENT in c.flags for c in chunks) > 5
        (silence,) = device.final["silences"]
        assert silence["time"] == pytest.approx(1.5, abs=0.05)
        assert silence["duration"] == pytest.approx(2.1, abs=0.1)  # and a moment, to see whether it catches up


def test_nan_is_flagged_where_the_ledger_has_it():
    device, chunks = play([fault("nan", duration_s=0.5)])
    (record,) = device.ledger.of("nan")
    unknown = [c.start + k for c in chunks for k in np.flatnonzero(np.isnan(c.data[:, 1]))]
    assert unknown == list(range(record.first, record.first + record.n))
    assert all((Flag.NAN in c.flags) == bool(np.isnan(c.data).any()) for c in chunks)


@pytest.mark.parametrize(("amount", "flagged"), [(200.0, True), (312.5, True), (251.0, False)])
def test_a_wrong_rate_is_flagged_and_measured(amount, flagged):
    device, chunks = play([fault("rate", 0.0, amount=amount)], seconds=8.0)
    assert device.info.sfreq == amount and device.final["sfreq"] == pytest.approx(SFREQ, rel=1e-6)
    assert (Flag.RATE in chunks[-1].flags) is flagged
    assert device.ledger.of("rate")[0].amount == amount


def values(*faults):
    device, chunks = play(faults, seconds=4.0)
    return device, np.concatenate([c.data for c in chunks])


def test_values_are_changed_from_the_first_to_the_last_sample_of_the_ledger():
    _, clean = values()
    for one in (fault("saturation", duration_s=1.0, amount=1e5), fault("flat", duration_s=1.0), fault("unit")):
        device, data = values(one)
        (record,) = device.ledger.records
        changed = np.flatnonzero((data[:, 1:] != clean[:, 1:]).all(axis=1))
        stop = min(record.first + record.n, len(data))
        assert record.first == 375 and changed.tolist() == list(range(375, stop))
        np.testing.assert_array_equal(data[:, 0], np.arange(len(data)))


def test_mains_is_a_sine_of_50_hz_on_the_channels_asked_for():
    device, data = values(fault("mains", duration_s=1.0, amount=30.0, channels=(2,)))
    added = data - values()[1]
    expected = np.zeros_like(added)
    expected[375:625, 2] = 30 * np.sin(2 * np.pi * 50 * np.arange(375, 625) / SFREQ)
    np.testing.assert_allclose(added, expected, atol=1e-9)
    assert device.ledger.records[0].channels == (2,)


def test_volts_that_are_called_microvolts():
    device, data = values(fault("unit", 0.0))
    assert device.info.channels[1].unit == "uV" and 5e-6 < data[:, 1].std() < 2e-5


def test_disconnect_for_good_is_device_lost():
    device = FaultyDevice(Counting(), faults=[{"kind": "disconnect", "at_s": 1.0}])
    with device, pytest.raises(DeviceLost, match="for good"):
        while True:
            chunk = device.read(0.1)
    assert chunk.stop == 250 or device.n_delivered == 250


def test_marks_and_cues_reach_the_right_sample_and_the_person():
    device = FaultyDevice(Participant(seed=1), faults=[fault("loss", 0.5, n=50), fault("drift", 0.0, amount=150.0)])
    with device:
        while device.clock.now() < 2.0:
            device.read(0.1)
        device.respond("left", device.clock.now())
        device.mark("cue", device.clock.now() + 0.1)
        events = [e for _ in range(10) for e in device.read(0.1).events]
    (event,) = events
    assert abs(event.sample - event.time * SFREQ * (1 + 150e-6)) <= 1.0
    assert device.source.truth[-1][1] == "left"


def test_losses_of_the_source_itself_are_in_the_ledger():
    device, _ = play([], source=Participant(drop=[(0.5, 33)]), seconds=2.0, samples_per_packet=5)
    assert not differences(device.ledger, device.final)
    assert device.ledger.n_lost == 35  # the packets that would have held one of the 33


def test_ledger_goes_to_json_and_back():
    device, _ = play([fault("loss", n=3), fault("unit", 2.0)])
    again = Ledger.from_json(device.ledger.as_json())
    assert again.records == device.ledger.records and again.pushed == device.ledger.pushed
    assert json.loads(device.ledger.as_json())["records"][0]["kind"] == "loss"
    with pytest.raises(FormatError, match="ledger"):
        Ledger.from_json('{"pushed": 1}')


def test_the_same_seed_gives_the_same_faults_however_it_is_read():
    def ledger(chunk_s):
        device, _ = play((), source=Counting(chunk_s=chunk_s), seconds=20.0, per_minute=30, seed=4)
        return [r for r in device.ledger.records if r.first + r.n < 4000]

    assert ledger(0.04) == ledger(0.2) != []


def test_faulty_devices_keep_the_contract(tmp_path):
    check_device(lambda: FaultyDevice(Counting()), seconds=0.5)
    check_device(lambda: FaultyDevice(Counting(clock=MonotonicClock()), samples_per_packet=2), seconds=0.3)
    check_device(lambda: create("devices", "faulty:participant,per_minute=30,seed=3"), seconds=2.0)


def test_a_recording_can_be_behind_it(tmp_path):
    info = StreamInfo("run", SFREQ, (Channel("Cz"),))
    with XdfRecorder(tmp_path / "run.xdf") as recorder:
        recorder.write(recorder.add_stream(info), Chunk(np.arange(1000.0)[:, None], np.arange(1000) / SFREQ, 0, info))
    device = FaultyReplay(f"replay:{tmp_path / 'run.xdf'}", faults=[fault("loss", 3.0, n=100)])
    assert isinstance(device, HasEnd)
    with device:
        chunks = []
        while not device.at_end:
            chunks.append(device.read(0.1))
    assert np.concatenate([c.data[:, 0] for c in chunks]).tolist() == [*range(750), *range(850, 1000)]
    assert device.n_lost == 100
    with pytest.raises(ConfigError, match="faulty-replay"):
        FaultyDevice(f"replay:{tmp_path / 'run.xdf'}")


@pytest.mark.parametrize(
    "bad",
    [
        {"kind": "loss"},
        {"kind": "freeze"},
        {"kind": "jitter"},
        {"kind": "lost", "n": 3},
        {"kind": "loss", "n": 3, "at": 2.0},
        {"kind": "loss", "n": 3, "at_s": -1.0},
        {"kind": "rate", "amount": 200.0, "at_s": 1.0},
        {"kind": "rate", "amount": -250.0},
        {"kind": "loss", "n": 2.5},
        {"kind": "loss", "n": True},
        {"kind": "loss", "n": "3"},
        {"kind": "loss", "n": 3, "at_s": "1"},
        {"kind": "loss", "n": 3, "at_s": math.nan},
        {"kind": "loss", "n": 3, "at_s": math.inf},
        {"kind": "flat", "duration_s": math.nan},
        {"kind": "jitter", "amount": -0.01},
        {"kind": "jitter", "amount": math.nan},
        {"kind": "saturation", "amount": math.inf},
        {"kind": "mains", "amount": -20.0},
        {"kind": "drift", "amount": 2e6},
        {"kind": "flat", "channels": [-1]},
        {"kind": "flat", "channels": [0.5]},
        {"kind": "flat", "channels": "C3"},
        {"kind": "flat", "channels": 1},
        {"kind": 3},
    ],
)
def test_faults_that_make_no_sense_are_refused(bad):
    with pytest.raises(ConfigError, match="got|unknown"):
        Script([bad])


def test_a_rail_and_a_drift_may_be_negative():
    assert fault("saturation", amount=-187500.0).amount < 0 and fault("drift", amount=-200.0).amount < 0


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ({"kinds": ["losss"]}, "unknown kind of fault 'losss'; known are .*did you mean loss"),
        ({"kinds": "loss"}, "takes a list of kinds of faults, got 'loss'"),
        ({"kinds": ["rate"], "per_minute": 3.0}, "'rate' is there from the start"),
        ({"per_minute": math.nan}, "per_minute above 0, got nan"), ({"per_minute": -1.0}, "got -1.0"),
        ({"per_minute": math.inf}, "got inf"), ({"per_minute": "5"}, "got '5'"),
        ({"seed": -1}, "whole number from 0, got -1"), ({"seed": 1.5}, "got 1.5"),
        ({"samples_per_packet": 1.5}, "whole numbers: samples_per_packet >= 1"), ({"counter_bits": True}, "got .*True"),
        ({"reorder": 2.0}, "got .*2.0"), ({"reorder": -1}, "reorder >= 0"),
        ({"per_minute": 3.0, "faults": [fault("loss", n=3)]}, "= 3 and a fault 'loss', at_s = 1.5, n = 3; l"),
        ({"faults": "x"}, "faults are a list, got 'x'; write"), ({"faults": ["x"]}, "is a mapping .* got 'x'; write"),
        ({"faults": None}, "got None; write"), ({"faults": [5]}, "got 5; write"),
        ({"faults": {"kind": "loss", "n": 3}}, "a list, got {'kind': 'loss', 'n': 3}; write"),
        ({"faults": [{"kind": "loss", "when": 3}]}, "got {'kind': 'loss', 'when': 3}; write"),
        ({"faults": [{"kind": "loss"}]}, "needs n of 1 or more, got the fault 'loss'; see"),
        ({"kinds": 5}, "got 5; write"),
    ],
)  # fmt: skip
def test_settings_are_checked_before_anything_runs(bad, said):
    with pytest.raises(ConfigError, match=said):
        FaultyDevice(Counting(), **bad)


@pytest.mark.parametrize(
    ("one", "more", "said"),
    [
        (fault("flat", channels=(0, 4)), {}, "columns from 0 to 3 of 'counting', got 4; correct channels"),
        (fault("reorder", n=5), {}, "up to 4 overtake them, got a fault 'reorder' with n = 5"),
        (fault("reorder", n=3), {"samples_per_packet": 10}, "up to 2 overtake them, got .* n = 3"),
    ],
)
def test_faults_that_the_stream_cannot_have_are_refused_when_it_opens(one, more, said):
    device = FaultyDevice(Counting(), faults=[one], **more)
    with pytest.raises(ConfigError, match=said):
        device.open()
    device.source.open()  # was closed again


def test_random_faults_keep_to_what_the_packets_can_have():
    source = Counting(n_channels=3)
    device = FaultyDevice(source, per_minute=120.0, kinds=["reorder"], samples_per_packet=10, seed=1)
    chunks = []
    with device:
        while device.clock.now() < 20.0:
            chunks.append(device.read(0.1))
        final = device.report()
    assert final["reordered"] > 5 and not differences(device.ledger, final)
    with pytest.raises(ConfigError, match="need a kind that this source can have, got reorder"):
        FaultyDevice(Counting(), per_minute=3.0, kinds=["reorder"], reorder=0).__enter__()


def test_a_live_source_cannot_run_ahead():
    device = FaultyDevice(Counting(clock=MonotonicClock()), faults=[fault("drift", 0.0, amount=100.0)])
    with pytest.raises(ConfigError, match="real time"):
        device.open()


def test_what_two_faults_took_is_lost_once():
    ledger = Ledger([Record(FaultKind.LOSS, first, 10, 1.0, lost=True) for first in (250, 255)], 500)
    assert ledger.n_lost == 15 and ledger.gaps() == [(265, 15)]
