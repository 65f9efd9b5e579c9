import pytest

from bci.config import SessionConfig
from bci.errors import ConfigError
from bci.safety.link import GuardedEffector
from bci.signal.filters import Bandpass
from bci.stream import Flag
from bci.trial import Locked, Slide


def write(tmp_path, text):
    path = tmp_path / "session.toml"
    path.write_text(text)
    return path


def test_defaults_need_no_file():
    assert SessionConfig.from_mapping({}).device.name == "participant"


def test_file_becomes_a_session(tmp_path):
    path = write(
        tmp_path,
        """
        seed = 3
        [device]
        name = "participant"
        strength = 0.5
        [paradigm]
        name = "motor-imagery"
        window = { length_s = 1.0, step_s = 0.2 }
        [gate]
        min_confidence = 0.8
        """,
    )
    session = SessionConfig.from_toml(path).session()
    assert session.paradigm.window == Slide(1.0, 0.2)
    assert session.gate.min_confidence == 0.8
    assert session.seed == 3


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("sead = 1", "did you mean seed"),
        ("[device", "is not valid TOML"),
        ("[device]\nboard = 1", "needs a name"),
        ("seed = 'one'", "seed must be a whole number"),
        ("[drive]\nseconds = 1", "unknown setting of .drive."),
        ("[paradigm]\nname = 'motor-imagery'\nwindow = { length = 1 }", "length_s and step_s"),
    ],
)
def test_a_broken_file_says_what_to_correct(tmp_path, text, says):
    with pytest.raises(ConfigError, match=says):
        SessionConfig.from_toml(write(tmp_path, text)).session()


def test_an_effector_with_settings_goes_behind_the_guard_too(tmp_path):
    text = "[[effectors]]\nname = 'stimulator'\ncap_ma = 6.0"
    session = SessionConfig.from_toml(write(tmp_path, text)).session()
    (effector,) = session.outputs.effectors
    assert isinstance(effector, GuardedEffector)
    assert session.resolved["effectors"] == [{"name": "stimulator", "cap_ma": 6.0}]


def test_missing_file_says_so(tmp_path):
    with pytest.raises(ConfigError, match="check the path"):
        SessionConfig.from_toml(tmp_path / "none.toml")


def test_a_file_gives_blocks_locked_codes_flags_and_what_to_calibrate_on(tmp_path):
    path = write(
        tmp_path,
        """
        [[blocks]]
        name = "bandpass"
        low_hz = 7
        high_hz = 35
        [paradigm]
        name = "motor-imagery"
        classes = ["left", "right"]
        window = { tmin_s = 0.5, tmax_s = 3.5, codes = ["left", "right"] }
        [gate]
        bad_flags = ["GAP", "FLAT"]
        [calibrate]
        until_s = 60
        """,
    )
    config = SessionConfig.from_toml(path)
    session = config.session()
    assert session.paradigm.window == Locked(0.5, 3.5, ("left", "right"))
    assert [type(b) for b in session.pipeline.chain.blocks] == [Bandpass]
    assert session.gate.bad_flags == Flag.GAP | Flag.FLAT
    assert config.calibrate.until_s == 60


def test_an_unknown_flag_is_named(tmp_path):
    with pytest.raises(ConfigError, match="unknown flag .* 'GAPS'.*did you mean GAP"):
        SessionConfig.from_toml(write(tmp_path, "[gate]\nbad_flags = ['GAPS']")).session()


def test_a_file_says_what_happens_at_gaps_and_overruns():
    config = SessionConfig.from_mapping({"gap": "reset", "bridge_s": 0.5, "overrun": "skip-to-newest"})
    session = config.session(record=None)
    assert session.pipeline.chain.gap == "reset"
    with pytest.raises(ConfigError, match="overrun is one of block, drop-oldest, skip-to-newest.*got 'fast'"):
        SessionConfig.from_mapping({"overrun": "fast"}).session(record=None)
