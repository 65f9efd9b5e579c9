"""Contacts: measured before or while the device streams, carried by the description of a stream."""

import math

import pytest

from bci.acquisition.driver import State
from bci.acquisition.participant import Participant
from bci.errors import ConfigError, DataError, DeviceError
from bci.signal.contact import KEY, Aims, contacts_of, in_words, line, measure, noted, plain
from bci.signal.quality import QualityWatch
from bci.stream import Channel, StreamInfo

INFO = StreamInfo("amp", 250.0, (Channel("C3"), Channel("Cz"), Channel("C4")), meta={"gain": "24"})
KOHM = {"C3": math.inf, "C4": 6.25}


class WhileStreaming(Participant):
    """Measures only while it streams, and its ground as well."""

    def impedance(self):
        if self.state is not State.STREAMING:
            raise DeviceError("start it first")
        return {"ground": 3.0, **super().impedance()}


def test_contacts_come_back_from_the_description_of_a_stream():
    info = noted(INFO, KOHM)
    assert contacts_of(info) == KOHM
    assert (info.meta["gain"], contacts_of(INFO), noted(INFO, {})) == ("24", {}, INFO)
    assert math.isnan(contacts_of(noted(INFO, {"Cz": math.nan}))["Cz"])


def test_contacts_of_no_channel_are_left_out():
    assert contacts_of(noted(INFO, {**KOHM, "ground": 1.0, "Cz": -1.0})) == KOHM


def test_an_entry_that_is_not_ours_is_an_error():
    with pytest.raises(DataError, match="as JSON"):
        contacts_of(StreamInfo("amp", 250.0, INFO.channels, meta={KEY: "[1, 2]"}))


def test_a_device_that_measures_while_it_streams_is_open_again_afterwards():
    device = WhileStreaming()
    info = device.open()
    kohm = measure(device, info)
    assert (list(kohm), device.state) == (info.ch_names, State.OPEN)
    device.close()


def test_participant_tells_what_it_was_told_within_two_per_cent_and_the_same_samples():
    plain_one, loose = Participant(seed=3), Participant(seed=3, impedance_kohm={"Cz": 200.0, "O1": math.inf})
    with plain_one, loose:
        kohm = loose.impedance()
        assert kohm["Cz"] == pytest.approx(200.0, rel=0.1)
        assert (kohm["O1"], kohm["Fp1"]) == (math.inf, plain_one.impedance()["Fp1"])
        assert loose.impedance()["Cz"] != kohm["Cz"]
        assert (plain_one.read(1.0).data == loose.read(1.0).data).all()


@pytest.mark.parametrize("kohm", [{"C3": 0.0}, {"C3": math.nan}, {"X9": 5.0}])
def test_participant_refuses_contacts_that_cannot_be(kohm):
    with pytest.raises(ConfigError, match="impedance_kohm"):
        Participant(impedance_kohm=kohm)


def test_words():
    aims = Aims(5.0, 20.0)
    assert [aims.word(v) for v in (5.0, 5.1, 20.0, 20.1, math.inf, math.nan)] == [
        "good", "fair", "fair", "bad", "bad", "unknown",
    ]  # fmt: skip
    assert [in_words(v) for v in (6.25, 120.0, 2500.0, math.inf)] == ["6.2 kOhm", "120 kOhm", "2.5 MOhm", "no contact"]
    assert line(KOHM) == "2 measured, median no contact; above 10 kOhm: C3 no contact"
    assert plain({"a": math.inf, "b": math.nan}) == {"a": "inf", "b": None}
    with pytest.raises(ConfigError, match="as in 10 and 50"):
        Aims(20.0, 5.0)


def test_the_newest_measurement_of_a_channel_counts_and_unknown_changes_nothing():
    watch = QualityWatch(noted(INFO, KOHM))
    first = watch.quality.contact_kohm
    watch.set_contact({})
    assert watch.quality.contact_kohm is first
    watch.set_contact({"C3": math.nan, "C4": 900.0})
    assert [c.fault for c in watch.quality.channels] == ["contact", "", "contact"]
    assert watch.quality.contact_kohm["C4"] == 900.0
