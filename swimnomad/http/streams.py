"""Endless answers: one JSON object a line, sent at once, and an empty line when nothing happens."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing

import trio

from swimnomad.http.dialect import encode_json

HEARTBEAT = 1.0
"""Seconds without an event after which an empty line tells the reader that we are alive."""

CONTENT_TYPE = "application/x-ndjson"

SendPiece = Callable[[bytes], Awaitable[None]]


class EventStream:
    """The lines of one reader. A slow one delays its own reading only, and loses events there."""

    def __init__(self, source: AsyncGenerator[dict[str, object], None]) -> None:
        self._source = source

    async def run(self, send: SendPiece) -> None:
        """Write lines until the events end; cancel to stop earlier."""
        sender, receiver = trio.open_memory_channel[dict[str, object]](0)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._pump, sender)
            async with receiver:
                # The pump subscribes in its first turn. After that the reader is told, by an
                # empty line, that it will miss nothing from here on.
                await trio.lowlevel.checkpoint()
                await send(b"\n")
                while (line := await _next_line(receiver)) is not None:
                    await send(line)

    async def _pump(self, sender: trio.MemorySendChannel[dict[str, object]]) -> None:
        # In a task of its own: a heartbeat must not cancel the source while it waits.
        async with sender, aclosing(self._source) as source:
            async for event in source:
                await sender.send(event)


async def _next_line(receiver: trio.MemoryReceiveChannel[dict[str, object]]) -> bytes | None:
    """The next event or heartbeat; None when there will be no more events."""
    with trio.move_on_after(HEARTBEAT):
        try:
            return encode_json(await receiver.receive(), keep_order=True) + b"\n"
        except trio.EndOfChannel:
            return None
    return b"\n"
