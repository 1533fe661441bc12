"""Outgoing Raft connections: what goes over which, and what becomes of each request.

Every server we ask has up to two connections of its own kind, made when first needed: one for
entries, one for heartbeats, so that no heartbeat waits behind a megabyte of entries. On both,
requests follow one another without waiting for answers. Votes, snapshots and the rest go alone over
a connection that is idle, of which a few are kept.

A request ends in its answer or in a failure that says whether it can have arrived. It certainly has
not as long as it was not begun to be written. A connection on which the oldest request waits too
long is given up with all that are on it.

A server that hangs up on a pre-vote twice, both times on a fresh connection that it had accepted,
does not know what that is; a server that is being stopped accepts no second one.

Source: nomad-agent.md §16.1; HashiCorp raft net_transport.go.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from enum import Enum, auto
from typing import Final

import trio

from swimnomad.errors import MalformedMessage
from swimnomad.names import Value
from swimnomad.raft.inputs import Failure
from swimnomad.raft.messages import AppendEntries, InstallSnapshot, PreVote, Reply, Request
from swimnomad.raft.servers import ServerAddress
from swimnomad.rpc.dialling import DialFailed
from swimnomad.rpc.raft_codec import encode_request
from swimnomad.rpc.raft_entries import RaftWireLimits
from swimnomad.rpc.raft_reader import ReplyReader
from swimnomad.tls.failures import describe_failure

RAFT: Final = 2
"""The byte that a Raft connection begins with."""
HANG_UPS_MAX: Final = 2
_WRITE_BYTES: Final = 64 * 1024
_SNAPSHOT_SCALE: Final = 256 * 1024
"""So many bytes of a snapshot may take as long as one call."""

Contents = Callable[[], AsyncGenerator[bytes, None]]
"""The contents of a snapshot, piece by piece; raises OSError if they cannot be had."""


class RaftLimits(Value, frozen=True):
    """Bounds of the Raft ends. Durations are in seconds.

    Source: nomad-agent.md §16.1: 128 in flight, 3 idle connections, 10 s.
    """

    wire: RaftWireLimits = RaftWireLimits()
    io_timeout: float = 10.0
    """For the answer to a request; a snapshot gets as much for every 256 KiB."""
    idle_timeout: float = 120.0
    """How long a connection without requests is kept."""
    idle_connections: int = 3
    """Connections to one server kept for requests that go alone."""
    waiting_max: int = 256
    """Requests that wait for one connection; for one more the oldest is given up."""
    in_flight_max: int = 128
    """Requests of one connection that are not answered; a peer that sends more has to wait."""
    stall_timeout: float = 60.0
    """How long a peer may make no progress within a request, or in taking answers."""
    unanswered_bytes_max: int = 256 * 1024 * 1024
    """Bytes of all requests received and not answered; whoever exceeds it is cut off."""


class Call:
    """A request on its way."""

    __slots__ = ("contents", "hang_ups", "needs_fresh", "number", "request", "sent_at", "to")

    def __init__(
        self, to: ServerAddress, request: Request, number: int, contents: Contents | None
    ) -> None:
        self.to = to
        self.request = request
        self.number = number
        self.contents = contents
        self.sent_at = 0.0
        self.hang_ups = 0  # on fresh connections
        self.needs_fresh = False

    def time_limit(self, io_timeout: float) -> float:
        """Seconds that the answer may take."""
        if isinstance(self.request, InstallSnapshot):
            return io_timeout * max(self.request.snapshot.size / _SNAPSHOT_SCALE, 1.0)
        return io_timeout


class Failed(Value, frozen=True):
    """A call has no answer. `hung_up`: because the other side ended the connection."""

    failure: Failure
    reason: str
    hung_up: bool = False


Report = Callable[[Call, Reply | Failed], None]
Open = Callable[[ServerAddress], Awaitable[trio.abc.Stream]]
"""Opens a connection that has said it is for Raft; raises DialFailed."""


class Line:
    """One connection; requests are written in order, and so are their answers."""

    def __init__(
        self, to: ServerAddress, open_to: Open, protocol: int, limits: RaftLimits, report: Report
    ) -> None:
        self._to = to
        self._open = open_to
        self._protocol = protocol
        self._limits = limits
        self._report = report
        self._waiting: deque[Call] = deque()
        self._sent: deque[Call] = deque()
        self._reader = ReplyReader()
        self._more = trio.Event()
        self._scope = trio.CancelScope()
        self._reason = ""
        self._hung_up = False
        self.is_over = False
        self.is_fresh = True

    @property
    def is_idle(self) -> bool:
        """Whether nothing is on its way."""
        return not self._waiting and not self._sent

    def ask(self, call: Call) -> None:
        """Send a request when its turn comes."""
        assert not self.is_over
        if len(self._waiting) >= self._limits.waiting_max:
            reason = f"too many requests wait for {self._to}"
            self._report(self._waiting.popleft(), Failed(Failure.UNREACHABLE, reason))
        self._waiting.append(call)
        self._more.set()

    def close(self) -> None:
        """Give the connection up."""
        self._scope.cancel()

    async def run(self) -> None:
        """Open the connection and serve it to its end; then every call has been reported."""
        try:
            with self._scope:
                connection = await self._open(self._to)
                try:
                    await self._converse(connection)
                finally:
                    await trio.aclose_forcefully(connection)
            if self._scope.cancelled_caught:
                self._reason = self._reason or f"i/o timeout: no answer from {self._to}"
        except DialFailed as failed:
            self._reason = str(failed)
        finally:
            self._end()

    async def _converse(self, connection: trio.abc.Stream) -> None:
        self._renew_deadline()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._write, connection)
            await self._read(connection)
            nursery.cancel_scope.cancel()

    async def _read(self, connection: trio.abc.Stream) -> None:
        reason = "EOF"
        try:
            while data := await connection.receive_some():
                for reply in self._reader.receive(bytes(data)):
                    call = self._sent.popleft()
                    self.is_fresh = False
                    self._renew_deadline()
                    self._report(call, reply)
            self._hung_up = True
        except trio.BrokenResourceError as error:
            self._hung_up = True
            reason = describe_failure(error)
        except trio.ClosedResourceError:
            reason = "closed"
        except MalformedMessage as error:
            reason = f"bad answer: {error}"
        self._reason = self._reason or f"connection to {self._to}: {reason}"

    async def _write(self, connection: trio.abc.Stream) -> None:
        try:
            while True:
                if not self._waiting:
                    self._more = trio.Event()
                    await self._more.wait()
                await self._write_some(connection)
        except trio.BrokenResourceError as error:
            # Why it broke may stand in what the other side wrote last: the reader goes on.
            self._reason = f"connection to {self._to}: {describe_failure(error)}"
        except trio.ClosedResourceError:
            pass
        except OSError as error:
            self._reason = f"cannot read the snapshot: {error}"
            self._scope.cancel()

    async def _write_some(self, connection: trio.abc.Stream) -> None:
        """Write what waits: small requests together, a snapshot by itself."""
        data = bytearray()
        while self._waiting and len(data) < _WRITE_BYTES:
            call = self._waiting.popleft()
            call.sent_at = trio.current_time()
            self._sent.append(call)
            self._reader.asked(call.request)
            data += encode_request(call.request, self._protocol)
            if call.contents is not None:
                self._renew_deadline()
                await connection.send_all(data)
                async with aclosing(call.contents()) as pieces:
                    async for piece in pieces:
                        await connection.send_all(piece)
                return
        self._renew_deadline()
        await connection.send_all(data)

    def _renew_deadline(self) -> None:
        if self._sent:
            oldest = self._sent[0]
            at = oldest.sent_at + oldest.time_limit(self._limits.io_timeout)
        elif self._waiting:
            at = math.inf  # the writer comes to them at once
        else:
            at = trio.current_time() + self._limits.idle_timeout
        self._scope.deadline = at

    def _end(self) -> None:
        self.is_over = True
        reason = self._reason or "closed"
        sent, self._sent = self._sent, deque()
        waiting, self._waiting = self._waiting, deque()
        for call in sent:
            self._report(call, Failed(Failure.LOST, reason, self._hung_up))
        for call in waiting:
            self._report(call, Failed(Failure.UNREACHABLE, reason))


class _Lane(Enum):
    ENTRIES = auto()
    HEARTBEATS = auto()


class Lines:
    """All outgoing connections.

    Args:
        nursery: Where connections run.
        open_to: Opens them.
        protocol: The version of Raft's protocol that we speak, 2 or 3.
        limits: See `RaftLimits`.
        report: Told the end of every call, once.
    """

    def __init__(
        self,
        nursery: trio.Nursery,
        open_to: Open,
        protocol: int,
        limits: RaftLimits,
        report: Report,
    ) -> None:
        self._nursery = nursery
        self._open = open_to
        self._protocol = protocol
        self._limits = limits
        self._report = report
        self._lanes: dict[tuple[ServerAddress, _Lane], Line] = {}
        self._idle: dict[ServerAddress, list[Line]] = {}
        self._lines = 0

    @property
    def count(self) -> int:
        """Connections that are open or being opened."""
        return self._lines

    def ask(self, call: Call) -> None:
        """Send a request over the connection that is for its kind."""
        request = call.request
        if isinstance(request, AppendEntries):
            kind = _Lane.HEARTBEATS if request.entries is None else _Lane.ENTRIES
            key = (call.to, kind)
            line = self._lanes.get(key)
            if line is None or line.is_over:
                line = self._lanes[key] = self._start(call.to, self._report)
        else:
            line = self._idle_line(call)
        line.ask(call)

    def _idle_line(self, call: Call) -> Line:
        kept = self._idle.get(call.to, [])
        while kept and not call.needs_fresh:
            line = kept.pop()
            if not line.is_over:
                return line
        return self._start_alone(call.to)

    def _start_alone(self, to: ServerAddress) -> Line:
        def report(call: Call, outcome: Reply | Failed) -> None:
            if not isinstance(outcome, Failed):
                self._keep(to, line)
            elif outcome.hung_up and isinstance(call.request, PreVote):
                call.hang_ups += line.is_fresh
                if call.hang_ups < HANG_UPS_MAX:
                    call.needs_fresh = True
                    self.ask(call)
                    return
                outcome = Failed(Failure.UNSUPPORTED, outcome.reason, hung_up=True)
            self._report(call, outcome)

        line = self._start(to, report)
        return line

    def _keep(self, to: ServerAddress, line: Line) -> None:
        kept = [other for other in self._idle.get(to, []) if not other.is_over]
        if len(kept) < self._limits.idle_connections:
            kept.append(line)
        else:
            line.close()
        self._idle[to] = kept

    def _start(self, to: ServerAddress, report: Report) -> Line:
        line = Line(to, self._open, self._protocol, self._limits, report)
        self._nursery.start_soon(self._run, to, line)
        self._lines += 1
        return line

    async def _run(self, to: ServerAddress, line: Line) -> None:
        try:
            await line.run()
        finally:
            self._lines -= 1
            for key, other in list(self._lanes.items()):
                if other is line:
                    del self._lanes[key]
            kept = [other for other in self._idle.get(to, []) if other is not line]
            if kept:
                self._idle[to] = kept
            else:
                self._idle.pop(to, None)
