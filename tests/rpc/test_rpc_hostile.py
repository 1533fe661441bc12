"""Peers that break every rule, on real sockets: they end, others go on, nothing is left behind."""

from __future__ import annotations

import gc
import random
import socket
import struct
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import psutil
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from swimnomad.names import Address
from swimnomad.rpc.caller import SessionCaller
from swimnomad.rpc.limits import RpcLimits
from swimnomad.rpc.listener import Door, accept_forever, open_listener, serve_rpc
from swimnomad.rpc.mux import MuxSession, MuxStream
from swimnomad.rpc.plain import PlainLine
from swimnomad.rpc.pool import Pool
from swimnomad.rpc.serving import Server
from swimnomad.rpc.yamux import Role
from swimnomad.rpc.yamux_frames import ACK, GO_AWAY, SYN, pack_header
from tests.rpc.rpc_support import (
    PATIENCE,
    FakeService,
    RecordingLog,
    a_request,
    data,
    fin,
    listening,
    ping,
    rst,
    syn,
)

pytestmark = pytest.mark.live

CONNECTIONS = 10_000
WORKERS = 60
SOURCES = 40
"""Addresses the hostile clients call from; each holds a few connections at a time."""

_CALL = b"\x01" + a_request("Status.Wait")
ATTACKS: tuple[bytes, ...] = (
    b"",  # says nothing
    b"\x07",  # wrong first byte
    b"\x02vote",  # Raft without Raft
    b"\x04\x16\x03\x01\x00\x05",  # TLS without TLS
    b"GET / HTTP/1.1\r\n\r\n",
    b"\x01",  # says nothing more
    b"\x01\x82\xa3Seq",  # half a header
    b"\x01" + a_request("Status.Ping")[:-1],
    b"\x01\xc1\xc1\xc1",  # no MessagePack
    b"\x01\xa1x\x80",  # a text for a header
    b"\x01\xdf\xff\xff\xff\xff",  # a map of four billion entries
    b"\x01" + a_request("Status.Echo", 1, b"\xdb\xff\xff\xff\xff"),  # four gigabytes to come
    b"\x01" + b"\x91" * 5000,  # deep
    b"\x01" + a_request("Nope.Nope"),
    b"\x01" + a_request("Status.Bad"),
    b"\x01" + a_request("Status.Ping") * 50,  # answers that nobody reads
    _CALL,  # leaves in the middle of a call
    b"\x05",
    b"\x05\x81\xa6Method\xadAgent.Monitor",  # no request behind
    b"\x05\x81\xa6Method\xabAgent.Flood\x80",  # a stream that nobody reads
    b"\x05\x81\xa6Method\xa9Nope.Nope",
    b"\x05\xc1",
    b"\x03" + data(a_request("Nope.Nope"), 1, SYN),
    b"\x06",
    b"\x06\x00\x01\x00",  # half a frame
    b"\x06\x09" + bytes(11),  # wrong version
    b"\x06\x00\x09" + bytes(10),  # wrong type
    b"\x06" + syn() + syn(),
    b"\x06" + syn() + fin(),
    b"\x06" + syn() + rst(),
    b"\x06" + syn(),  # a stream without its byte
    b"\x06" + data(b"\x09", 1, SYN),
    b"\x06" + syn() + pack_header(0, 0, 0, 1, 262_145),  # more than the window
    b"\x06" + syn() + pack_header(0, 0, 0, 1, 0xFFFF_FFFF),
    b"\x06" + syn() + pack_header(0, 1, 0, 1, 0xFFFF_FFFF) * 2,  # credit past 32 bits
    b"\x06" + data(_CALL, 1, SYN) + data(b"\x01\xc1", 3, SYN),
    b"\x06" + b"".join(data(_CALL, number, SYN) for number in range(1, 40, 2)),
    b"\x06" + b"".join(syn(number) for number in range(1, 521, 2)),  # past the backlog
    b"\x06" + data(_CALL, 1, SYN) + rst() + data(_CALL, 1, SYN) + rst(),
    b"\x06" + ping(1) * 300,
    b"\x06" + data(b"\x05\x81\xa6Method\xabAgent.Flood\x80", 1, SYN),
    b"\x06" + pack_header(0, GO_AWAY, 0, 0, 1),
    b"\x06" + pack_header(0, 2, ACK, 0, 99),  # an answer to no ping
    b"\x06" + data(b"nobody's", 99),
)


def task_count() -> int:
    """Tasks that trio runs."""
    root = trio.lowlevel.current_root_task()
    assert root is not None
    waiting, count = [root], 0
    while waiting:
        count += 1
        for nursery in waiting.pop().child_nurseries:
            waiting.extend(nursery.child_tasks)
    return count


def held() -> Counter[str]:
    """What might be left behind."""
    gc.collect()
    found: Counter[str] = Counter()
    for thing in gc.get_objects():
        match thing:
            case MuxSession() | PlainLine():
                found[type(thing).__name__] += 1
            case MuxStream():  # a loop's variable may keep the last one it saw
                found["streams"] += not thing._closed
                found["chunks"] += len(thing._chunks)
            case socket.socket():
                found["sockets"] += thing.fileno() >= 0
            case _:
                pass
    found["tasks"] = task_count()
    found["files"] = psutil.Process().num_fds()
    return found


async def attack(to: Address, source: str, rng: random.Random) -> None:
    """One hostile connection, cut anywhere, left in one of several ways."""
    with trio.socket.socket() as sock:
        sock.setsockopt(socket.IPPROTO_IP, 24, 1)  # IP_BIND_ADDRESS_NO_PORT
        await sock.bind((source, 0))
        await sock.connect(tuple(to))
        message = rng.choice(ATTACKS)
        try:
            if message and rng.random() < 0.2:
                cut = rng.randint(1, len(message))
                await sock.send(message[:cut])
                message = message[cut:]
            if message:
                await sock.send(message)
            how = rng.randint(0, 3)
            if how == 0:  # with a reset
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            elif how == 1:
                sock.shutdown(socket.SHUT_WR)
                await sock.recv(1000)
        except OSError:
            pass  # The server was quicker.


@asynccontextmanager
async def open_door(door: Door) -> AsyncIterator[Address]:
    """The door on loopback."""
    with open_listener(Address("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        address = Address(*listener.getsockname()[:2])
        async with trio.open_nursery() as nursery:
            nursery.start_soon(accept_forever, listener, door, nursery)
            yield address
            nursery.cancel_scope.cancel()


async def test_ten_thousand_hostile_connections_leave_nothing_behind() -> None:
    service = FakeService()
    door = Door(Server(service, RpcLimits(departure_grace=0.2)))
    rng = random.Random(4647)
    left, good_calls = CONNECTIONS, 0

    async with open_door(door) as address, trio.open_nursery() as nursery:
        pool = Pool(RpcLimits(idle_streams=1))
        await nursery.start(pool.run)

        async def call() -> None:
            nonlocal good_calls
            assert await pool.call(address, "global", "Status.Ping", b"\x80", timeout=PATIENCE)
            good_calls += 1

        async def work(number: int) -> None:
            nonlocal left
            while left > 0:
                left -= 1
                source = f"127.46.47.{1 + rng.randrange(SOURCES)}"
                await attack(address, source, rng)
                if left % 50 == 0:
                    await call()

        with trio.fail_after(6 * PATIENCE):
            await call()
            before = held()
            assert before["MuxSession"] == 2
            async with trio.open_nursery() as hostile:
                for number in range(WORKERS):
                    hostile.start_soon(work, number)
            while door.open_count > 1:
                await wait_all_tasks_blocked(0.02)
            await call()
            service.calls.clear()  # which know their sessions
            # Only the good client is still there, on its first connection.
            after = held()
            assert after == before, {key: (before[key], after[key]) for key in after}
        assert pool.session_count == 1
        assert good_calls >= CONNECTIONS // 50
        assert door.handshakes == 0
        assert door._server.unfinished_bytes == 0
        assert service.waiting == 0
        nursery.cancel_scope.cancel()


async def test_one_connection_more_than_allowed_is_closed_without_a_byte() -> None:
    log = RecordingLog()
    limits = RpcLimits(connections_per_client=3)
    async with listening(FakeService(), limits, log) as address:
        streams = [await trio.open_tcp_stream(*address) for _ in range(3)]
        for stream in streams:
            await stream.send_all(b"\x01" + a_request("Status.Ping"))
            assert await stream.receive_some()
        refused = await trio.open_tcp_stream(*address)
        assert await refused.receive_some() == b""
        (line,) = log.lines
        assert line.message == "rejecting client for exceeding maximum RPC connections"
        assert line.pairs["limit"] == 3
        # Another address has places of its own, and a place is free again after a close.
        async with await trio.open_tcp_stream(*address, local_address="127.0.0.5") as other:
            await other.send_all(b"\x01" + a_request("Status.Ping"))
            assert await other.receive_some()
        await streams[0].aclose()
        await wait_all_tasks_blocked(0.05)
        async with await trio.open_tcp_stream(*address) as again:
            await again.send_all(b"\x01" + a_request("Status.Ping"))
            assert await again.receive_some()
        for stream in [*streams, refused]:
            await stream.aclose()


async def test_streaming_connections_leave_places_for_others() -> None:
    log = RecordingLog()
    limits = RpcLimits(connections_per_client=22)
    async with listening(FakeService(), limits, log) as address:
        streams = [await trio.open_tcp_stream(*address) for _ in range(3)]
        hello = b"\x05\x81\xa6Method\xadAgent.Monitor"
        for stream in streams[:2]:
            await stream.send_all(hello)
            assert await stream.receive_some()
        await streams[2].send_all(hello)
        with trio.fail_after(PATIENCE):
            with suppress(trio.BrokenResourceError):
                assert await streams[2].receive_some() == b""
        text = "rejecting client for exceeding maximum streaming RPC connections"
        assert log.messages == [text]
        assert log.lines[0].pairs["stream_limit"] == 2
        for stream in streams:
            await stream.aclose()


@pytest.mark.parametrize(
    ("limits", "text"),
    [
        (RpcLimits(handshakes_max=2), "rejecting client: too many RPC handshakes in flight"),
        (RpcLimits(connections_max=2), "rejecting client: too many RPC connections"),
    ],
)
async def test_limits_over_all_clients(limits: RpcLimits, text: str) -> None:
    log = RecordingLog()
    async with listening(FakeService(), limits, log) as address:
        streams = [
            await trio.open_tcp_stream(*address, local_address=f"127.0.0.{number}")
            for number in (5, 6, 7)
        ]
        assert await streams[2].receive_some() == b""
        assert log.messages == [text]
        for stream in streams:
            await stream.aclose()


async def test_a_silent_client_is_closed() -> None:
    async with listening(FakeService(), RpcLimits(handshake_timeout=0.05)) as address:
        stream = await trio.open_tcp_stream(*address)
        assert await stream.receive_some() == b""
        await stream.aclose()


async def test_a_peer_that_never_reads_does_not_hold_up_others() -> None:
    service = FakeService()
    async with listening(service) as address, trio.open_nursery() as nursery:
        # One stream with answers that nobody reads, many megabytes of them, on each connection.
        greedy = []
        text = b"\xdb\x00\x03\x00\x00" + bytes(196_608)
        for _ in range(5):
            stream = await trio.open_tcp_stream(*address)
            greedy.append(stream)

            async def push(stream: trio.SocketStream = stream) -> None:
                await stream.send_all(b"\x01")
                while True:
                    await stream.send_all(a_request("Status.Echo", 1, text))

            nursery.start_soon(push)
        pool = Pool()
        await nursery.start(pool.run)
        await wait_all_tasks_blocked(0.05)
        for _ in range(50):
            await pool.call(address, "global", "Status.Ping", b"\x80", timeout=PATIENCE)
        nursery.cancel_scope.cancel()
        for stream in greedy:
            stream.socket.close()


async def test_one_bad_stream_leaves_the_rest_of_its_session() -> None:
    service = FakeService()
    async with listening(service) as address, trio.open_nursery() as nursery:
        connection = await trio.open_tcp_stream(*address)
        await connection.send_all(b"\x06")
        session = MuxSession(connection, Role.DIALLER)
        nursery.start_soon(session.run)
        caller = SessionCaller(session, iter(range(1, 10_000)))
        stuck = await session.open()
        await stuck.send_all(b"\x01" + a_request("Status.Wait") + a_request("Status.Echo"))
        flooded = await session.open()
        await flooded.send_all(b"\x05\x81\xa6Method\xabAgent.Flood\x80")
        for junk in (b"\x01\xc1", b"\x05\xc1", b"\x01\xdf\xff\xff\xff\xff" + b"\xc1" * 9):
            bad = await session.open()
            await bad.send_all(junk)
            assert await bad.receive_some() == b""
            for _ in range(5):
                assert await caller.call(await caller.line(), "Status.Ping", b"\x80") == b"\x80"
        nursery.cancel_scope.cancel()


async def test_a_listener_closes_everything_when_it_ends() -> None:
    service = FakeService()
    async with trio.open_nursery() as nursery:
        address = await nursery.start(serve_rpc, Address("127.0.0.1", 0), service)
        streams = []
        for hello in (b"", b"\x01", _CALL, b"\x06", b"\x06" + data(_CALL, 1, SYN)):
            stream = await trio.open_tcp_stream(*address)
            streams.append(stream)
            await stream.send_all(hello)
        await service.until_waiting(2)
        before = psutil.Process().num_fds()
        nursery.cancel_scope.cancel()
    assert psutil.Process().num_fds() <= before - len(streams) - 1
    assert service.waiting == 0
    for stream in streams:
        await stream.aclose()


async def test_accept_pauses_when_files_run_out(autojump_clock: trio.testing.MockClock) -> None:
    log = RecordingLog()
    door = Door(Server(FakeService(), log=log))

    class Exhausted(socket.socket):
        def accept(self) -> tuple[socket.socket, Address]:
            raise OSError(24 if len(log.lines) < 10 else 105, "too many open files")

    with Exhausted() as listener, socket.socket() as client:
        listener.setblocking(False)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        client.connect(listener.getsockname())
        async with trio.open_nursery() as nursery:
            nursery.start_soon(accept_forever, listener, door, nursery)
            await trio.sleep(60)
            nursery.cancel_scope.cancel()
    delays = [line.pairs["delay"] for line in log.lines]
    assert delays[:4] == ["0.005s", "0.01s", "0.02s", "0.04s"]
    assert delays[8:13] == ["1s", "1s", "2s", "4s", "5s"]
