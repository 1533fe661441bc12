"""The two sides of a Raft connection as conversations: bytes cut anywhere in, whole messages out.

Source: nomad-agent.md §16.1.
"""

from __future__ import annotations

from collections import deque
from typing import Final, NamedTuple

from swimnomad.errors import MalformedMessage
from swimnomad.raft.messages import InstallSnapshot, Reply, Request
from swimnomad.rpc.objects import ObjectSplitter
from swimnomad.rpc.raft_codec import (
    Asked,
    RequestType,
    decode_reply_untrusted,
    decode_request_untrusted,
)
from swimnomad.rpc.raft_entries import RaftWireLimits
from swimnomad.wire.dialect import scan_untrusted

REPLY_BYTES_MAX: Final = 64 * 1024
_TYPES: Final = {int(kind): kind for kind in RequestType}


class SnapshotPiece(NamedTuple):
    """Contents of the snapshot whose `InstallSnapshot` came before; `is_last` once it is whole."""

    data: bytes
    is_last: bool


class RequestReader:
    """What a server reads: requests one after another, snapshots' contents between them.

    Messages are taken out one at a time, so that whoever is busy leaves the rest as bytes.
    """

    def __init__(self, limits: RaftWireLimits | None = None) -> None:
        self._limits = limits or RaftWireLimits()
        self._buffer = bytearray()
        self._start = 0  # where the next message begins
        self._walked = 0  # where the walk over its map has come
        self._pending = 0  # objects missing of it
        self._in_map = False  # whether its type byte was seen
        self._contents = 0  # bytes of a snapshot still to come
        self._in_contents = False

    @property
    def buffered_bytes(self) -> int:
        """Bytes received of which nothing was made yet."""
        return len(self._buffer) - self._start

    @property
    def is_between_requests(self) -> bool:
        """Whether the sender owes nothing: everything received is whole and taken out."""
        return not self.buffered_bytes and not self._in_contents

    def receive(self, data: bytes) -> None:
        """Take the next bytes."""
        if self._start:
            del self._buffer[: self._start]
            self._walked -= self._start
            self._start = 0
        self._buffer += data

    def next(self) -> Asked | SnapshotPiece | None:
        """The next message, or None until more bytes are there.

        Raises:
            MalformedMessage: What came is none. The connection is of no more use.
        """
        if self._in_contents:
            return self._next_piece()
        limits = self._limits
        if not self._in_map:
            if not self.buffered_bytes:
                return None
            kind = self._buffer[self._start]
            if kind not in _TYPES:
                raise MalformedMessage(f"unknown RPC type {kind}")
            self._in_map, self._walked, self._pending = True, self._start + 1, 1
        self._walked, self._pending = scan_untrusted(
            self._buffer, self._walked, self._pending, limits.objects_max
        )
        if self._walked - self._start > limits.message_bytes_max:
            raise MalformedMessage(f"a message of more than {limits.message_bytes_max} bytes")
        if self._pending or self._walked > len(self._buffer):
            return None
        return self._take()

    def _take(self) -> Asked:
        kind = _TYPES[self._buffer[self._start]]
        body = bytes(memoryview(self._buffer)[self._start + 1 : self._walked])
        self._start, self._in_map = self._walked, False
        asked = decode_request_untrusted(kind, body, self._limits)
        if isinstance(asked.request, InstallSnapshot):
            self._in_contents, self._contents = True, asked.request.snapshot.size
        return asked

    def _next_piece(self) -> SnapshotPiece | None:
        size = min(self._contents, self.buffered_bytes)
        if self._contents and not size:
            return None
        data = bytes(memoryview(self._buffer)[self._start : self._start + size])
        self._start += size
        self._contents -= size
        self._in_contents = self._contents > 0
        return SnapshotPiece(data, not self._in_contents)


class ReplyReader:
    """What a client reads: answers in the order of its requests."""

    def __init__(self) -> None:
        self._splitter = ObjectSplitter(REPLY_BYTES_MAX)
        self._asked: deque[Request] = deque()
        self._error: bytes | None = None

    @property
    def waiting_count(self) -> int:
        """Requests without answer."""
        return len(self._asked)

    def asked(self, request: Request) -> None:
        """A request was, or is about to be, sent."""
        self._asked.append(request)

    def receive(self, data: bytes) -> list[Reply]:
        """Take the next bytes; the answers they complete.

        Raises:
            MalformedMessage: They are no answers, or nobody asked. What was whole before it in
                these bytes is lost with it: the connection ends anyway.
        """
        replies = []
        for item in self._splitter.receive(data):
            if self._error is None:
                self._error = item
                continue
            if not self._asked:
                raise MalformedMessage("an answer to nothing that was asked")
            replies.append(decode_reply_untrusted(self._asked[0], self._error, item))
            self._asked.popleft()
            self._error = None
        return replies
