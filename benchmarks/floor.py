"""The C floor: band-pass, notch and common average as one loop in C, from the measuring scripts beside the project."""

import importlib.util
import shutil
import subprocess
import sysconfig
from pathlib import Path

import numpy as np

SOURCE = Path(__file__).resolve().parents[2] / "shared" / "bench" / "realtime" / "floor.c"


def build(folder):
    """Compile the floor into `folder`; return its path, None where there is no compiler or no source."""
    if not SOURCE.exists() or shutil.which("gcc") is None:
        return None
    path = Path(folder) / f"cfloor{sysconfig.get_config_var('EXT_SUFFIX')}"
    include = sysconfig.get_paths()["include"]
    flags = ["-O3", "-march=native", "-ffast-math", "-Wno-psabi", "-shared", "-fPIC"]
    subprocess.run(["gcc", *flags, f"-I{include}", str(SOURCE), "-o", str(path)], check=True)
    return path


class Floor:
    """Five second-order sections and the common average over float64 samples, shape (n_samples, n_channels)."""

    def __init__(self, path, sos, n_channels):
        spec = importlib.util.spec_from_file_location("cfloor", path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        self._run, self._n_channels = module.sos_car, n_channels
        self._coefficients = np.ascontiguousarray(sos[:, [0, 1, 2, 4, 5]], np.float64)
        self._state = np.zeros(10 * n_channels)

    def process(self, samples):
        """Return the filtered samples."""
        samples = np.ascontiguousarray(samples, np.float64)
        filtered = np.empty_like(samples)
        self._run(samples, filtered, self._coefficients, self._state, len(samples), self._n_channels, 0, 1)
        return filtered
