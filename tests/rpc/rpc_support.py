"""Both ends of RPC connections, in memory and on loopback."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple

import trio
from trio.testing import memory_stream_pair

from swimnomad.names import Address
from swimnomad.rpc.calls import EMPTY, ClientCalls
from swimnomad.rpc.failures import BadArguments, RpcFailed, unknown_method
from swimnomad.rpc.limits import RpcLimits
from swimnomad.rpc.listener import Door, serve_rpc
from swimnomad.rpc.mux import MuxSession
from swimnomad.rpc.service import Peer, StreamingHandler, StreamWriter
from swimnomad.rpc.serving import Server
from swimnomad.rpc.yamux import Role
from swimnomad.rpc.yamux_frames import ACK, DATA, FIN, PING, RST, SYN, WINDOW_UPDATE, pack_header

PATIENCE = 20.0
"""Real seconds after which something that should happen has not."""
LOCAL = Address("127.0.0.1", 4647)
REMOTE = Address("127.0.0.9", 50_000)


class Line(NamedTuple):
    """A log line."""

    level: str
    message: str
    pairs: dict[str, object]


class RecordingLog:
    """Keeps log lines."""

    def __init__(self) -> None:
        self.lines: list[Line] = []

    def __call__(self, level: str, message: str, **pairs: object) -> None:
        self.lines.append(Line(level, message, pairs))

    @property
    def messages(self) -> list[str]:
        return [line.message for line in self.lines]


class FakeService:
    """A few methods, and a record of what became of calls."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, bytes, Peer]] = []
        self.cancelled: list[str] = []
        self.waiting = 0
        self.gate = trio.Event()
        self.streaming_peers: list[Peer] = []
        self.changed = trio.Event()

    async def answer(self, method: str, arguments: bytes, peer: Peer) -> bytes:
        self.calls.append((method, arguments, peer))
        match method:
            case "Status.Ping":
                return EMPTY
            case "Status.Echo":
                return arguments
            case "Status.Leader":
                return b"\xaf127.0.61.2:4647"
            case "Status.Fail":
                raise RpcFailed("No cluster leader")
            case "Status.Odd":
                raise RpcFailed("half of it was done")
            case "Status.Coded":
                raise RpcFailed("RPC Error:: 404,No path to node")
            case "Status.Bad":
                raise BadArguments("wrong")
            case "Status.Crash":
                raise ValueError("a mistake of ours")
            case "Status.Wait":
                await self._wait(method)
                return EMPTY
            case _:
                raise unknown_method(method, {"Status", "Agent"})

    async def _wait(self, what: str) -> None:
        self.waiting += 1
        self._change()
        try:
            await self.gate.wait()
        except trio.Cancelled:
            self.cancelled.append(what)
            raise
        finally:
            self.waiting -= 1
            self._change()

    def _change(self) -> None:
        self.changed.set()
        self.changed = trio.Event()

    async def until_waiting(self, count: int) -> None:
        """Return once so many calls wait at the gate."""
        while self.waiting != count:
            await self.changed.wait()

    def streaming(self, method: str) -> StreamingHandler | None:
        return {
            "Agent.Monitor": self._three,
            "Agent.Flood": self._flood,
            "Agent.Refuse": self._refuse,
            "Agent.Crash": self._crash,
            "Agent.Wait": self._stream_waiting,
        }.get(method)

    async def _three(self, request: bytes, writer: StreamWriter, peer: Peer) -> None:
        self.streaming_peers.append(peer)
        await writer.send(b"{}")
        await writer.send(None)
        await writer.send(request)

    async def _flood(self, request: bytes, writer: StreamWriter, peer: Peer) -> None:
        self.waiting += 1
        try:
            while True:
                await writer.send(b"x" * 50_000)
        except trio.Cancelled:
            self.cancelled.append("flood")
            raise
        except trio.BrokenResourceError:
            self.cancelled.append("flood stalled")
            raise
        finally:
            self.waiting -= 1
            self._change()

    async def _refuse(self, request: bytes, writer: StreamWriter, peer: Peer) -> None:
        raise RpcFailed("Unknown log level", code=400)

    async def _crash(self, request: bytes, writer: StreamWriter, peer: Peer) -> None:
        raise ValueError("a mistake of ours")

    async def _stream_waiting(self, request: bytes, writer: StreamWriter, peer: Peer) -> None:
        await self._wait("stream")


class ChoppingStream(trio.abc.Stream):
    """Passes bytes on in pieces of random sizes."""

    def __init__(self, inner: trio.abc.Stream, rng: random.Random, most: int = 40) -> None:
        self._inner = inner
        self._rng = rng
        self._most = most
        self.sends = 0

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        return await self._inner.receive_some(self._rng.randint(1, self._most))

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        self.sends += 1
        await self._inner.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._inner.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        await self._inner.aclose()


class Sessions(NamedTuple):
    """Both sides of one session."""

    dialler: MuxSession
    acceptor: MuxSession


@asynccontextmanager
async def session_pair(
    limits: RpcLimits | None = None,
    pair: tuple[trio.abc.Stream, trio.abc.Stream] | None = None,
) -> AsyncIterator[Sessions]:
    """A session in memory; at the end both sides must end by themselves."""
    one, two = memory_stream_pair() if pair is None else pair
    sessions = Sessions(
        MuxSession(one, Role.DIALLER, limits), MuxSession(two, Role.ACCEPTOR, limits)
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(sessions.dialler.run)
        await nursery.start(sessions.acceptor.run)
        yield sessions
        sessions.dialler.end()
        sessions.acceptor.end()


class Visitor:
    """A client of a door, in memory: speaks raw bytes."""

    def __init__(self, stream: trio.abc.Stream, door: Door) -> None:
        self.stream = stream
        self.door = door

    async def send(self, *parts: bytes) -> None:
        await self.stream.send_all(b"".join(parts))

    async def take(self, size: int) -> bytes:
        """Exactly so many bytes."""
        data = b""
        while len(data) < size:
            piece = await self.stream.receive_some(size - len(data))
            assert piece, f"the end after {data!r}"
            data += piece
        return data

    async def rest(self) -> bytes:
        """All bytes until the other side closes."""
        data = b""
        try:
            while piece := await self.stream.receive_some():
                data += piece
        except trio.BrokenResourceError:
            pass
        return data


class Entrance:
    """A door with a nursery: connections in memory come and go."""

    def __init__(self, door: Door, nursery: trio.Nursery) -> None:
        self.door = door
        self._nursery = nursery

    def visit(
        self,
        remote: Address = REMOTE,
        pair: tuple[trio.abc.Stream, trio.abc.Stream] | None = None,
    ) -> Visitor:
        """One more connection."""
        theirs, ours = memory_stream_pair() if pair is None else pair
        assert self.door.admits(remote)
        self.door.enter(remote)
        self._nursery.start_soon(self.door.serve, ours, remote, LOCAL)
        return Visitor(theirs, self.door)


@asynccontextmanager
async def entrance(door: Door) -> AsyncIterator[Entrance]:
    """A door in memory."""
    async with trio.open_nursery() as nursery:
        yield Entrance(door, nursery)
        nursery.cancel_scope.cancel()


def a_door(
    service: FakeService, log: RecordingLog | None = None, limits: RpcLimits | None = None
) -> Door:
    """A door without TLS or Raft."""
    return Door(Server(service, limits, RecordingLog() if log is None else log))


@asynccontextmanager
async def listening(
    service: FakeService, limits: RpcLimits | None = None, log: RecordingLog | None = None
) -> AsyncIterator[Address]:
    """A listener on loopback."""
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            log = RecordingLog() if log is None else log

            async def start(task_status: trio.TaskStatus[Address]) -> None:
                await serve_rpc(
                    Address("127.0.0.1", 0), service, limits, log=log, task_status=task_status
                )

            yield await nursery.start(start)
            nursery.cancel_scope.cancel()


def a_request(method: str, sequence: int = 1, arguments: bytes = EMPTY) -> bytes:
    """The bytes of a request."""
    return ClientCalls().request(sequence, method, arguments)


def an_answer(method: str, sequence: int = 1, body: bytes = EMPTY, error: str = "") -> bytes:
    """The bytes of a response."""
    data = error.encode()
    text = bytes((0xA0 + len(data),)) if len(data) < 32 else b"\xda" + len(data).to_bytes(2, "big")
    name = method.encode()
    return b"".join(
        (
            b"\x83\xa5Error",
            text + data,
            b"\xa3Seq",
            bytes((sequence,)),
            b"\xadServiceMethod",
            bytes((0xA0 + len(name),)) + name,
            body,
        )
    )


def syn(stream: int = 1) -> bytes:
    """Opens a stream."""
    return pack_header(0, WINDOW_UPDATE, SYN, stream, 0)


def ack(stream: int = 1) -> bytes:
    """Accepts a stream."""
    return pack_header(0, WINDOW_UPDATE, ACK, stream, 0)


def fin(stream: int = 1) -> bytes:
    """Ends one direction of a stream."""
    return pack_header(0, WINDOW_UPDATE, FIN, stream, 0)


def rst(stream: int = 1) -> bytes:
    """Cuts a stream off."""
    return pack_header(0, WINDOW_UPDATE, RST, stream, 0)


def ping(value: int, flags: int = SYN) -> bytes:
    """A keep-alive or its answer."""
    return pack_header(0, PING, flags, 0, value)


def data(payload: bytes, stream: int = 1, flags: int = 0) -> bytes:
    """Payload on a stream."""
    return pack_header(0, DATA, flags, stream, len(payload)) + payload
