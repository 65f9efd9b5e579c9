import subprocess
import sys

import bci.testing
from bci.testing import check_block, check_decoder, check_device, check_effector, check_paradigm


def test_the_five_checkers_have_one_home():
    assert {f.__name__ for f in (check_block, check_decoder, check_device, check_effector, check_paradigm)} == {
        name for name in bci.testing.__all__ if name.startswith("check_")
    }


def test_checkers_bring_no_heavy_package_and_no_test_framework():
    code = "import sys, bci.testing; print([m for m in ('torch', 'mne', 'scipy.signal', 'pytest') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr
