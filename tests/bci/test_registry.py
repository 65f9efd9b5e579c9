import pytest

from bci import registry
from bci.errors import ConfigError, PluginError


def test_unknown_name_lists_the_nearest():
    with pytest.raises(PluginError, match="did you mean participant"):
        registry.create("devices", "particpant")


def test_unknown_setting_lists_the_parameters():
    with pytest.raises(ConfigError, match="strength"):
        registry.create("devices", "participant", strenght=1.0)


def test_argument_after_the_colon_is_the_first_parameter(tmp_path):
    assert registry.create("effectors", f"log:{tmp_path / 'x'}").path == str(tmp_path / "x")


def test_import_path_is_a_name_too():
    made = registry.create("paradigms", "bci.paradigms.motor_imagery:MotorImagery", n_trials=3)
    assert made.n_trials == 3


def test_objects_pass_through():
    thing = object()
    assert registry.create("devices", thing) is thing


def test_a_clash_names_both(monkeypatch):
    class Dist:
        name = "other-package"

    class Point:
        name, value, dist = "csp-lda", "other:Csp", Dist()

    monkeypatch.setattr(registry, "_points", lambda _group: [Point()])
    with pytest.raises(PluginError, match="claimed by bci and by other-package"):
        registry.names("decoders")


def test_a_missing_package_names_the_extra(monkeypatch):
    table = {"ghost": "bci.registry_that_is_not:Thing"}
    monkeypatch.setattr(registry, "names", lambda _group: table)
    with pytest.raises(PluginError, match="needs the package"):
        registry.load("devices", "ghost")
