"""Raft between servers on port 4647: what the task that owns a node speaks to.

It asks with `send` and hears of the end of every request through the inbox; it hears of requests
of others through the inbox and answers with `answer`. A request that makes no sense ends its
connection and is logged; one of another version of the protocol is refused here. Whether the sender
may ask at all is for the node to judge.

Source: nomad-agent.md §16; HashiCorp raft net_transport.go.
"""

from __future__ import annotations

import itertools
from collections import deque
from typing import Any, Final, Protocol

import trio

from swimnomad.errors import MalformedMessage
from swimnomad.names import PORT_MAX, Address
from swimnomad.raft.inputs import (
    Failure,
    ReplyReceived,
    RequestFailed,
    RequestReceived,
    SnapshotNotReceived,
    SnapshotReceived,
    Ticket,
)
from swimnomad.raft.messages import InstallSnapshot, Reply, Request
from swimnomad.raft.servers import ServerAddress
from swimnomad.rpc.dialling import Dial, DialFailed, Dialler
from swimnomad.rpc.raft_codec import Asked, encode_reply, protocol_refusal
from swimnomad.rpc.raft_lines import RAFT, Call, Contents, Failed, Lines, RaftLimits
from swimnomad.rpc.raft_reader import RequestReader, SnapshotPiece
from swimnomad.rpc.service import RpcLog, no_log
from swimnomad.tls.contexts import TlsClient

DIAL_TIMEOUT: Final = 10.0


class RaftInbox(Protocol):
    """The queue to the task that owns the node."""

    async def put(self, incoming: Any, size: int = 0) -> None:  # noqa: ANN401
        """Add an input of `size` bytes once there is room."""
        ...

    def post(self, incoming: Any) -> None:  # noqa: ANN401
        """Add an input even if there is none."""
        ...


class SnapshotSink(Protocol):
    """Where the contents of a snapshot go that a leader sends."""

    async def write(self, data: bytes) -> None:
        """Keep the next bytes.

        Raises:
            OSError: They cannot be kept.
        """
        ...


class RaftTransport:
    """Both ends of Raft's connections; sends only while `run` runs.

    Args:
        inbox: Where inputs for the node go.
        protocol: The version of Raft's protocol that we speak, 2 or 3.
        region: Ours; with TLS a server's certificate may have to name it.
        tls: How to speak TLS; None for plain connections.
        source_host: Address to call from, if the system's choice will not do.
        limits: See `RaftLimits`.
        log: Where log lines go.
        dial: Connects instead of TCP, in tests.
    """

    def __init__(
        self,
        inbox: RaftInbox,
        *,
        protocol: int = 2,
        region: str = "global",
        tls: TlsClient | None = None,
        source_host: str | None = None,
        limits: RaftLimits | None = None,
        log: RpcLog = no_log,
        dial: Dial | None = None,
    ) -> None:
        self.inbox = inbox
        self.protocol = protocol
        self.limits = RaftLimits() if limits is None else limits
        self.log = log
        self.unanswered_bytes = 0
        self._region = region
        self._dialler = Dialler(tls, source_host, DIAL_TIMEOUT, dial)
        self._lines: Lines | None = None
        self._tickets = itertools.count(1)
        self._open: dict[Ticket, _Slot] = {}

    @property
    def connection_count(self) -> int:
        """Outgoing connections that are open or being opened."""
        return 0 if self._lines is None else self._lines.count

    @property
    def ticket_count(self) -> int:
        """Requests of others that wait for an answer."""
        return len(self._open)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Hold the outgoing connections; ends by cancellation, and they with it."""
        assert self._lines is None, "a transport runs once"
        async with trio.open_nursery() as nursery:
            self._lines = Lines(
                nursery, self._open_connection, self.protocol, self.limits, self._report
            )
            task_status.started()
            await trio.sleep_forever()

    def send(
        self, to: ServerAddress, request: Request, number: int, contents: Contents | None = None
    ) -> None:
        """Ask a server; `ReplyReceived` or `RequestFailed` with this number comes to the inbox.

        Args:
            to: `ip:port`.
            request: What to ask.
            number: Names the request.
            contents: Of the snapshot, with `InstallSnapshot`: exactly as many bytes as it says.
        """
        call = Call(to, request, number, contents)
        if self._lines is None:
            self._report(call, Failed(Failure.UNREACHABLE, "this server does not run Raft"))
        else:
            self._lines.ask(call)

    def answer(self, ticket: Ticket, reply: Reply) -> None:
        """Answer a request; nobody may be there any more to hear it."""
        slot = self._open.pop(ticket, None)
        if slot is not None:
            slot.answer(encode_reply(reply, self.protocol))

    def receive(self, ticket: Ticket, sink: SnapshotSink) -> None:
        """Take the contents that follow an `InstallSnapshot`.

        `SnapshotReceived` or `SnapshotNotReceived` comes to the inbox.
        """
        slot = self._open.get(ticket)
        if slot is None:
            self.inbox.post(SnapshotNotReceived(ticket, "the connection is closed"))
        else:
            slot.sink = sink
            slot.decided.set()

    async def serve(self, connection: trio.abc.Stream, remote: Address) -> None:
        """Serve a connection that began with 0x02, to its end: a `RaftHandler`."""
        visit = _Visit(self, connection, remote)
        try:
            await visit.run()
        finally:
            visit.end()

    def admit(self, slot: _Slot) -> Ticket:
        """A ticket for a request that waits for its answer."""
        ticket = Ticket(next(self._tickets))
        self._open[ticket] = slot
        return ticket

    def forget(self, ticket: Ticket) -> None:
        """Nobody waits for this answer any more."""
        self._open.pop(ticket, None)

    async def _open_connection(self, to: ServerAddress) -> trio.abc.Stream:
        return await self._dialler.open(address_of(to), self._region, RAFT)

    def _report(self, call: Call, outcome: Reply | Failed) -> None:
        if isinstance(outcome, Failed):
            self.inbox.post(RequestFailed(call.number, outcome.failure, outcome.reason))
        else:
            self.inbox.post(ReplyReceived(call.number, outcome))


def address_of(server: ServerAddress) -> Address:
    """A server's address taken apart.

    Raises:
        DialFailed: It is not `ip:port`.
    """
    host, _, port = server.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not (port.isascii() and port.isdigit() and 0 < int(port) <= PORT_MAX):
        raise DialFailed(f"dial tcp: address {server}: no IP address with a port")
    return Address(host, int(port))


class _Slot:
    """One request of a connection: its place in the order of answers.

    Attributes:
        ticket: None if it was answered without asking the node.
        size: Bytes of the request.
        reply: The answer, once there is one.
        decided: For a snapshot: whether its contents are wanted is known.
        sink: Where they go then.
    """

    __slots__ = ("_visit", "decided", "reply", "sink", "size", "ticket")

    def __init__(self, visit: _Visit, size: int) -> None:
        self._visit = visit
        self.size = size
        self.ticket: Ticket | None = None
        self.reply: bytes | None = None
        self.decided = trio.Event()
        self.sink: SnapshotSink | None = None

    def answer(self, reply: bytes) -> None:
        self.reply = reply
        self.decided.set()
        self._visit.wake()


class _Visit:
    """One incoming connection."""

    def __init__(
        self, transport: RaftTransport, connection: trio.abc.Stream, remote: Address
    ) -> None:
        self._transport = transport
        self._connection = connection
        self._remote = remote
        self._limits = transport.limits
        self._reader = RequestReader(self._limits.wire)
        self._slots: deque[_Slot] = deque()
        self._answered = trio.Event()
        self._room = trio.Event()
        self._held = 0  # bytes that count as unanswered

    async def run(self) -> None:
        """Read requests and write answers until either side ends."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._write, nursery.cancel_scope)
            try:
                await self._read()
            except MalformedMessage as error:
                self._log("failed to decode incoming command", error)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                pass
            nursery.cancel_scope.cancel()

    def end(self) -> None:
        """Forget what waits for answers."""
        for slot in self._slots:
            if slot.ticket is not None:
                self._transport.forget(slot.ticket)
        self._slots.clear()
        self._hold(-self._held)

    def wake(self) -> None:
        """An answer is there."""
        self._answered.set()

    def _log(self, text: str, error: object) -> None:
        self._transport.log("error", text, error=error, remote_addr=self._remote)

    def _hold(self, size: int) -> None:
        self._held += size
        self._transport.unanswered_bytes += size

    # --- requests ---------------------------------------------------------------------------------

    async def _read(self) -> None:
        while (message := await self._next()) is not None:
            assert isinstance(message, Asked)
            await self._take(message)

    async def _next(self) -> Asked | SnapshotPiece | None:
        """The next message; None at the end."""
        reader = self._reader
        while True:
            message = reader.next()
            if message is not None:
                return message
            if reader.is_between_requests:
                data = await self._connection.receive_some()
            else:
                data = b""
                with trio.move_on_after(self._limits.stall_timeout):
                    data = await self._connection.receive_some()
            if not data:
                return None
            reader.receive(bytes(data))
            self._hold(len(data))
            if self._transport.unanswered_bytes > self._limits.unanswered_bytes_max:
                raise MalformedMessage("too many bytes of requests are not answered")

    async def _take(self, asked: Asked) -> None:
        """Pass a request on, and what follows it."""
        while len(self._slots) >= self._limits.in_flight_max:
            self._room = trio.Event()
            await self._room.wait()
        size = self._held - self._reader.buffered_bytes - sum(slot.size for slot in self._slots)
        slot = _Slot(self, size)
        self._slots.append(slot)
        transport = self._transport
        refusal = protocol_refusal(asked.protocol, transport.protocol)
        if refusal is not None:
            slot.answer(encode_reply(refusal, transport.protocol))
        else:
            slot.ticket = transport.admit(slot)
            incoming = RequestReceived(slot.ticket, asked.request, str(self._remote))
            await transport.inbox.put(incoming, size)
        if isinstance(asked.request, InstallSnapshot):
            await slot.decided.wait()
            await self._take_contents(slot, asked.request.snapshot.size)

    async def _take_contents(self, slot: _Slot, size: int) -> None:
        """Read the contents of a snapshot, and keep them if somebody wants them."""
        sink, ticket = slot.sink, slot.ticket
        missing: str | None = f"the connection ended before all {size} bytes were there"
        try:
            while True:
                piece = await self._next()
                if not isinstance(piece, SnapshotPiece):
                    raise trio.BrokenResourceError("EOF")
                self._hold(-len(piece.data))
                if sink is not None:
                    try:
                        await sink.write(piece.data)
                    except OSError as error:  # the rest is read all the same, to get behind it
                        missing, sink = f"cannot keep the snapshot: {error}", None
                if piece.is_last:
                    if sink is not None:
                        missing = None
                    return
        finally:
            if slot.sink is not None and ticket is not None:
                inbox = self._transport.inbox
                if missing is None:
                    inbox.post(SnapshotReceived(ticket))
                else:
                    inbox.post(SnapshotNotReceived(ticket, missing))

    # --- answers ----------------------------------------------------------------------------------

    async def _write(self, scope: trio.CancelScope) -> None:
        """Write answers in the order of requests."""
        try:
            while True:
                await self._answered.wait()
                self._answered = trio.Event()
                data = bytearray()
                while self._slots and self._slots[0].reply is not None:
                    slot = self._slots.popleft()
                    assert slot.reply is not None
                    data += slot.reply
                    self._hold(-slot.size)
                self._room.set()
                if not data:
                    continue
                with trio.move_on_after(self._limits.stall_timeout) as sending:
                    await self._connection.send_all(data)
                if sending.cancelled_caught:
                    raise trio.BrokenResourceError("the peer takes no answers")
        except trio.BrokenResourceError as error:
            self._transport.log("debug", "failed to flush response", error=error)
        except trio.ClosedResourceError:
            pass
        scope.cancel()
