"""``bci device``: examine a driver, check a report, begin a new driver, measure contacts."""

from __future__ import annotations

import contextlib
import functools
import importlib
import json
import logging
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click

from bci.apps.plain import above, json_option

_STEPS = ("bronze", "silver", "gold", "platinum")


@click.group()
def device() -> None:
    """Examine a driver of a device, begin a new one, or measure the contacts of electrodes.

    \b
    bci device impedance participant     kOhm of each electrode, live
    bci device new myamp                 a package with driver, emulator and tests
    bci device check myamp --emulated    examine it against its emulator
    bci device verify report.json        see whether a report is as it was made
    """


@device.command()
@click.argument("spec")
@click.option("--emulated", is_flag=True, help="Against the maker's emulator (entry point of bci.emulators).")
@click.option("--seconds", default=5.0, show_default=True, type=above(0), help="Seconds of signal to judge rates by.")
@click.option("--cycles", default=100, show_default=True, type=click.IntRange(1), help="Restarts, to find leaks.")
@click.option("--case", "cases", multiple=True, metavar="NAME", help="Only this case; may be given again.")
@click.option(
    "--out", default=None, type=click.Path(path_type=Path), help="Report without suffix; out/NAME if not given."
)
@click.option("--key", default=None, type=click.Path(path_type=Path), help="Private key to sign with (bci device key).")
@click.option("--require", type=click.Choice(_STEPS), help="Fail below this step instead of at any failed case.")
@json_option
def check(as_json: bool, **options: Any) -> None:
    """Try about 60 cases on the driver SPEC and write a report, HTML and JSON.

    SPEC is what --device takes elsewhere (brainflow:0, lsl:NAME, the name of a plugin), or module:Class.
    The exit code is 1 if a case failed.

    \b
    bci device check brainflow:synthetic
    bci device check lsl:MyAmplifier --cycles 10
    bci device check mypackage.driver:MyAmp,port=/dev/ttyUSB0
    """
    result = check_driver(**options)
    click.echo(json.dumps(result) if as_json else result["text"])
    sys.exit(0 if result["ok"] else 1)


@device.command()
@click.argument("report", type=click.Path(path_type=Path))
@click.option("--public-key", default=None, type=click.Path(path_type=Path), help="The maker's key, a .pub file.")
@json_option
def verify(report: Path, public_key: Path | None, as_json: bool) -> None:
    """Say whether REPORT (.json or .html) is as it was made, and who signed it."""
    from bci.acquisition.conformance.page import read_report
    from bci.acquisition.conformance.seal import read_public_key
    from bci.acquisition.conformance.seal import verify as verify_seal

    content = read_report(report)
    said = verify_seal(content, read_public_key(public_key) if public_key else "")
    result = {"spec": content["driver"]["spec"], "reached": content["reached"], "seal": said}
    click.echo(json.dumps(result) if as_json else f"{result['spec']}: {result['reached']}; {said}")


@device.command()
@click.argument("path", type=click.Path(path_type=Path))
def key(path: Path) -> None:
    """Make a key pair to sign reports with: PATH (keep it secret) and its .pub (publish it)."""
    from bci.acquisition.conformance.seal import make_key, public_path

    public = make_key(path)
    click.echo(f"Wrote {path} (secret) and {public_path(path)}; the public key is {public}")


@device.command()
@click.argument("name")
@click.option("--out", default=Path(), type=click.Path(path_type=Path), help="Folder to put it in; here if not given.")
def new(name: str, out: Path) -> None:
    """Begin a driver: write the installable package NAME with driver, emulator, tests and docs."""
    from bci.acquisition.conformance.scaffold import scaffold

    folder = scaffold(name, out)
    click.echo(
        f"Wrote {folder}. Next:\n  pip install -e {folder}\n  pytest {folder}\n  bci device check {name} --emulated"
    )


@device.command()
@click.argument("spec")
@click.option("--seconds", default=None, type=above(0), help="For how long; until a key or Ctrl+C if not given.")
@click.option(
    "--every", "every_s", default=1.0, show_default=True, type=above(0), help="Seconds between two measurements."
)
@click.option("--good", "good_kohm", default=10.0, show_default=True, type=above(0), help="Good up to so many kOhm.")
@click.option("--bad", "bad_kohm", default=50.0, show_default=True, type=above(0), help="Bad above so many kOhm.")
@click.option("--emulated", is_flag=True, help="Against the maker's emulator (entry point of bci.emulators).")
@json_option
def impedance(spec: str, good_kohm: float, bad_kohm: float, emulated: bool, **options: Any) -> None:
    """Measure the contacts of the device SPEC: kOhm and verdict of each channel, live.

    Good, fair and bad are what to aim at while electrodes are prepared. 10 kOhm is what clinical practice demands of
    gel and paste (ACNS guideline 1, 2016), many aim at 5; active electrodes and amplifiers of today bear 40 and more
    (Ferree 2001). For dry ones take --good 100 --bad 750. The line below tells what a session would say: doubtful
    from 50 kOhm, closed from 750 or without contact.

    Only a device whose driver measures can: the simulated participant, drivers with impedance() such as
    examples/amplifier. No board of BrainFlow can yet: look at the live signal instead, bci view.
    Without a terminal, and with --json (one line each), it measures once unless --seconds is given.

    \b
    bci device impedance participant
    bci device impedance amp8:/dev/ttyUSB0 --good 5 --bad 10
    bci device impedance participant --json
    """
    from bci.apps.impedance import follow_contacts
    from bci.signal.contact import Aims

    aims = Aims(good_kohm, bad_kohm)
    with _quiet(), _subject_of(spec, emulated) as (make, _):
        follow_contacts(make(), spec, aims=aims, **options)


def check_driver(
    spec: str,
    *,
    emulated: bool = False,
    seconds: float = 5.0,
    cycles: int = 100,
    cases: tuple[str, ...] = (),
    out: Path | None = None,
    key: Path | None = None,
    require: str | None = None,
) -> dict[str, Any]:
    """Examine a driver and write its report.

    Returns
    -------
    dict
        ``ok``, ``reached``, ``counts``, ``html`` and ``json`` (paths), ``text``.
    """
    from bci.acquisition.conformance.page import render
    from bci.acquisition.conformance.report import make_report, summary
    from bci.acquisition.conformance.seal import seal
    from bci.acquisition.conformance.subject import Subject
    from bci.acquisition.conformance.suite import CASES, named, run_cases
    from bci.errors import ConfigError

    if cases and require is not None:
        raise ConfigError("a step of the ladder needs every case, got --case and --require; leave one of them out")
    chosen = named(cases) if cases else CASES
    if key is not None:
        seal({}, key)  # a key that cannot be used is said before the work, not after it
    with _quiet(), _subject_of(spec, emulated) as (make, emulator), _progress(len(chosen)) as bar:
        info = _be_there(make)
        subject = Subject(make, emulator, seconds=seconds, cycles=cycles)
        report = make_report(spec, subject, run_cases(subject, chosen, follow=bar), info)
    report = seal(report, key)
    out = out or Path("out") / ("conformance-" + re.sub(r"[^A-Za-z0-9]+", "-", spec).strip("-"))
    out.parent.mkdir(parents=True, exist_ok=True)
    files = {suffix: out.with_name(out.name + suffix) for suffix in (".html", ".json")}
    files[".html"].write_text(render(report), encoding="utf-8")
    files[".json"].write_text(json.dumps(report, indent=1, ensure_ascii=False), encoding="utf-8")
    ok = report["counts"]["failed"] == 0
    if require is not None:
        ok = report["reached"] in _STEPS[_STEPS.index(require) :]
    return {
        "ok": ok,
        "reached": report["reached"],
        "counts": report["counts"],
        "html": str(files[".html"]),
        "json": str(files[".json"]),
        "text": f"{summary(report)}\nWrote {files['.html']} and {files['.json']}",
    }


@contextlib.contextmanager
def _subject_of(spec: str, emulated: bool) -> Iterator[tuple[Callable[[], Any], Any]]:
    """How to make the driver `spec`, and its emulator, switched on."""
    from bci.registry import load

    make = _maker(spec)
    if not emulated:
        yield make, None
        return
    with load("emulators", spec.partition(",")[0])() as emulator:
        yield (lambda: make(**emulator.settings)), emulator


def _maker(spec: str) -> Callable[..., Any]:
    """Return what makes the driver `spec`: a name of the registry, or ``module:Class`` of this folder or a package."""
    from bci.errors import PluginError
    from bci.registry import check_settings, create, names
    from bci.settings import from_texts, split_spec

    first, texts = split_spec(spec)
    module, colon, name = first.partition(":")
    if not colon or module in names("devices"):
        return functools.partial(create, "devices", spec)
    if "" not in sys.path:
        sys.path.insert(0, "")  # as `python -m` does
    try:
        plugin = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise PluginError(
            f"expected a driver at {first}: {error}; give the name of a plugin or module:Class"
        ) from error
    settings = from_texts(plugin, texts)

    def make(**more: Any) -> Any:
        check_settings(plugin, f"device {first!r}", (), {**settings, **more})
        return plugin(**settings, **more)

    return make


def _be_there(make: Callable[[], Any]) -> Any:
    """Open and close once: a device that is not there is an error of the user, not of the driver; return its info."""
    from bci.errors import ConfigError, DeviceNotFound

    device, info = make(), None
    try:
        info = device.open()
    except (DeviceNotFound, ConfigError):
        raise
    except Exception as error:  # noqa: BLE001 - a stranger's driver; the cases say what is wrong with it
        logging.getLogger(__name__).info("the first open() raised %r", error)
    with contextlib.suppress(Exception):
        device.close()
    return info


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep to ourselves what drivers say of losses that were made on purpose."""
    log = logging.getLogger("bci")
    before = log.level
    log.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        log.setLevel(before)


@contextlib.contextmanager
def _progress(n_cases: int) -> Iterator[Callable[[Any], None]]:
    from tqdm import tqdm

    with tqdm(total=n_cases, desc="cases", disable=None, unit="case") as bar:

        def follow(result: Any) -> None:
            bar.set_postfix_str(f"{result.case.name} {result.outcome}", refresh=False)
            bar.update()

        yield follow
