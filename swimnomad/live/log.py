"""The log of one agent, in the form of Nomad's: text lines for people or JSON lines.

Not the standard library's logging: its loggers are global, and here many agents may live in one
process, each with a level of its own.

Source: nomad-agent.md §12.
"""

from __future__ import annotations

import enum
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Protocol

import msgspec
import trio

from swimnomad.names import Value
from swimnomad.nomad.monitor import LINES_MAX, lost_line


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


class LogSubscription:
    """The lines of one reader of a log (`nomad.monitor.LogLines`), at a level of its own.

    When `LINES_MAX` lines wait, further ones are lost and counted.
    """

    def __init__(self, level: Level, *, as_json: bool) -> None:
        self.level = level
        self._form = json_form if as_json else text_form
        self._lines: deque[LogLine | bytes] = deque()
        self._lost = 0
        self._readers = trio.lowlevel.ParkingLot()

    def add(self, line: LogLine) -> None:
        """Keep a line for the reader; a sink for `AgentLog`."""
        if len(self._lines) >= LINES_MAX:
            self._lost += 1
            return
        self._lines.append(line)
        self._readers.unpark_all()

    async def next_line(self, deadline: float) -> bytes | None:
        """The next line with its newline; None if none came by `deadline` on trio's clock."""
        await trio.lowlevel.checkpoint()
        with trio.move_on_at(deadline):
            while not self._lines:
                await self._readers.park()
        if not self._lines:
            return None
        line = self._lines.popleft()
        if isinstance(line, bytes):
            return line
        return f"{self._form(line)}\n".encode("utf-8", "backslashreplace")

    def report_lost(self) -> None:
        """Put a line that says so among those waiting, if lines were lost since the last time."""
        if not self._lost:
            return
        if len(self._lines) >= LINES_MAX:
            self._lines.popleft()  # the report needs room, and this line counts as lost, too
            self._lost += 1
        self._lines.append(lost_line(self._lost))
        self._lost = 0
        self._readers.unpark_all()


class AgentLog:
    """Passes lines of at least `level` to its sinks, and to subscribers what each of them wants.

    A sink must not raise or wait.
    """

    def __init__(self, level: Level = Level.INFO, *sinks: Sink) -> None:
        self.level = level
        self._sinks = list(sinks)
        self._subscriptions: list[LogSubscription] = []

    def add_sink(self, sink: Sink) -> None:
        """Pass lines from now on to `sink` too."""
        self._sinks.append(sink)

    def remove_sink(self, sink: Sink) -> None:
        """Stop passing lines to `sink`."""
        self._sinks.remove(sink)

    @contextmanager
    def subscribe(self, level: Level, *, as_json: bool) -> Iterator[LogSubscription]:
        """Lines of at least `level` from now on, whatever the level of the log is."""
        subscription = LogSubscription(level, as_json=as_json)
        self._subscriptions.append(subscription)
        try:
            yield subscription
        finally:
            self._subscriptions.remove(subscription)

    def write(self, level: Level, module: str, message: str, **pairs: object) -> None:
        """Write a line if its level is high enough for anybody."""
        sinks = self._sinks if level >= self.level else []
        readers = [each.add for each in self._subscriptions if level >= each.level]
        if not sinks and not readers:
            return
        safe = {
            key: value if isinstance(value, int | float) else _harmless(str(value))
            for key, value in pairs.items()
        }
        line = LogLine(time.time(), level, module, _harmless(message), safe)
        for sink in (*sinks, *readers):
            sink(line)
