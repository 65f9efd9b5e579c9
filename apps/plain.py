"""How the command line speaks: one sentence for whatever is wrong, JSON where a machine reads."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import signal
import threading
from collections.abc import Iterator
from typing import Any

import click

from bci.errors import BciError

FAILED = 2
"""Exit code where the input was bad, or a device or file failed."""
STOPPED = 130
"""Exit code after Ctrl+C, as shells have it."""


class PlainGroup(click.Group):
    """Verbs in the order of their work; errors in one sentence, without a traceback.

    Exit codes: 0 done; 1 an error of this program (or something needed is missing, for ``doctor``); 2 bad
    input, or a device or file that failed; 130 stopped by the keyboard; 128 and the
    signal's number where it was terminated. With ``--json`` an error is one
    JSON object on standard output, and the sentence still goes to standard error. The environment variable
    ``BCI_DEBUG`` shows the traceback instead.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the verbs as they were defined, not by the alphabet."""
        return list(self.commands)

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        """Read the options before the verb."""
        try:
            return super().make_context(*args, **kwargs)
        except click.UsageError as error:
            code, _, message = _in_words(error)
            click.echo(f"Error: {message}", err=True)
            raise click.exceptions.Exit(code) from error

    def invoke(self, ctx: click.Context) -> Any:
        """Run a verb."""
        as_json = "--json" in ctx.args
        try:
            with _ended_in_order():
                return super().invoke(ctx)
        except KeyboardInterrupt:
            click.echo("Stopped by the keyboard.", err=True)
            ctx.exit(STOPPED)
        except Exception as error:  # nobody above could word it better
            if isinstance(error, click.exceptions.Exit | click.Abort) or _is_closed_pipe(error):
                raise
            if os.environ.get("BCI_DEBUG"):
                raise
            code, name, message = _in_words(error)
            if as_json:
                click.echo(json.dumps({"error": name, "message": message}))
            click.echo(f"Error: {message}", err=True)
            ctx.exit(code)


@contextlib.contextmanager
def _ended_in_order() -> Iterator[None]:
    """Leave the body through its cleanup, outputs halted, when the program is terminated or its terminal closed."""
    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    if threading.current_thread() is not threading.main_thread():
        numbers = []  # only there may handlers be set

    def end(number: int, _: object) -> None:
        for other in numbers:
            signal.signal(other, signal.SIG_IGN)  # the cleanup itself is not to be interrupted
        raise SystemExit(128 + number)

    before = {number: signal.signal(number, end) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def above(low: float, or_equal: bool = False) -> click.FloatRange:
    """Return the type of an option that takes a finite number above `low`."""
    return _Finite(min=low, min_open=not or_equal)


class _Finite(click.FloatRange):
    """A number in a range; neither "nan" nor "inf", which click lets through."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        number = super().convert(value, param, ctx)
        if not abs(number) < float("inf"):
            self.fail(f"{value} is not a finite number.", param, ctx)
        return number


def json_option(command: Any) -> Any:
    """Add --json."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON for a machine to read.")(command)


def _is_closed_pipe(error: Exception) -> bool:
    return isinstance(error, OSError) and error.errno == errno.EPIPE


def _in_words(error: Exception) -> tuple[int, str, str]:
    """Return exit code, kind and sentence."""
    if isinstance(error, BciError):
        return FAILED, type(error).__name__, str(error)
    if isinstance(error, click.ClickException):
        path = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else "bci"
        message = error.format_message().strip().removesuffix(".")
        return error.exit_code, "UsageError", f"{message[:1].lower()}{message[1:]}; see `{path} --help`"
    if isinstance(error, OSError):
        what = f"could not use {error.filename}" if error.filename else "the system refused"
        why = error.strerror or str(error)
        return FAILED, "OSError", f"{what}: {why}; check the path, your rights to it and the space on the disk"
    text = " ".join(f"{type(error).__name__}: {error}".split())
    return 1, type(error).__name__, (
        f"this should not have happened ({text}); run it again with BCI_DEBUG=1 set and report what it prints"
    )  # fmt: skip
