"""What the decoder sees: a chain in words and as a picture, and a recording through it. No hardware.

python examples/see_the_chain.py
"""

from pathlib import Path

import mne
import numpy as np

from bci.designs import from_mne
from bci.interop import describe_info, run_raw
from bci.signal.chain import Chain
from bci.signal.decimate import Decimate
from bci.signal.filters import Notch
from bci.signal.spatial import Reference
from bci.signal.twin import to_offline

info = mne.create_info(["C3", "Cz", "C4"], 250.0, "eeg")
raw = mne.io.RawArray(1e-5 * np.random.default_rng(0).standard_normal((3, 15000)), info, verbose="error")
taps = mne.filter.create_filter(None, 250.0, 8.0, 30.0, verbose="error")

chain = Chain([Notch(50), Reference(), from_mne(taps, 250.0, phase="minimum"), Decimate(2)])
live = run_raw(chain, raw)  # as it would have happened, to the bit
pretty = to_offline(Chain([Notch(50), Reference(), from_mne(taps, 250.0), Decimate(2)])).apply(raw)  # without delay

chain.prepare(describe_info(raw.info))
print(chain.describe(measure=True))
Path("out").mkdir(exist_ok=True)
chain.plot().savefig("out/chain.png")

lag = np.arange(-100, 101)
alike = [np.corrcoef(pretty.get_data()[0, 200:-200], np.roll(live.get_data()[0], -k)[200:-200])[0, 1] for k in lag]
print(f"The live signal is {1e3 * lag[int(np.argmax(alike))] / 125:.0f} ms later than the one without delay.")
