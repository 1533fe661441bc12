"""The log of one agent, in the form of Nomad's: text lines for people or JSON lines.

Not the standard library's logging: its loggers are global, and here many agents may live in one
process, each with a level of its own.

Source: nomad-agent.md §12.
"""

from __future__ import annotations

import enum
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Protocol

import msgspec

from swimnomad.names import Value


class Level(enum.IntEnum):
    """How much a line matters."""

    TRACE = 0
    DEBUG = 1
    INFO = 2
    WARN = 3
    ERROR = 4


def level_of(name: str) -> Level:
    """The level of a name as configurations spell it, in any case.

    The name has been checked (`AgentConfig.validate`).
    """
    return Level[name.upper()]


class LogLine(Value, frozen=True):
    """One line: when (seconds since the epoch), how important, who says what."""

    wall_time: float
    level: Level
    module: str
    message: str
    pairs: Mapping[str, object]


def text_form(line: LogLine) -> str:
    """`2021-02-23T22:29:46.123Z [INFO]  module: message: key=value`, in local time."""
    moment = datetime.fromtimestamp(line.wall_time, UTC).astimezone()
    zone = moment.strftime("%z")
    stamp = f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}"
    head = f"{stamp}{'Z' if zone == '+0000' else zone} {f'[{line.level.name}]':<7}"
    pairs = "".join(f" {key}={_quoted(value)}" for key, value in line.pairs.items())
    return f"{head} {line.module}: {line.message}{':' if pairs else ''}{pairs}"


def json_form(line: LogLine) -> str:
    """One JSON object with @level, @message, @module, @timestamp and the pairs."""
    moment = datetime.fromtimestamp(line.wall_time, UTC).astimezone()
    stamp = moment.isoformat(timespec="microseconds")
    record = {
        "@level": line.level.name.lower(),
        "@message": line.message,
        "@module": line.module,
        "@timestamp": stamp.replace("+00:00", "Z"),
        **line.pairs,
    }
    return msgspec.json.encode(record).decode()


def _quoted(value: object) -> str:
    text = str(value)
    if text and not any(char in text for char in ' "=\\'):
        return text
    return '"' + text.replace('"', '\\"') + '"'


def _harmless(text: str) -> str:
    """The text with everything escaped that could make up lines or drive a terminal.

    Words of peers end up in messages and values.
    """
    return text if text.isprintable() else "".join(map(_harmless_char, text))


def _harmless_char(char: str) -> str:
    return char if char.isprintable() else char.encode("unicode_escape").decode()


Sink = Callable[[LogLine], None]


class LogWriter(Protocol):
    """Where lines are written; `AgentLog.write`."""

    def __call__(self, level: Level, module: str, message: str, **pairs: object) -> None:
        """Write a line."""
        ...


class AgentLog:
    """Passes lines of at least `level` to its sinks. A sink must not raise or wait."""

    def __init__(self, level: Level = Level.INFO, *sinks: Sink) -> None:
        self.level = level
        self._sinks = list(sinks)

    def add_sink(self, sink: Sink) -> None:
        """Pass lines from now on to `sink` too."""
        self._sinks.append(sink)

    def remove_sink(self, sink: Sink) -> None:
        """Stop passing lines to `sink`."""
        self._sinks.remove(sink)

    def write(self, level: Level, module: str, message: str, **pairs: object) -> None:
        """Write a line if its level is high enough."""
        if level < self.level or not self._sinks:
            return
        safe = {
            key: value if isinstance(value, int | float) else _harmless(str(value))
            for key, value in pairs.items()
        }
        line = LogLine(time.time(), level, module, _harmless(message), safe)
        for sink in self._sinks:
            sink(line)
