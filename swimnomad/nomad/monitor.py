"""The log of an agent as a stream: lines cut into frames, with signs of life between them.

In JSON every piece is one frame, `{"Data":"…","FileEvent":"log"}` with the text in base64, or `{}`
as a sign of life. Plain, a piece is the text itself, and a sign of life has no content.

Text is gathered for a moment so that many short lines need not travel alone. `Offset` counts from
the beginning of such a batch, not of the stream: a quirk of the reference that readers may know.

Source: rpc.md §7; agent-http.md §4.8; nomad client/lib/streamframer/framer.go.
"""

from __future__ import annotations

import base64
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING, Protocol

import msgspec

from swimnomad.nomad.remote import Pieces, StreamFailed

if TYPE_CHECKING:
    from swimnomad.nomad.requests import AgentMonitor
    from swimnomad.nomad.services import Services

HEARTBEAT = 1.0
"""Seconds between two signs of life."""
BATCH_TIME = 0.2
"""Seconds that text waits for more at most."""
FRAME_BYTES_MAX = 1024
"""Longest text in one frame."""
REPORT_INTERVAL = 3.0
"""Seconds between two looks for lines that were lost."""
LINES_MAX = 512
"""Lines that wait for one slow reader; further ones are lost and counted."""

LEVELS = ("trace", "debug", "info", "warn", "error")


def known_level(text: str) -> str | None:
    """The level that a request means; None if there is none of that name. Empty means info."""
    level = text.strip().lower() or "info"
    return level if level in LEVELS else None


class LogLines(Protocol):
    """The log of this agent from now on, for one reader; at most `LINES_MAX` lines wait."""

    async def next_line(self, deadline: float) -> bytes | None:
        """The next line with its newline; None if none came by `deadline` on the agent's clock."""
        ...

    def report_lost(self) -> None:
        """Put a line that says so among those waiting, if lines were lost since the last time."""
        ...


def lost_line(count: int) -> bytes:
    """What stands in the log in place of `count` lost lines."""
    return b"[WARN] Monitor dropped %d logs during monitor request\n" % count


class Framer:
    """Text in, pieces out. Knows no clock: it is told the time (seconds, monotonic)."""

    def __init__(self, now: float, *, plain: bool) -> None:
        self._plain = plain
        self._started = now
        self._text = bytearray()
        self._offset = 0
        self._heartbeat_at = now + HEARTBEAT
        self._flush_at: float | None = None

    @property
    def next_deadline(self) -> float:
        """When `on_time` has something to do."""
        flush_at = self._flush_at
        return self._heartbeat_at if flush_at is None else min(self._heartbeat_at, flush_at)

    def add(self, text: bytes, now: float) -> list[bytes | None]:
        """Take text; return the frames that are full."""
        self._text += text
        pieces: list[bytes | None] = []
        while len(self._text) >= FRAME_BYTES_MAX:
            pieces.append(self._frame())
        if self._flush_at is None:
            # The beats were set when the stream began, wherever the text falls.
            beats = int((now - self._started) / BATCH_TIME) + 1
            self._flush_at = self._started + beats * BATCH_TIME
        return pieces

    def on_time(self, now: float) -> list[bytes | None]:
        """What is due by now."""
        pieces: list[bytes | None] = []
        if self._flush_at is not None and now >= self._flush_at:
            if self._text:
                pieces.append(self._frame())
            self._offset, self._flush_at = 0, None
        if now >= self._heartbeat_at:
            pieces.append(None if self._plain else b"{}")
            # A reader that was away gets one sign of life and not all that it missed.
            missed = int((now - self._heartbeat_at) / HEARTBEAT)
            self._heartbeat_at += (missed + 1) * HEARTBEAT
        return pieces

    def _frame(self) -> bytes:
        data = bytes(self._text[:FRAME_BYTES_MAX])
        del self._text[:FRAME_BYTES_MAX]
        offset, self._offset = self._offset, self._offset + len(data)
        if self._plain:
            return data
        frame: dict[str, object] = {"Data": base64.b64encode(data).decode(), "FileEvent": "log"}
        if offset:
            frame["Offset"] = offset
        return msgspec.json.encode(frame)


async def log_pieces(
    lines: LogLines, clock: Callable[[], float], *, plain: bool
) -> AsyncGenerator[bytes | None, None]:
    """The pieces of an endless stream of log lines."""
    now = clock()
    framer, report_at = Framer(now, plain=plain), now + REPORT_INTERVAL
    while True:
        line = await lines.next_line(min(framer.next_deadline, report_at))
        now = clock()
        pieces = framer.add(line, now) if line is not None else []
        pieces += framer.on_time(now)
        if now >= report_at:
            lines.report_lost()
            report_at = now + REPORT_INTERVAL
        for piece in pieces:
            yield piece


@asynccontextmanager
async def own_log(services: Services, request: AgentMonitor) -> AsyncIterator[Pieces]:
    """The log of this agent, as the request wants it, for the length of the block.

    Raises:
        StreamFailed: There is no such level.
    """
    level = known_level(request.level)
    if level is None:
        raise StreamFailed("Unknown log level", code=400)
    with services.log_lines(level, as_json=request.json) as lines:
        async with aclosing(log_pieces(lines, services.now, plain=request.plain)) as pieces:
            yield pieces
