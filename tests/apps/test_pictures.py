import shutil
import subprocess
import sys

import numpy as np
import pytest

SNAPSHOTS = [
    ("rehab", pytest.importorskip("PySide6", reason="needs PySide6: pip install 'bci[apps]'")),
    ("control", pytest.importorskip("highway_env", reason="needs highway-env: pip install 'bci[control]'")),
]


def draw(module, path, value="0.8"):
    return subprocess.run([sys.executable, "-m", f"bci.apps.{module}.snapshot", str(path), value],
                          capture_output=True, text=True, timeout=120)  # fmt: skip


def pixels(path):
    import matplotlib.image

    return matplotlib.image.imread(path)


@pytest.mark.parametrize("module", [name for name, _ in SNAPSHOTS])
def test_the_picture_follows_the_intent(module, tmp_path):
    for name, value in (("left", "-0.8"), ("right", "0.8")):
        assert draw(module, tmp_path / f"{name}.png", value).returncode == 0
    left, right = pixels(tmp_path / "left.png"), pixels(tmp_path / "right.png")
    assert left.shape == right.shape and min(left.shape[:2]) >= 300
    assert np.abs(left - right).max() > 0.3


@pytest.mark.skipif(not shutil.which("chromium"), reason="needs chromium on the PATH")
def test_the_scene_is_drawn_by_a_real_browser(tmp_path):
    pytest.importorskip("websockets", reason="needs websockets: pip install 'bci[vr]'")
    done = draw("vr", tmp_path / "vr.png")
    assert done.returncode == 0, done.stderr
    assert pixels(tmp_path / "vr.png").std() > 0.1


@pytest.mark.parametrize("module", ["rehab", "control"])
def test_a_picture_that_cannot_be_written_is_said_in_one_sentence(module, tmp_path):
    done = draw(module, tmp_path / "nowhere" / "picture.png")
    assert done.returncode == 1
    assert "file that can be written" in done.stderr
    assert "Traceback" not in done.stderr
