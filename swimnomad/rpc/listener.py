"""Accepts RPC connections and hands each to what its first byte asks for.

    0x01 calls  0x02 Raft  0x03, 0x06 multiplexed  0x04 TLS, then one of the others  0x05 streaming

A connection is closed without a word if its client holds too many, if it does not say in time what
it is, or says something that is not allowed; the log tells which. Log lines are Nomad's.

Source: rpc.md §1, §2, §3.
"""

from __future__ import annotations

import errno
import math
import os
import socket
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Final

import trio

from swimnomad.errors import UsageError
from swimnomad.names import Address
from swimnomad.rpc.limits import RpcLimits
from swimnomad.rpc.plain import PlainLine, close_gently
from swimnomad.rpc.secure import secure
from swimnomad.rpc.service import Level, Peer, RpcLog, RpcService, no_log
from swimnomad.rpc.serving import CALLS, MULTIPLEX, MULTIPLEX_V2, RAFT, STREAMING, TLS, Server
from swimnomad.tls.contexts import TlsServer
from swimnomad.tls.failures import CertificateRefused, describe_failure
from swimnomad.tls.names import names_of

BACKLOG: Final = 512
ACCEPT_PAUSE_MIN: Final = 0.005
ACCEPT_PAUSE_MAX: Final = 5.0
ACCEPT_PAUSE_MAX_TEMPORARY: Final = 1.0
_TEMPORARY: Final = {
    errno.EINTR,
    errno.EMFILE,
    errno.ENFILE,
    errno.ECONNRESET,
    errno.ECONNABORTED,
    errno.ETIMEDOUT,
}
_ACCEPTS_PER_WAKE: Final = 16

RaftHandler = Callable[[trio.abc.Stream, Address], Awaitable[None]]
"""Takes over a connection whose first byte was 0x02; it is closed when the handler returns."""


async def serve_rpc(
    listen: socket.socket | Address,
    service: RpcService,
    limits: RpcLimits | None = None,
    tls: TlsServer | None = None,
    *,
    raft: RaftHandler | None = None,
    log: RpcLog = no_log,
    task_status: trio.TaskStatus[Address] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve RPC until cancelled; then every connection is closed.

    Args:
        listen: A listening socket, which is closed at the end, or where to listen; port 0 lets the
            system choose.
        service: What answers calls.
        limits: See `RpcLimits`.
        tls: What connections need to know to become TLS ones; None for no TLS.
        raft: Takes Raft connections; without it they are closed.
        log: Where log lines go.
        task_status: Where the address is reported to.

    Raises:
        UsageError: The address cannot be listened on.
    """
    listener = listen if isinstance(listen, socket.socket) else open_listener(listen)
    with listener:
        listener.setblocking(False)
        local = _address_of(listener.getsockname())
        door = Door(Server(service, limits, log), tls, raft)
        async with trio.open_nursery() as nursery:
            task_status.started(local)
            await accept_forever(listener, door, nursery)


def open_listener(wanted: Address) -> socket.socket:
    """A listening socket.

    Raises:
        UsageError: The address cannot be listened on: in use, not ours, or not permitted.
    """
    family = socket.AF_INET6 if ":" in wanted.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((wanted.host, wanted.port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        why = os.strerror(error.errno).lower() if error.errno else str(error)
        raise UsageError(f"cannot listen for RPC on {wanted}: {why}") from None
    return listener


async def accept_forever(listener: socket.socket, door: Door, nursery: trio.Nursery) -> None:
    """Accept connections; ends only by cancellation.

    After an error the listener pauses, doubling from 5 ms to 1 s, or to 5 s for errors that do not
    look as if they would pass.
    """
    pause = 0.0
    while True:
        await trio.lowlevel.wait_readable(listener)
        for _ in range(_ACCEPTS_PER_WAKE):
            try:
                sock, name = listener.accept()
            except (BlockingIOError, ConnectionAbortedError):
                break
            except OSError as error:
                is_temporary = error.errno in _TEMPORARY
                most = ACCEPT_PAUSE_MAX_TEMPORARY if is_temporary else ACCEPT_PAUSE_MAX
                pause = min(max(2 * pause, ACCEPT_PAUSE_MIN), most)
                door.log("error", "failed to accept RPC conn", error=error, delay=f"{pause:g}s")
                await trio.sleep(pause)
                break
            pause = 0.0
            remote = _address_of(name)
            if not door.admits(remote):
                sock.close()
                continue
            door.enter(remote)
            nursery.start_soon(_serve_socket, sock, remote, door)


async def _serve_socket(sock: socket.socket, remote: Address, door: Door) -> None:
    with sock:
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            connection = trio.SocketStream(trio.socket.from_stdlib_socket(sock))
            local = _address_of(sock.getsockname())
        except OSError:  # gone before we looked
            door.leave(remote)
            return
        await door.serve(connection, remote, local)


def _address_of(name: tuple[str, int] | tuple[str, int, int, int]) -> Address:
    host = name[0]
    if host.startswith("::ffff:") and "." in host:
        host = host[7:]
    return Address(host, name[1])


class Door:
    """Every open connection passes here: counted, asked what it is, handed on."""

    def __init__(
        self, server: Server, tls: TlsServer | None = None, raft: RaftHandler | None = None
    ) -> None:
        self._server = server
        self._limits = server.limits
        self._tls = tls
        self._raft = raft
        self.log = server.log
        self._open: Counter[str] = Counter()
        self._streaming: Counter[str] = Counter()
        self._open_count = 0
        self._handshakes = 0

    @property
    def open_count(self) -> int:
        """Connections served."""
        return self._open_count

    @property
    def handshakes(self) -> int:
        """Of these, the ones that have not said what they are."""
        return self._handshakes

    def admits(self, remote: Address) -> bool:
        """Whether one more connection of a client may come in; a refusal is logged."""
        limits = self._limits
        limit = limits.connections_per_client
        if limit and self._open[remote.host] >= limit:
            text = "rejecting client for exceeding maximum RPC connections"
            self.log("error", text, remote_addr=remote, limit=limit)
            return False
        if self._open_count >= limits.connections_max:
            text = "rejecting client: too many RPC connections"
            self.log("error", text, remote_addr=remote, limit=limits.connections_max)
            return False
        if self._handshakes >= limits.handshakes_max:
            text = "rejecting client: too many RPC handshakes in flight"
            self.log("error", text, remote_addr=remote, limit=limits.handshakes_max)
            return False
        return True

    def enter(self, remote: Address) -> None:
        """Count a connection in; `serve` counts it out again, or `leave`."""
        self._open[remote.host] += 1
        self._open_count += 1
        self._handshakes += 1

    def leave(self, remote: Address, *, has_spoken: bool = False) -> None:
        """Count a connection out."""
        self._open_count -= 1
        self._handshakes -= not has_spoken
        _count_down(self._open, remote.host)

    async def serve(self, connection: trio.abc.Stream, remote: Address, local: Address) -> None:
        """Serve a connection that has been counted in, to its end, and close it."""
        visit = _Visit(self, connection, remote, local)
        try:
            await visit.run()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        finally:
            self.leave(remote, has_spoken=visit.has_spoken)
            await trio.aclose_forcefully(visit.connection)


class _Visit:
    """One connection on its way through the door."""

    def __init__(
        self, door: Door, connection: trio.abc.Stream, remote: Address, local: Address
    ) -> None:
        self._door = door
        self._remote = remote
        self._local = local
        self._certificate_names: tuple[str, ...] = ()
        self.connection = connection
        self.has_spoken = False

    async def run(self) -> None:
        door = self._door
        limit = door._limits.handshake_timeout or math.inf
        first = await self._first_byte(limit)
        tls = door._tls if door._tls is not None and door._tls.context is not None else None
        if first == TLS:
            if tls is None:
                self._log("warn", "TLS connection attempted, server not configured for TLS")
                return
            if not await self._upgrade(tls, limit):
                return
            self._speak()
            first = await self._first_byte(math.inf)
            if first == TLS:
                text = "TLS connection attempting to establish inner TLS connection"
                self._log("error", text)
                return
        elif first is not None and tls is not None and tls.required:
            self._log("warn", "non-TLS connection attempted with RequireTLS set")
            return
        self._speak()
        if first is not None:
            await self._dispatch(first)

    def _log(self, level: Level, text: str, **pairs: object) -> None:
        self._door.log(level, text, remote_addr=self._remote, **pairs)

    def _speak(self) -> None:
        if not self.has_spoken:
            self.has_spoken = True
            self._door._handshakes -= 1

    async def _first_byte(self, limit: float) -> int | None:
        """The next byte; None if it does not come."""
        reason = "i/o timeout"
        with trio.move_on_after(limit):
            try:
                data = await self.connection.receive_some(1)
                return data[0] if data else None
            except trio.BrokenResourceError as error:
                reason = describe_failure(error)
        text = f"read tcp {self._local}->{self._remote}: {reason}"
        self._door.log("error", "failed to read first RPC byte", error=text)
        return None

    async def _upgrade(self, tls: TlsServer, limit: float) -> bool:
        """Put TLS on the connection; whether that worked."""
        assert tls.context is not None
        reason = "i/o timeout"
        with trio.move_on_after(limit):
            try:
                secured = await secure(self.connection, tls.context, is_server=True)
                tls.check_peer(secured)
                self._certificate_names = tuple(names_of(secured.getpeercert()))
                self.connection = secured
                return True
            except (trio.BrokenResourceError, CertificateRefused) as error:
                reason = describe_failure(error)
        self._log("warn", "failed TLS handshake", error=reason)
        return False

    async def _dispatch(self, first: int) -> None:
        door, server = self._door, self._door._server
        peer = Peer(self._remote, certificate_names=self._certificate_names)
        if first == CALLS:
            await self._serve_line(server.serve_calls, peer)
        elif first in (MULTIPLEX, MULTIPLEX_V2):
            await server.serve_session(self.connection, first, peer)
        elif first == STREAMING:
            await self._serve_streaming(peer)
        elif first == RAFT and door._raft is not None:
            await door._raft(self.connection, self._remote)
        elif first == RAFT:
            self._log("warn", "Raft connection attempted, server does not run Raft")
        else:
            door.log("error", "unrecognized RPC byte", byte=first, remote_addr=self._remote)

    async def _serve_streaming(self, peer: Peer) -> None:
        streaming, host = self._door._streaming, self._remote.host
        limit = self._door._limits.streaming_per_client
        if limit and streaming[host] >= limit:
            text = "rejecting client for exceeding maximum streaming RPC connections"
            self._log("error", text, stream_limit=limit)
            return
        streaming[host] += 1
        try:
            await self._serve_line(self._door._server.serve_streaming, peer)
        finally:
            _count_down(streaming, host)

    async def _serve_line(
        self, serve: Callable[[PlainLine, Peer], Awaitable[None]], peer: Peer
    ) -> None:
        line = PlainLine(self.connection)
        is_whole = False
        async with trio.open_nursery() as nursery:
            nursery.start_soon(line.read_ahead)
            try:
                await serve(line, peer)
                is_whole = True
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                pass
            nursery.cancel_scope.cancel()
        if is_whole:
            await close_gently(self.connection)


def _count_down(counter: Counter[str], key: str) -> None:
    counter[key] -= 1
    if not counter[key]:
        del counter[key]
