"""Settings of plugins: read from a spec, and checked against what a constructor says it takes."""

from __future__ import annotations

import inspect
import json
import re
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any

from bci.errors import ConfigError
from bci.stream import unknown

_PLAIN = (str, bool, int, float, list, tuple, dict)
"""What a configuration file can hold; objects of other types come from code, which has a type checker."""
_NEXT = re.compile(r",(?=[A-Za-z_]\w*=)")
_WORDS = {"str": "a text", "int": "a whole number", "float": "a number", "bool": "true or false"}


def split_spec(spec: str) -> tuple[str, dict[str, str]]:
    """Return (spec without settings, settings as texts) of ``"name:argument,key=value,key=value"``.

    A value that begins as a list or a table in JSON ends where that ends, so that it may hold specs of its own.
    """
    parts = _NEXT.split(spec, maxsplit=1)
    settings: dict[str, str] = {}
    while len(parts) > 1:
        key, _, rest = parts[1].partition("=")
        end = _json_end(rest)
        following = _NEXT.split(rest[end:], maxsplit=1)
        settings[key] = rest[:end] + following[0]
        parts[1:] = following[1:]
    return parts[0], settings


def _json_end(text: str) -> int:
    """Return where a list or a table in JSON ends that `text` begins with; 0 if it does not."""
    if not text.startswith(("[", "{")):
        return 0
    try:
        return json.JSONDecoder().raw_decode(text)[1]
    except ValueError:
        return 0


def plugin_name(spec: str) -> str:
    """Return the name in a spec: "lsl" of ``"lsl:Amp,markers=M"``."""
    return split_spec(spec)[0].partition(":")[0]


def from_texts(plugin: Any, texts: Mapping[str, str]) -> dict[str, Any]:
    """Return `texts` as the values that the constructor of `plugin` takes: "3" is a number where one is needed."""
    hints = _hints(plugin)
    return {key: _value(text, hints.get(key, Any)) for key, text in texts.items()}


def check_settings(plugin: Any, what: str, positional: tuple[Any, ...], settings: Mapping[str, Any]) -> None:
    """Check that `settings` fit the constructor of `plugin`, by name and by type.

    Parameters
    ----------
    plugin : callable
        Class or function to be called.
    what : str
        What it is, for the message, as in ``"device 'lsl'"``.
    positional : tuple
        Arguments by position.
    settings : mapping
        Arguments by name. Only plain values (texts, numbers, lists, tables) are checked by type.

    Raises
    ------
    ConfigError
        Naming the setting and what it takes.
    """
    signature = inspect.signature(plugin)
    named = {k: p for k, p in signature.parameters.items() if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)}
    open_ended = any(p.kind is p.VAR_KEYWORD for p in signature.parameters.values())
    for key in settings:
        if key not in named and not open_ended:
            raise ConfigError(unknown(f"setting of {what}:", key, named))
    try:
        bound = signature.bind_partial(*positional, **settings)
    except TypeError as error:
        raise ConfigError(f"{what} cannot take these settings: {error}; give each once") from error
    missing = [k for k, p in named.items() if p.default is p.empty and k not in bound.arguments]
    if missing:
        raise ConfigError(f"{what} needs {' and '.join(missing)}, got none; see its documentation")
    hints = _hints(plugin)
    for key, value in settings.items():
        if not fits(value, hints.get(key, Any)):
            raise ConfigError(f"{key} of {what} takes {_in_words(hints[key])}, got {value!r}; correct it")


def fits(value: Any, hint: Any) -> bool:
    """Return whether a plain `value` is of the type `hint`; True for values and hints that are not plain."""
    if hint in (Any, inspect.Parameter.empty, object) or not isinstance(value, _PLAIN):
        return value is not None or hint in (Any, None, type(None)) or _takes_none(hint)
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return any(fits(value, h) for h in arguments)
    if origin is typing.Literal:
        return value in arguments
    if origin is tuple and isinstance(value, list | tuple) and arguments and arguments[-1] is not Ellipsis:
        return len(value) == len(arguments) and all(map(fits, value, arguments))
    if isinstance(origin, type):
        if issubclass(origin, Mapping):
            return isinstance(value, dict)
        if issubclass(origin, Sequence):
            return isinstance(value, list | tuple) and all(fits(v, arguments[0]) for v in value if arguments)
        return isinstance(value, origin)
    return _is_of(value, hint) if isinstance(hint, type) else True


def _is_of(value: Any, kind: type) -> bool:
    if isinstance(value, bool):
        return kind is bool
    return isinstance(value, (int, float) if kind is float else kind)


def _takes_none(hint: Any) -> bool:
    return not isinstance(hint, type) and (not typing.get_args(hint) or type(None) in typing.get_args(hint))


def _value(text: str, hint: Any) -> Any:
    """Return the first reading of `text` that fits: JSON, else the text itself."""
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return value if fits(value, hint) else text


def _hints(plugin: Any) -> dict[str, Any]:
    constructor: Any = getattr(plugin, "__init__") if isinstance(plugin, type) else plugin  # noqa: B009
    try:
        return typing.get_type_hints(constructor)
    except (NameError, TypeError):  # names that only a type checker sees: nothing is known then
        return {}


def _in_words(hint: Any) -> str:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        kinds = [h for h in arguments if h is not type(None)]
        # What only code can give is of no use to who reads this, if there is another way.
        plain = [h for h in kinds if not isinstance(h, type) or h in _PLAIN]
        return " or ".join(_in_words(h) for h in plain or kinds)
    if origin is typing.Literal:
        return " or ".join(repr(a) for a in arguments)
    if origin is tuple and arguments and arguments[-1] is not Ellipsis:
        return f"a list of {len(arguments)} values ({', '.join(_in_words(a) for a in arguments)})"
    if isinstance(origin, type) and issubclass(origin, Sequence):
        return f"a list, each entry {_in_words(arguments[0])}" if arguments else "a list"
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return "a table"
    name = getattr(origin or hint, "__name__", str(hint))
    return _WORDS.get(name, f"an object of the class {name}")
