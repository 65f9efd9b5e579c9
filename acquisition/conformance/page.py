"""The report as one HTML page, with the report itself inside."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bci.acquisition.conformance.grade import MEANING
from bci.errors import DataError

_DATA = re.compile(r'<script type="application/json" id="report">(.*?)</script>', re.DOTALL)
_WORDS = {"passed": "passed", "failed": "FAILED", "exempt": "exempt"}


def render(report: Mapping[str, Any]) -> str:
    """Return the page of a sealed report; the same report gives the same page."""
    driver, counts = report["driver"], report["counts"]
    return _PAGE.format(
        title=_text(f"Conformance of {driver['spec']}"),
        reached=_text(report["reached"]),
        headline=_text(
            f"{counts['passed']} of {len(report['cases'])} cases passed, {counts['failed']} failed, "
            f"{counts['exempt']} exempt"
        ),
        steps="\n".join(_step(step) for step in report["steps"]),
        facts="\n".join(f"<tr><th>{_text(k)}</th><td>{_text(v)}</td></tr>" for k, v in _facts(report)),
        groups="\n".join(_group(report, step["step"]) for step in report["steps"]),
        seal=_seal(report["seal"]),
        # A closing tag inside a text must not end the script.
        data=json.dumps(report, ensure_ascii=False, indent=1).replace("</", "<\\/"),
    )


def read_report(path: Path) -> dict[str, Any]:
    """Return the report in a JSON file or HTML page.

    Raises
    ------
    DataError
        If there is none, or the page shows something else than the report inside it says.
    """
    try:
        text = path.read_text(encoding="utf-8")
        found = _DATA.search(text)
        report = json.loads(found.group(1) if found else text)
    except ValueError as error:
        raise DataError(f"expected a report in {path}: {error}; give the .json or .html of bci device check") from error
    if not isinstance(report, dict) or "cases" not in report:
        raise DataError(f"expected a conformance report in {path}, got something else; give the .json or .html")
    try:
        is_as_told = isinstance(report["driver"]["spec"], str) and "reached" in report
        shown = render(report) if found else text
    except (KeyError, TypeError, AttributeError, IndexError, ValueError) as error:
        raise DataError(
            f"expected every part of a conformance report in {path}, got {type(error).__name__}: {error}; it was "
            "changed, or another version of bci made it: do not trust it"
        ) from error
    if not is_as_told:
        raise DataError(f"expected a conformance report in {path}, it names no driver or step; do not trust it")
    if shown != text:
        raise DataError(f"the page {path} does not show what its report says (or another version of bci made it); "
                        "trust the .json only")  # fmt: skip
    return report


def _text(value: object) -> str:
    return html.escape(str(value))


def _step(step: Mapping[str, Any]) -> str:
    state = "done" if step["is_done"] else "open"
    return (
        f"<li class='{state} {_text(step['step'])}'><b>{_text(step['step'])}</b><span>{_text(step['said'])}</span>"
        f"<small>{_text(MEANING[step['step']])}</small></li>"
    )


def _facts(report: Mapping[str, Any]) -> list[tuple[str, str]]:
    driver, stream, options = report["driver"], report["stream"], report["options"]
    facts = [
        ("driver", f"{driver['class']} ({driver['distribution'] or 'not packaged'} {driver['version']})".strip()),
        ("examined", f"{report['made']}, against its {options['against']}"),
        ("how", f"{options['seconds']:g} s of signal, {options['cycles']} cycles"),
        ("versions", ", ".join(f"{k} {v}" for k, v in report["versions"].items())),
    ]
    if "error" in stream:
        return [*facts, ("stream", stream["error"])]
    names = ", ".join(c["name"] for c in stream["channels"][:16])
    n = len(stream["channels"])
    return [
        *facts,
        ("stream", f"{stream['name']}, {n} channels at {stream['sfreq_hz']:g} Hz, source {stream['source_id']}"),
        ("channels", names + (f", ... ({n} in all)" if n > 16 else "")),
    ]


def _group(report: Mapping[str, Any], step: str) -> str:
    rows = "\n".join(_row(case) for case in report["cases"] if case["step"] == step)
    return (
        f"<h2>{_text(step)}</h2><table class='cases'><tr><th>case</th><th>rule</th><th>severity</th>"
        f"<th>result</th></tr>{rows}</table>"
    )


def _row(case: Mapping[str, Any]) -> str:
    figures = ", ".join(f"{k} = {v:.4g}" for k, v in case["figures"].items())
    note = case["reason"] or figures
    outcome = case["outcome"]
    word = "untested" if case["untested"] else _WORDS[outcome]
    return (
        f"<tr class='{_text(outcome)}'><td><code>{_text(case['name'])}</code></td><td>{_text(case['rule'])}</td>"
        f"<td>{_text(case['severity'])}</td><td><b>{_text(word)}</b> <small>{_text(note)}</small></td></tr>"
    )


def _seal(sealed: Mapping[str, Any]) -> str:
    digest = f"SHA-256 of the report: <code>{_text(sealed['sha256'])}</code>"
    if not sealed["signed"]:
        return f"<p><b>Unsigned.</b> {digest}</p>"
    return (
        f"<p><b>Signed</b> ({_text(sealed['algorithm'])}) by the key <code>{_text(sealed['public_key'])}</code>; "
        f"check it with <code>bci device verify</code>.</p><p>{digest}</p>"
    )


_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>
body {{ font: 15px/1.45 system-ui, sans-serif; max-width: 1080px; margin: 2em auto; padding: 0 1em; color: #1d2330 }}
h1 {{ font-size: 1.6em; margin: 0 }} h2 {{ font-size: 1.1em; margin: 1.6em 0 .4em; text-transform: capitalize }}
.top {{ display: flex; gap: 1em; align-items: center; margin-bottom: 1.2em }} .top p {{ margin: .2em 0; color: #555 }}
.badge {{ font-size: 1.1em; font-weight: 700; padding: .7em 1.1em; border-radius: .5em; text-transform: uppercase;
  border: 2px solid; white-space: nowrap }}
.badge.none {{ color: #777 }} .badge.bronze {{ color: #8a4f1d }} .badge.silver {{ color: #5d6b7a }}
.badge.gold {{ color: #94700a }} .badge.platinum {{ color: #1f6f78 }}
ol {{ list-style: none; display: grid; grid-template-columns: repeat(4, 1fr); gap: .6em; padding: 0 }}
li {{ border: 1px solid #d5d9e0; border-top-width: 5px; border-radius: 6px; padding: .5em .7em; font-size: .92em }}
li.done {{ border-top-color: #2a8a4a }} li.open {{ border-top-color: #c9ccd3; background: #fafafa }}
li b {{ text-transform: capitalize; display: block }} li small {{ color: #667; display: block; margin-top: .4em }}
li span {{ overflow-wrap: anywhere }}
table {{ border-collapse: collapse; width: 100% }}
th, td {{ text-align: left; padding: .3em .6em; border-bottom: 1px solid #e3e6eb; vertical-align: top }}
.facts th {{ width: 7em; font-weight: 600 }} .facts td {{ overflow-wrap: anywhere }}
.cases {{ font-size: .92em; table-layout: fixed }}
.cases th:nth-child(1) {{ width: 20em }} .cases th:nth-child(3) {{ width: 5.2em }}
.cases th:nth-child(4) {{ width: 16em }}
code {{ font-size: .9em; overflow-wrap: anywhere }} small {{ color: #555; overflow-wrap: anywhere }}
tr.passed b {{ color: #1c7a3d }} tr.failed {{ background: #fdecea }} tr.failed b {{ color: #b3261e }}
tr.exempt b {{ color: #7a6a1c }} footer {{ margin-top: 2em; color: #444; font-size: .9em }}
@media (max-width: 760px) {{ ol {{ grid-template-columns: 1fr }} .cases {{ table-layout: auto }} }}
@media print {{ body {{ margin: 0; max-width: none }} tr {{ break-inside: avoid }} }}
</style>
<div class="top"><div class="badge {reached}">{reached}</div><div><h1>{title}</h1><p>{headline}</p></div></div>
<ol>
{steps}
</ol>
<table class="facts">
{facts}
</table>
{groups}
<footer>{seal}</footer>
<script type="application/json" id="report">{data}</script>
</html>
"""
