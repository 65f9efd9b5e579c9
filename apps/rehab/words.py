"""The words of the rehabilitation window, in English and Chinese, for a patient and not for an engineer."""

from __future__ import annotations

from typing import Literal

Lang = Literal["en", "zh"]

CUES: dict[str, tuple[str, str]] = {
    "": ("Relax", "请放松"),
    "pause": ("Relax", "请放松"),
    "rest": ("Rest", "休息"),
    "left": ("Imagine your LEFT hand", "想象您的左手"),
    "open": ("Imagine opening your hand", "想象张开您的手"),
    "right": ("Imagine your RIGHT hand", "想象您的右手"),
    "close": ("Imagine closing your hand", "想象握紧您的手"),
}
"""What a cue asks the patient for; an intent to the right closes, one to the left opens."""

STATES: dict[str, tuple[str, str]] = {
    "": ("Not connected", "未连接"),
    "off": ("Off", "关闭"),
    "self-test": ("Checking", "自检中"),
    "idle": ("Waiting", "等待中"),
    "armed": ("Ready", "准备就绪"),
    "active": ("Active", "运行中"),
    "hold": ("Paused", "已暂停"),
    "safe": ("Safe stop", "安全停止"),
    "stopped": ("Stopped", "已停止"),
    "fault": ("Fault", "故障"),
}

TEXTS: dict[str, tuple[str, str]] = {
    "stop": ("STOP", "停止"),
    "stop_hint": ("Space or Escape", "或按空格键"),
    "open": ("Open", "张开"),
    "close": ("Close", "握紧"),
    "title": ("Hand training", "手部训练"),
}


def word(table: dict[str, tuple[str, str]], code: str, lang: Lang) -> str:
    """Return the word for `code`; a code without one is shown as it is, which is better than nothing."""
    both = table.get(code)
    return both[0 if lang == "en" else 1] if both else code


def cue(code: str, lang: Lang) -> str:
    """Return what the cue `code` asks for; what stands before a slash or colon is left out."""
    return word(CUES, code.replace(":", "/").rpartition("/")[2].strip().lower(), lang) if code else word(CUES, "", lang)
