"""Verdicts on channels: the same however the stream is cut, right where the answer is known, and recorded."""

import json
from dataclasses import replace

import numpy as np
import pytest

from bci.acquisition.driver import Driver, State
from bci.acquisition.participant import Participant
from bci.acquisition.recorder.summary import summarize
from bci.acquisition.replay import Replay
from bci.errors import ConfigError, DataError, DeviceError
from bci.paradigms.motor_imagery import MotorImagery
from bci.runtime.session import Session
from bci.signal.measures import neighbours
from bci.signal.quality import QualityWatch
from bci.signal.verdict import Level, Thresholds
from bci.simulation.background import Background
from bci.stream import Channel, Chunk, Flag, Kind, StreamInfo

NAMES = ("F3", "Fz", "F4", "C3", "Cz", "C4", "P3", "Pz", "P4", "O1", "Oz", "O2")
INFO = StreamInfo("amp", 250.0, tuple(Channel(name) for name in NAMES))
C3, C4 = 3, 5
SECONDS = 16.0


def eeg(sfreq=250.0, seconds=SECONDS, **settings):
    """Background of a simulated person, without blinks unless asked for."""
    made = Background(NAMES, sfreq, np.random.default_rng(0), **{"blinks_per_minute": 0.0, **settings})
    blocks = [made.block() for _ in range(int(seconds * sfreq) // 256 + 1)]
    return np.concatenate(blocks)[: int(seconds * sfreq)]


def chunks(data, size, info=INFO, lost=()):
    """Cut `data` into chunks; `lost` are (row, number of samples missing before it)."""
    shift = 0
    edges = sorted({*range(0, len(data), size), *(row for row, _ in lost), len(data)})
    for begin, end in zip(edges[:-1], edges[1:], strict=True):
        gap = dict(lost).get(begin, 0)
        shift += gap
        times = (np.arange(begin, end) + shift) / info.sfreq
        yield Chunk(data[begin:end], times, begin + shift, info, (), Flag.GAP if gap else Flag.OK)


def watched(data, info=INFO, size=50, **settings):
    watch = QualityWatch(info, **settings)
    for chunk in chunks(data, size, info):
        watch.split(chunk)
    return watch


def verdict(data, channel=C3, **settings):
    return watched(data, **settings).quality.channels[channel]


def with_fault(added, **settings):
    data = eeg(**settings)
    data[:, C3] += added
    return data


TIME = np.arange(int(SECONDS * 250)) / 250.0


# ------------------------------------------------------------------ the law of chunks
def troubled():
    """Every quick and slow fault after another, on several channels."""
    data = eeg()
    data[800:1100, C3] = data[800, C3]
    data[1500:2200, C4] += 900.0 * np.sin(2 * np.pi * 50.0 * TIME[1500:2200])
    data[2300:2303, 0] = np.nan
    data[2500:, 1] = np.clip(data[2500:, 1], -6.0, 6.0)
    data[3000:, 6] += 1500.0
    return data


def outcome(size, info, data, lost=()):
    watch, flags, changes = QualityWatch(info), [], []
    for chunk in chunks(data, size, info, lost):
        for part in watch.split(chunk):
            flags += [int(part.flags & ~Flag.GAP)] * part.n_samples
        changes += [(q.sample, [(c.level, c.fault, c.reason) for c in q.channels]) for q in watch.take_changes()]
    return flags, changes


@pytest.mark.parametrize("sfreq", [250.0, 500.0, 4100.0])
def test_same_samples_and_the_same_verdicts_however_the_stream_is_cut(sfreq):
    info, lost = replace(INFO, sfreq=sfreq), ((1333, 13),)
    data = np.repeat(troubled(), int(sfreq // 250), axis=0)
    whole = outcome(len(data), info, data, lost)
    assert {f for f in whole[0] if f} and len(whole[1]) > 4
    for size in (37, 1000) if sfreq > 250 else (1, 32, 1000):
        assert outcome(size, info, data, lost) == whole


def test_parts_are_the_chunk_again():
    data = troubled()
    parts = [p for c in chunks(data, 333) for p in QualityWatch(INFO).split(c)]
    np.testing.assert_array_equal(np.concatenate([p.data for p in parts]), data)
    assert [p.start for p in parts[1:]] == [p.stop for p in parts[:-1]]


def test_a_gap_begins_anew():
    data = with_fault(900.0 * np.sin(2 * np.pi * 50.0 * TIME))
    watch = watched(data)
    assert Flag.NOISY in watch.flags
    watch.split(Chunk(data[:10], TIME[:10], 10_000, INFO, (), Flag.GAP))
    assert (watch.flags, watch.quality.channels[C3].level, watch.measured) == (Flag.OK, Level.GOOD, None)


def test_a_chunk_of_other_channels_is_refused():
    other = StreamInfo("amp", 250.0, (Channel("C3"),))
    with pytest.raises(DataError, match="missing F3, .*; call prepare again"):
        QualityWatch(INFO).split(Chunk(np.zeros((5, 1)), np.zeros(5), 0, other))


# ------------------------------------------------------------------ verdicts
def test_clean_eeg_is_good_and_so_is_one_with_blinks():
    for data in (eeg(), eeg(blinks_per_minute=20.0), eeg(line_uv=15.0)):
        assert not watched(data).quality.at(Level.BAD)
        assert not watched(data).flags
    assert not watched(eeg()).quality.at(Level.DOUBTFUL)


RNG = np.random.default_rng(1)
POP = np.where(TIME >= SECONDS - 0.5, 800.0 * np.exp(-(TIME - SECONDS + 0.5) / 0.3), 0.0)
LOOSE = np.where(TIME % 1.0 < 0.3, 120.0, 0.0)  # a plug that makes contact now and then


@pytest.mark.parametrize(
    ("added", "level", "fault"),
    [
        (100.0 * np.sin(2 * np.pi * 50.0 * TIME), Level.DOUBTFUL, "mains"),
        (100.0 * np.sin(2 * np.pi * 60.1 * TIME), Level.DOUBTFUL, "mains"),
        (1000.0 * np.sin(2 * np.pi * 50.0 * TIME), Level.BAD, "mains"),
        (RNG.normal(0, 50.0, len(TIME)), Level.DOUBTFUL, "muscle"),
        (RNG.normal(0, 200.0, len(TIME)), Level.BAD, "muscle"),
        (300.0 * TIME, Level.DOUBTFUL, "drift"),
        (-2000.0 * TIME, Level.BAD, "drift"),
        (POP, Level.BAD, "jump"),
        (LOOSE, Level.DOUBTFUL, "artefacts"),
    ],
)
def test_a_planted_fault_is_named(added, level, fault):
    data = with_fault(added)
    found = watched(data)
    assert (found.quality.channels[C3].level, found.quality.channels[C3].fault) == (level, fault)
    assert not [c.name for k, c in enumerate(found.quality.channels) if c.level and k != C3]
    assert found.flags == (Flag.NOISY if level is Level.BAD else Flag.OK)


def test_a_channel_unlike_its_neighbours_is_doubtful():
    data, other = eeg(), Background(["C3"], 250.0, np.random.default_rng(9))
    data[:, C3] = np.concatenate([other.block()[:, 0] for _ in range(len(data) // 256 + 1)])[: len(data)]
    assert verdict(data).fault == "alone"


def test_a_gel_bridge_is_doubtful_and_names_the_other():
    data = eeg()
    data[:, C3] = data[:, 4] + RNG.normal(0, 0.3, len(data))
    found = verdict(data)
    assert (found.level, found.fault) == (Level.DOUBTFUL, "bridge")
    assert "Cz" in found.reason


def test_clipping_is_a_rail_but_a_coarse_converter_is_not():
    data = eeg()
    data[:, C3] = np.clip(data[:, C3], -8.0, 8.0)
    assert verdict(data).fault == "rail"
    slow = np.round(np.cumsum(np.random.default_rng(0).normal(0, 0.7, (len(data), len(NAMES))), axis=0))
    assert "rail" not in {c.fault for c in watched(slow).quality.channels}


def test_the_stated_range_is_found_20_ms_after_it_was_reached_though_the_value_moves():
    info, data = replace(INFO, meta={"range_uv": "187500"}), eeg()
    data[2000:, C3] = 187_500.0 + RNG.normal(0, 10.0, len(data) - 2000)
    watch = QualityWatch(info)
    parts = [p for c in chunks(data, 160, info) for p in watch.split(c)]
    railed = [k for p in parts if Flag.SATURATED in p.flags for k in range(p.start, p.stop)]
    assert railed == list(range(2000 + 4, len(data)))
    assert watch.quality.channels[C3].fault == "rail"


def test_next_to_nothing_is_no_signal():
    data = eeg()
    data[:, C3] = RNG.normal(0, 0.05, len(data))
    assert (verdict(data).level, verdict(data).fault) == (Level.BAD, "faint")
    assert Flag.FLAT in watched(data).flags


def test_unknown_values_are_named():
    data = eeg()
    data[-200:, C3] = np.nan
    assert (verdict(data).level, verdict(data).fault) == (Level.BAD, "nan")


@pytest.mark.parametrize("factor", [1e3, 1e-6])
def test_eeg_in_another_unit_is_doubtful_not_bad_and_its_faults_are_found(factor):
    data = with_fault(1000.0 * np.sin(2 * np.pi * 50.0 * TIME)) * factor
    found = watched(data).quality.channels
    assert {c.fault for c in found if c.name != "C3"} == {"unit"}
    assert (found[C3].level, found[C3].fault) == (Level.BAD, "mains")


def test_integers_with_a_scale_are_measured_in_microvolts():
    scaled = replace(INFO, channels=tuple(replace(c, scale=0.1) for c in INFO.channels))
    counts = np.round(with_fault(100.0 * np.sin(2 * np.pi * 50.0 * TIME)) * 10).astype(np.int16)
    measured = watched(counts, scaled).measured
    assert measured.mains_uv[C3] == pytest.approx(100 / np.sqrt(2), rel=0.02)


def test_mains_drift_and_muscle_are_what_was_planted():
    noise = RNG.normal(0, 40.0, len(TIME))
    for added, name, expected in (
        (80.0 * np.sin(2 * np.pi * 60.0 * TIME), "mains_uv", 80 / np.sqrt(2)),
        (400.0 * TIME, "drift_uv_s", 400.0),
        # White noise has its power spread from 0 to 125 Hz; 30 to 100 Hz without four gaps of 6.2 Hz for mains.
        (noise, "muscle_uv", 40 * np.sqrt((70 - 2 * 6.2 - 3.1) / 125)),
    ):
        measured = watched(with_fault(added, line_uv=0.0)).measured
        assert getattr(measured, name)[C3] == pytest.approx(expected, rel=0.15)


def test_the_log_names_every_channel_that_becomes_bad_and_all_of_them_at_the_end(caplog):
    data = eeg(seconds=20.0)
    data[2000:3000, 1] = data[2000, 1]  # Fz stands still, and C3 after it
    data[2500:3000, C3] = data[2500, C3]
    watched(data)
    told = [r.getMessage() for r in caplog.records]
    assert [line.partition(";")[0] for line in told] == [
        f"bad signal: {INFO.ch_names[1]} (no change for 0.1 s)",
        f"bad signal: {INFO.ch_names[C3]} (no change for 0.1 s)",
        f"no longer bad: {INFO.ch_names[1]}, {INFO.ch_names[C3]}",
    ]


def test_only_channels_that_decisions_rest_on_flag_samples():
    data = with_fault(900.0 * np.sin(2 * np.pi * 50.0 * TIME))
    found = watched(data, used=["C4", "Cz"])
    assert (found.flags, found.quality.channels[C3].level) == (Flag.OK, Level.BAD)
    assert watched(data, used=["virtual"]).flags == Flag.NOISY  # names of nobody: all EEG


def test_triggers_are_not_judged_and_one_channel_will_do():
    info = StreamInfo("amp", 250.0, (Channel("Cz"), Channel("STI", Kind.TRIG, "")))
    data = np.column_stack([eeg()[:, 4], np.zeros(len(TIME))])
    found = watched(data, info)
    assert ([c.level for c in found.quality.channels], found.flags) == ([Level.GOOD] * 2, Flag.OK)


def test_the_work_is_bounded_at_high_rates():
    watch = QualityWatch(StreamInfo("array", 30_000.0, (Channel("a"), Channel("b"))))
    assert watch._looks.every == 15
    assert watch._looks.bins_hz == 250.0


def test_neighbours_are_by_place_by_name_and_by_column():
    def near(channels):
        return [{channels[k].name for k in row} for row in neighbours(channels, 2)]

    line = [Channel(f"c{k}", position=(0.01 * x, 0.0, 0.09)) for k, x in enumerate((0, 9, 1, 8, 2, 7))]
    assert near(line)[0] == {"c2", "c4"}
    assert near([Channel(n) for n in ("C3", "O1", "C5", "O2", "C1", "Oz")])[0] == {"C5", "C1"}
    assert near([Channel(f"e{k}") for k in range(5)])[0] == {"e1", "e2"}


def test_impossible_thresholds_are_refused():
    with pytest.raises(ConfigError, match="muscle_uv <= muscle_bad_uv"):
        Thresholds(muscle_uv=200.0)


# ------------------------------------------------------------------ contact
def test_contact_holds_until_it_is_measured_again():
    watch = watched(eeg())
    watch.set_contact({"C3": float("inf"), "C4": 120.0, "Cz": 5.0, "Fz": float("nan")})
    assert {c.name: (c.level, c.reason) for c in watch.quality.channels if c.level} == {
        "C3": (Level.BAD, "no contact"),
        "C4": (Level.DOUBTFUL, "contact of 120 kOhm"),
    }
    assert (watch.quality.no_contact, watch.flags) == (("C3",), Flag.LEAD_OFF)
    watch.set_contact({"C3": 10.0})
    assert (watch.quality.channels[C3].level, watch.flags) == (Level.GOOD, Flag.OK)


# ------------------------------------------------------------------ in a session
class Measuring(Participant):
    """An amplifier that measures impedance; C3 has come off."""

    kohm = float("inf")

    def impedance(self):
        return {"C3": self.kohm, "C4": 8.0}


class Recorded(Driver):
    """A source without electrodes to measure."""

    def _open(self):
        raise NotImplementedError

    _start = _read = _stop = _close = _open


class Sure:
    classes_ = np.array(["left", "rest", "right"])
    n = 0

    def fit(self, X, y):
        return self

    def predict_proba(self, X):
        self.n += 1
        p = 0.9 + 1e-6 * self.n
        return np.array([[(1 - p) / 2, (1 - p) / 2, p]])


def test_gate_stays_closed_without_contact_and_opens_when_it_was_measured_again():
    with Session(Measuring(seed=2), MotorImagery(), Sure()) as session:
        assert session.measure_impedance()["C4"] == 8.0
        closed = session.drive(6.0, cues=False)
        session.device.kohm = 5.0
        session.measure_impedance()
        opened = session.drive(6.0, cues=False)
    assert "open" not in closed.gate
    assert closed.gate["no contact: C3"] == sum(closed.gate.values())
    assert opened.gate["open"] > 0


def test_impedance_is_not_measured_during_a_phase():
    said = []

    def ask(_):
        with pytest.raises(ConfigError, match="between its phases"):
            session.measure_impedance()
        said.append(1)

    with Session(Measuring(seed=2), MotorImagery(), Sure(), on_turn=ask) as session:
        session.drive(0.5, cues=False)
    assert said


def test_a_device_that_cannot_measure_impedance_is_named():
    session = Session(Recorded(), MotorImagery(), Sure())
    with pytest.raises(ConfigError, match="got Recorded.*bci view"):
        session.measure_impedance()
    with pytest.raises(ConfigError, match="got Recorded"):
        Session(Recorded(), MotorImagery(), Sure(), impedance=True)


def test_contact_measured_before_the_stream_closes_the_gate_and_is_in_the_recording(tmp_path):
    path = tmp_path / "run.xdf"
    loose = Participant(seed=2, impedance_kohm={"C3": float("inf"), "C4": 60.0})
    with Session(loose, MotorImagery(), Sure(), record=path, impedance=True) as session:
        run = session.drive(4.0, cues=False)
    assert run.gate["no contact: C3"] == sum(run.gate.values())
    (eeg_stream,) = (s for s in summarize(path).streams if s.name == "participant")
    assert eeg_stream.contact_kohm == dict(session.contact_kohm)
    with Replay(path) as replay:
        watch = QualityWatch(replay.info)
    assert {c.name: c.level for c in watch.quality.channels if c.level} == {"C3": Level.BAD, "C4": Level.DOUBTFUL}


def test_a_device_that_measures_only_before_it_streams_says_so():
    class Shy(Participant):
        def impedance(self):
            if self.state is State.STREAMING:
                raise DeviceError("busy")
            return super().impedance()

    with Session(Shy(seed=2), MotorImagery(), Sure(), impedance=True) as session:
        assert len(session.contact_kohm) == 16
        with pytest.raises(ConfigError, match=r"busy.*Session\(impedance=True\)"):
            session.measure_impedance()


class Humming(Participant):
    """C3 picks up mains from 4 s to 8 s after the start."""

    def _read(self, timeout_s):
        got = super()._read(timeout_s)
        if got is None:
            return None
        data, at_s = got.data.copy(), got.times - self._t0
        hum = 1500.0 * np.sin(2 * np.pi * 50.0 * at_s) * ((at_s >= 4.0) & (at_s < 8.0))
        data[:, self.channels.index("C3")] += hum
        return replace(got, data=data)


def test_a_recording_keeps_when_a_verdict_changed_and_why(tmp_path):
    import pyxdf

    with Session(Humming(seed=2), MotorImagery(), Sure(), record=tmp_path / "run.xdf") as session:
        run = session.drive(14.0, cues=False)
    streams, _ = pyxdf.load_xdf(str(tmp_path / "run.xdf"), dejitter_timestamps=False, verbose=False)
    lines = next(s for s in streams if s["info"]["name"][0] == "Quality")["time_series"]
    found = [(json.loads(line[0])["sample"] / 250.0, json.loads(line[0])["channels"]) for line in lines]
    mains = [(at_s, c["C3"]["level"]) for at_s, c in found if "C3" in c]
    begin = next(at_s for at_s, level in mains if level == "bad")
    end = next(at_s for at_s, level in mains if at_s > 8.0 and level != "bad")
    assert 4.0 < begin <= 5.4  # half of the spectra of 1 s, one each 0.2 s
    assert 8.0 < end <= 9.6
    assert any("NOISY" in reason for reason in run.gate)


@pytest.mark.parametrize(("begin", "length"), [(0, 3000), (250, 20), (500, 260), (1000, 1500), (249, 1001)])
def test_a_signal_that_is_unknown_altogether_is_judged_and_comes_back(begin, length):
    info = StreamInfo("amp", 250.0, (Channel("C3"), Channel("C4")))
    data = 10 * np.random.default_rng(0).standard_normal((5000, 2)).cumsum(axis=0) % 50
    data[begin : begin + length] = np.nan
    watch = QualityWatch(info)
    for start in range(0, 5000, 40):
        watch.split(Chunk(data[start : start + 40], np.arange(start, start + 40) / 250, start, info))
        if length > 250 and begin + 300 < start < begin + length - 40:
            assert all(c.level is Level.BAD for c in watch.quality.channels)
    assert not any(c.fault == "nan" for c in watch.quality.channels)
