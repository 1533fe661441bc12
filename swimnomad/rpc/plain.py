"""A connection that carries one conversation, with an eye on whether the peer is still there.

On a multiplexed session the reader notices that a peer has left whatever the user of a stream is
doing. Here a task of our own reads ahead, within bounds, for the same purpose.
"""

from __future__ import annotations

from collections import deque
from contextlib import AbstractContextManager
from typing import Final, Protocol

import trio

from swimnomad.rpc.departure import Departure

READ_BYTES: Final = 65_536
READ_AHEAD_BYTES_MAX: Final = 65_536
"""Reading stops while this much is unread; a peer that leaves is then noticed later."""
LINGER: Final = 1.0
"""Seconds that a connection we close may take."""
_UNREAD_READS_MAX: Final = 16


class Line(Protocol):
    """What a conversation needs: a `MuxStream` or a `PlainLine`."""

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """The next bytes; none at all once the peer sends no more."""
        ...

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send all of `data`."""
        ...

    def until_peer_leaves(self, grace: float) -> AbstractContextManager[trio.CancelScope]:
        """Cancel the body if the peer is gone, `grace` seconds after it ended its side."""
        ...


class PlainLine:
    """One conversation on `connection`; `read_ahead` has to run beside it."""

    def __init__(self, connection: trio.abc.Stream) -> None:
        self._connection = connection
        self._chunks: deque[bytes] = deque()
        self._unread = 0
        self._is_ended = False
        self._is_broken = False
        self._changed = trio.Event()
        self._taken = trio.Event()
        self._departure = Departure()

    async def read_ahead(self) -> None:
        """Read until the peer sends no more."""
        while True:
            try:
                data = await self._connection.receive_some(READ_BYTES)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                self._is_broken = True
                data = b""
            if data:
                self._chunks.append(bytes(data))
                self._unread += len(data)
            else:
                self._is_ended = True
            self._changed.set()
            self._judge()
            if self._is_ended:
                return
            while self._unread >= READ_AHEAD_BYTES_MAX:
                self._taken = trio.Event()
                await self._taken.wait()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """The next bytes; none at all once the peer sends no more."""
        await trio.lowlevel.checkpoint()
        while not self._chunks:
            if self._is_broken:
                raise trio.BrokenResourceError("connection reset by peer")
            if self._is_ended:
                return b""
            self._changed = trio.Event()
            await self._changed.wait()
        data = self._chunks.popleft()
        if max_bytes is not None and len(data) > max_bytes:
            self._chunks.appendleft(data[max_bytes:])
            data = data[:max_bytes]
        self._unread -= len(data)
        self._taken.set()
        return data

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send all of `data`."""
        await self._connection.send_all(data)

    def until_peer_leaves(self, grace: float) -> AbstractContextManager[trio.CancelScope]:
        """Cancel the body if the connection breaks, `grace` seconds after the peer ended its side.

        A process that is gone looks the same as one that only ended its side, until we send.
        """
        return self._departure.watch(grace, is_gone=self._is_broken, has_ended=self._is_ended)

    def _judge(self) -> None:
        self._departure.judge(is_gone=self._is_broken, has_ended=self._is_ended)


async def close_gently(connection: trio.abc.Stream) -> None:
    """Close so that what we sent last arrives, in bounded time.

    Closing a socket with unread bytes resets the connection, and the reset may overtake our last
    answer; so what the peer has sent in vain is read away first.
    """
    with trio.move_on_after(LINGER):
        try:
            if isinstance(connection, trio.abc.HalfCloseableStream):
                await connection.send_eof()
                for _ in range(_UNREAD_READS_MAX):
                    if not await connection.receive_some(READ_BYTES):
                        break
            await connection.aclose()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
    await trio.aclose_forcefully(connection)
