"""Find plugins by name: built-ins from a table, others from entry points.

A spec is ``"name"`` or ``"name:argument"``; the argument becomes the first
parameter of the plugin, as in ``"lsl:MyAmp"`` or ``"replay:run.edf"``. Further
settings follow, as in ``"brainflow:cyton,serial_port=/dev/ttyUSB0"``.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import MappingProxyType
from typing import Any

from bci.errors import ConfigError, PluginError
from bci.settings import check_settings, from_texts, split_spec

__all__ = ["BUILTIN", "GROUPS", "check_settings", "create", "load", "names"]

GROUPS = ("devices", "blocks", "decoders", "paradigms", "effectors", "datasets", "recorders", "emulators")

BUILTIN: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "devices": {
            "brainflow": "bci.acquisition.brainflow_board:BrainFlowBoard",
            "counting": "bci.acquisition.counting:Counting",
            "faulty": "bci.acquisition.faulty:FaultyDevice",
            "faulty-replay": "bci.acquisition.faulty:FaultyReplay",
            "lsl": "bci.acquisition.lsl:LslInlet",
            "lsl-replay": "bci.acquisition.lsl:LslReplay",
            "participant": "bci.acquisition.participant:Participant",
            "replay": "bci.acquisition.replay:Replay",
            "rig": "bci.acquisition.rig_main:MainStream",
            "rig-replay": "bci.acquisition.rig_main:RecordedMainStream",
        },
        "blocks": {
            "bandpass": "bci.signal.filters:Bandpass",
            "bandstop": "bci.signal.filters:Bandstop",
            "highpass": "bci.signal.filters:Highpass",
            "lowpass": "bci.signal.filters:Lowpass",
            "fir": "bci.signal.fir:Fir",
            "fixed-filter": "bci.signal.fixed:FixedFilter",
            "places": "bci.signal.fixed:Places",
            "filter-bank": "bci.signal.bank:FilterBank",
            "notch": "bci.signal.filters:Notch",
            "detrend": "bci.signal.detrend:Detrend",
            "line-canceller": "bci.signal.line:LineCanceller",
            "reference": "bci.signal.spatial:Reference",
            "laplacian": "bci.signal.spatial:Laplacian",
            "bipolar": "bci.signal.spatial:Bipolar",
            "spatial-filter": "bci.signal.spatial:SpatialFilter",
            "spline-laplacian": "bci.signal.surface:SplineLaplacian",
            "interpolate": "bci.signal.surface:Interpolate",
            "pick": "bci.signal.spatial:Pick",
            "asr": "bci.signal.asr:Asr",
            "regress": "bci.signal.regression:Regress",
            "adaptive-regress": "bci.signal.regression:AdaptiveRegress",
            "blinks": "bci.signal.detectors:BlinkDetector",
            "jaw": "bci.signal.detectors:JawDetector",
            "reject": "bci.signal.reject:Reject",
            "rails": "bci.signal.rails:Rails",
            "fractional-delay": "bci.signal.fractional:FractionalDelay",
            "decimate": "bci.signal.decimate:Decimate",
            "resample": "bci.signal.resample:Resample",
            "bin-power": "bci.signal.power:BinPower",
            "whiten": "bci.signal.whiten:Whiten",
            "standardize": "bci.signal.normalise:Standardize",
            "robust-standardize": "bci.signal.normalise:RobustStandardize",
            "baseline": "bci.signal.normalise:Baseline",
            "threshold-crossings": "bci.signal.spikes:ThresholdCrossings",
            "spike-count": "bci.signal.spikes:SpikeCount",
            "spike-band-power": "bci.signal.spikes:SpikeBandPower",
            "morlet": "bci.signal.wavelet:Morlet",
            "phase": "bci.signal.phase:Phase",
            "envelope": "bci.signal.envelope:Envelope",
            "emg-envelope": "bci.signal.emg:EmgEnvelope",
            "r-peaks": "bci.signal.heart:RPeaks",
            "heart-rate": "bci.signal.heart:HeartRate",
            "event-rate": "bci.signal.rate:EventRate",
            "log-power": "bci.signal.log_power:LogPower",
            "band-power": "bci.signal.bandpower:BandPower",
            "covariance": "bci.signal.covariance:Covariance",
            "connectivity": "bci.signal.connectivity:Connectivity",
            "log-variance": "bci.signal.waveform:LogVariance",
            "line-length": "bci.signal.waveform:LineLength",
            "permutation-entropy": "bci.signal.entropy:PermutationEntropy",
            "sample-entropy": "bci.signal.entropy:SampleEntropy",
            "spectral-entropy": "bci.signal.entropy:SpectralEntropy",
        },
        "decoders": {
            "csp-lda": "bci.decoding.csp:CspLda",
            "fbcsp": "bci.decoding.csp:FilterBankCsp",
            "imagery": "bci.decoding.riemann:Imagery",
            "tangent": "bci.decoding.riemann:TangentSpace",
            "eegnet": "bci.decoding.nets:EEGNet",
            "cca": "bci.decoding.ssvep:Cca",
            "fbcca": "bci.decoding.ssvep:FilterBankCca",
            "trca": "bci.decoding.ssvep_templates:Trca",
            "ecca": "bci.decoding.ssvep_templates:ExtendedCca",
            "erp-lda": "bci.decoding.erp:ErpLda",
            "xdawn-lda": "bci.decoding.erp:XdawnLda",
        },
        "paradigms": {"motor-imagery": "bci.paradigms.motor_imagery:MotorImagery"},
        "effectors": {
            "log": "bci.apps.outputs.log:LogOutput",
            "lsl": "bci.apps.outputs.lsl:LslOutput",
            "osc": "bci.apps.outputs.osc:OscOutput",
            "udp": "bci.apps.outputs.udp:UdpOutput",
            "websocket": "bci.apps.outputs.websocket:WebSocketOutput",
            "serial": "bci.apps.outputs.serial_port:SerialOutput",
            "hand": "bci.apps.rehab.hand:HandWindow",
            "stimulator": "bci.apps.rehab.stimulator:SimulatedStimulator",
            "vr": "bci.apps.vr.scene:VrScene",
            "car": "bci.apps.control.car:Car",
        },
        "emulators": {},  # of devices that a maker's package brings, under the name of the driver
        "recorders": {"xdf": "bci.acquisition.recorder.xdf_recorder:XdfRecorder"},
        "datasets": {
            "eegmmidb": "bci.datasets.eegmmidb:Eegmmidb",
            "kalunga-ssvep": "bci.datasets.kalunga:Kalunga",
            "guger-p300": "bci.datasets.guger:Guger",
        },
    }
)

# The package that a missing import belongs to, and the extra that brings it.
_EXTRAS = {
    "PySide6": "apps",
    "pyqtgraph": "apps",
    "websockets": "vr",
    "gymnasium": "control",
    "highway_env": "control",
    "pythonosc": "apps",
    "serial": "apps",
    "cryptography": "sign",
}


def names(group: str) -> dict[str, str]:
    """Return every known plugin of `group` as name -> ``module:object``; a clash raises `PluginError`."""
    if group not in GROUPS:
        raise ConfigError(f"unknown plugin group {group!r}; known are {', '.join(GROUPS)}")
    found = dict(BUILTIN[group])
    owner = dict.fromkeys(found, "bci")
    for point in _points(group):
        distribution = point.dist.name if point.dist else "an unnamed distribution"
        if point.name in found and found[point.name] != point.value:
            raise PluginError(
                f"the name {point.name!r} in bci.{group} is claimed by {owner[point.name]} and by {distribution}; "
                "uninstall one of them or ask its author to rename it"
            )
        found[point.name], owner[point.name] = point.value, distribution
    return found


def load(group: str, name: str) -> Any:
    """Return the class registered as `name`, or at an import path ``module:object``."""
    known = names(group)
    target = known.get(name) or (name if ":" in name and "." in name.partition(":")[0] else None)
    if target is None:
        raise PluginError(
            f"no plugin called {name!r} among the {group}; known are {', '.join(sorted(known))}; {_hint(group, name)}"
        )
    module, _, attribute = target.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except ModuleNotFoundError as error:
        missing = (error.name or "").split(".")[0]
        extra = _EXTRAS.get(missing)
        hint = f"pip install 'bci[{extra}]'" if extra else f"pip install {missing}"
        raise PluginError(f"{group[:-1]} {name!r} needs the package {missing!r}, which is not here; {hint}") from error
    except AttributeError as error:
        raise PluginError(f"{group[:-1]} {name!r} points to {target}, which has no such name; fix the entry") from error


def create(group: str, spec: Any, /, **settings: Any) -> Any:
    """Make a plugin from a spec such as ``"name:argument,key=value"``; any other object is returned as it is.

    Raises
    ------
    PluginError
        If the name is not known or a package is missing.
    ConfigError
        If a setting is not a parameter of the plugin, or of a type that it does not take.
    """
    if not isinstance(spec, str):
        if settings:
            raise ConfigError(f"settings {sorted(settings)} go with a name, got an object of {type(spec).__name__}")
        return spec
    spec, texts = split_spec(spec)
    name, colon, argument = spec.partition(":")
    if colon and "." in name and name not in names(group):  # an import path, not a name with an argument
        name, argument, colon = spec, "", ""
    plugin = load(group, name)
    positional = (argument,) if colon and argument else ()
    settings = {**from_texts(plugin, texts), **settings}
    check_settings(plugin, f"{group[:-1]} {name!r}", positional, settings)
    return plugin(*positional, **settings)


def _hint(group: str, name: str) -> str:
    near = difflib.get_close_matches(name, names(group), 3, 0.4)
    if group == "devices" and Path(name).exists():
        return f"a recording is played by replay:{name}"
    return f"did you mean {' or '.join(near)}?" if near else "install the package that brings it"


def _points(group: str) -> list[EntryPoint]:
    return sorted(entry_points(group=f"bci.{group}"), key=lambda p: (p.name, p.value))
