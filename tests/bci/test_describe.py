"""What a recording tells of how its devices were set."""

from bci.registry import create
from bci.runtime.describe import describe


def test_a_device_that_wraps_another_tells_of_both():
    told = describe(create("devices", "faulty:participant,seed=3", source_settings={"strength": 0.5}))
    assert told["seed"] == 3
    assert told["source"]["class"].endswith("Participant") and told["source"]["strength"] == 0.5


def test_a_rig_tells_how_each_of_its_devices_was_set():
    told = describe(create("devices", "rig", streams={"eeg": "participant", "arm": "participant,seed=7"}))
    assert {name: device["seed"] for name, device in told["devices"].items()} == {"eeg": 0, "arm": 7}
