"""What a door does with connections in memory; time is virtual."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import trio
from trio.testing import MockClock, lockstep_stream_pair, wait_all_tasks_blocked

from swimnomad.names import Address
from swimnomad.rpc.caller import SessionCaller
from swimnomad.rpc.failures import RpcFailed
from swimnomad.rpc.limits import RpcLimits
from swimnomad.rpc.listener import Door
from swimnomad.rpc.mux import MuxSession
from swimnomad.rpc.service import Peer
from swimnomad.rpc.serving import Server
from swimnomad.rpc.streaming import ClientHandshake, StreamFailure, StreamPayload, WrapperReader
from swimnomad.rpc.yamux import Role
from swimnomad.rpc.yamux_frames import SYN
from tests.rpc.rpc_support import (
    REMOTE,
    FakeService,
    RecordingLog,
    Visitor,
    a_door,
    a_request,
    ack,
    an_answer,
    data,
    entrance,
    fin,
    rst,
    session_pair,
    syn,
)


@pytest.fixture
def service() -> FakeService:
    return FakeService()


@pytest.fixture
def log() -> RecordingLog:
    return RecordingLog()


@pytest.fixture
def door(service: FakeService, log: RecordingLog) -> Iterator[Door]:
    door = a_door(service, log)
    yield door
    assert door.open_count == 0
    assert door.handshakes == 0
    assert door._server.unfinished_bytes == 0


# --- the first byte -------------------------------------------------------------------------------


@pytest.mark.parametrize("first", [0x00, 0x07, 0x47, 0xFF])
async def test_an_unknown_first_byte_closes(first: int, door: Door, log: RecordingLog) -> None:
    async with entrance(door) as gate:
        visitor = gate.visit()
        await visitor.send(bytes((first, 0x80)))
        assert await visitor.rest() == b""
    assert log.lines[0][:2] == ("error", "unrecognized RPC byte")
    assert log.lines[0].pairs["byte"] == first


async def test_a_silent_connection_is_closed_after_the_handshake_timeout(
    door: Door, log: RecordingLog, autojump_clock: MockClock
) -> None:
    async with entrance(door) as gate:
        begin = trio.current_time()
        visitor = gate.visit()
        assert door.handshakes == 1
        assert await visitor.rest() == b""
        assert trio.current_time() - begin == pytest.approx(5)
    assert log.messages == ["failed to read first RPC byte"]
    assert str(log.lines[0].pairs["error"]).endswith("i/o timeout")


async def test_a_timeout_of_0_means_none(service: FakeService, autojump_clock: MockClock) -> None:
    async with entrance(a_door(service, limits=RpcLimits(handshake_timeout=0))) as gate:
        visitor = gate.visit()
        await trio.sleep(80_000)
        await visitor.send(b"\x01" + a_request("Status.Ping"))
        assert await visitor.take(40)


async def test_a_connection_that_closes_at_once_is_not_worth_a_line(
    door: Door, log: RecordingLog
) -> None:
    async with entrance(door) as gate:
        visitor = gate.visit()
        await visitor.stream.aclose()
        await wait_all_tasks_blocked()
        assert door.open_count == 0
    assert log.lines == []


async def test_tls_without_tls_closes(door: Door, log: RecordingLog) -> None:
    async with entrance(door) as gate:
        visitor = gate.visit()
        await visitor.send(b"\x04\x16\x03\x01")
        assert await visitor.rest() == b""
    assert log.messages == ["TLS connection attempted, server not configured for TLS"]
    assert log.lines[0].level == "warn"


async def test_raft_connections_go_to_their_handler(service: FakeService) -> None:
    seen: list[tuple[bytes | bytearray, Address]] = []

    async def raft(stream: trio.abc.Stream, remote: Address) -> None:
        seen.append((await stream.receive_some(), remote))
        await stream.send_all(b"vote")

    async with entrance(Door(Server(service), raft=raft)) as gate:
        visitor = gate.visit()
        await visitor.send(b"\x02term")
        assert await visitor.rest() == b"vote"
    assert seen == [(b"term", REMOTE)]


async def test_raft_connections_without_a_handler_are_closed(door: Door, log: RecordingLog) -> None:
    async with entrance(door) as gate:
        visitor = gate.visit()
        await visitor.send(b"\x02term")
        assert await visitor.rest() == b""
    assert log.lines[0].level == "warn"


# --- calls on a plain connection ------------------------------------------------------------------


async def test_pipelined_requests_are_answered_in_order(door: Door) -> None:
    async with entrance(door) as gate:
        visitor = gate.visit()
        requests = [a_request("Status.Echo", number, bytes((number,))) for number in range(9)]
        await visitor.send(b"\x01", *requests)
        for number in range(9):
            answer = an_answer("Status.Echo", number, bytes((number,)))
            assert await visitor.take(len(answer)) == answer


async def test_a_request_may_come_byte_by_byte(door: Door) -> None:
    async with entrance(door) as gate:
        visitor = gate.visit()
        for byte in b"\x01" + a_request("Status.Ping"):
            await visitor.send(bytes((byte,)))
            await wait_all_tasks_blocked()
        answer = an_answer("Status.Ping")
        assert await visitor.take(len(answer)) == answer


@pytest.mark.parametrize(
    ("method", "error"),
    [
        ("Status.Nope", "rpc: can't find method Status.Nope"),
        ("Nope.Nope", "rpc: can't find service Nope.Nope"),
        ("garbage", "rpc: service/method request ill-formed: garbage"),
        ("Status.Bad", "msgpack decode error [pos 32]: wrong"),
    ],
)
async def test_these_errors_are_answered_and_the_connection_closed(
    method: str, error: str, door: Door, log: RecordingLog
) -> None:
    async with entrance(door) as gate:
        visitor = gate.visit()
        await visitor.send(b"\x01", a_request(method), a_request("Status.Ping", 2))
        assert await visitor.rest() == an_answer(method, error=error)
    assert log.messages == ["RPC error"]


@pytest.mark.parametrize(
    ("method", "error"),
    [
        ("Status.Fail", "No cluster leader"),
        ("Status.Coded", "RPC Error:: 404,No path to node"),
        ("Status.Crash", "internal error"),
    ],
)
async def test_errors_of_methods_leave_the_connection_usable(
    method: str, error: str, door: Door
) -> None:
    async with entrance(door) as gate:
        visitor = gate.visit()
        await visitor.send(b"\x01", a_request(method))
        answer = an_answer(method, error=error)
        assert await visitor.take(len(answer)) == answer
        await visitor.send(a_request("Status.Ping", 2))
        answer = an_answer("Status.Ping", 2)
        assert await visitor.take(len(answer)) == answer


async def test_garbage_closes_silently(door: Door, log: RecordingLog) -> None:
    async with entrance(door) as gate:
        visitor = gate.visit()
        await visitor.send(b"\x01", a_request("Status.Ping"), b"\xc1\xc1")
        assert await visitor.rest() == an_answer("Status.Ping")
    assert log.messages == ["RPC error"]


async def test_the_server_closes_when_the_client_closes(door: Door) -> None:
    async with entrance(door) as gate:
        visitor = gate.visit()
        await visitor.send(b"\x01", a_request("Status.Ping"))
        assert isinstance(visitor.stream, trio.StapledStream)
        await visitor.stream.send_eof()
        assert await visitor.rest() == an_answer("Status.Ping")


async def test_a_request_that_stops_halfway_is_cut_off(
    door: Door, autojump_clock: MockClock
) -> None:
    async with entrance(door) as gate:
        visitor = gate.visit()
        begin = trio.current_time()
        await visitor.send(b"\x01", a_request("Status.Ping")[:-1])
        assert await visitor.rest() == b""
        assert trio.current_time() - begin == pytest.approx(60)


async def test_silence_between_requests_is_fine(door: Door, autojump_clock: MockClock) -> None:
    async with entrance(door) as gate:
        visitor = gate.visit()
        answer = an_answer("Status.Ping")
        await visitor.send(b"\x01", a_request("Status.Ping"))
        for _ in range(3):
            assert await visitor.take(len(answer)) == answer
            await trio.sleep(80_000)
            await visitor.send(a_request("Status.Ping"))


async def test_an_answer_nobody_takes_ends_the_connection(
    door: Door, autojump_clock: MockClock
) -> None:
    async with entrance(door) as gate:
        visitor = gate.visit(pair=lockstep_stream_pair())
        await visitor.send(b"\x01", a_request("Status.Ping"))
        begin = trio.current_time()
        while door.open_count:  # noqa: ASYNC110 - virtual time
            await trio.sleep(1)
        assert 59 <= trio.current_time() - begin <= 62


async def test_a_caller_that_ends_its_side_gets_its_answer_if_it_is_soon(
    service: FakeService, door: Door, autojump_clock: MockClock
) -> None:
    async with entrance(door) as gate:
        visitor = gate.visit()
        await visitor.send(b"\x01", a_request("Status.Wait"))
        assert isinstance(visitor.stream, trio.StapledStream)
        await visitor.stream.send_eof()
        await trio.sleep(4)
        service.gate.set()
        assert await visitor.rest() == an_answer("Status.Wait")
    assert service.cancelled == []


async def test_a_call_whose_caller_has_left_is_cancelled(
    service: FakeService, door: Door, autojump_clock: MockClock
) -> None:
    async with entrance(door) as gate:
        visitor = gate.visit()
        await visitor.send(b"\x01", a_request("Status.Wait"))
        await service.until_waiting(1)
        begin = trio.current_time()
        await visitor.stream.aclose()
        await service.until_waiting(0)
        assert trio.current_time() - begin <= 5
    assert service.cancelled == ["Status.Wait"]


async def test_unfinished_requests_are_bounded_over_all_connections(
    service: FakeService, log: RecordingLog
) -> None:
    limits = RpcLimits(unfinished_bytes_max=100_000)
    door = a_door(service, log, limits)
    async with entrance(door) as gate:
        visitors = [gate.visit() for _ in range(5)]
        for visitor in visitors:
            half = a_request("Status.Echo", 1, b"\xdb\x00\x01\x00\x00")
            await visitor.send(b"\x01", half, bytes(24_000))
            await wait_all_tasks_blocked()
        assert log.messages == ["RPC error"]
        await visitors[0].send(bytes(65_536 - 24_000))
        assert await visitors[0].take(65_536)
        assert door._server.unfinished_bytes < 80_000
        assert await visitors[4].rest() == b""


async def test_a_message_past_the_limit_closes(service: FakeService) -> None:
    door = a_door(service, limits=RpcLimits(message_bytes_max=1000))
    async with entrance(door) as gate:
        visitor = gate.visit()
        await visitor.send(
            b"\x01", a_request("Status.Echo", 1, b"\xdb\x7f\xff\xff\xff"), bytes(999)
        )
        assert await visitor.rest() == b""
    assert service.calls == []


# --- streaming on a plain connection --------------------------------------------------------------


async def shake_hands(visitor: Visitor, method: str, request: bytes = b"\x80") -> None:
    await visitor.send(b"\x05", ClientHandshake().header(method))
    assert await visitor.take(8) == b"\x81\xa5Error\xa0"
    await visitor.send(request)


async def test_a_streaming_call(door: Door, service: FakeService) -> None:
    async with entrance(door) as gate:
        visitor = gate.visit()
        await shake_hands(visitor, "Agent.Monitor", b"\x81\xa1x\x01")
        wrappers = WrapperReader().receive(await visitor.rest())
        payloads = [b"{}", None, b"\x81\xa1x\x01"]
        assert wrappers == [StreamPayload(payload) for payload in payloads]
    assert service.streaming_peers == [Peer(REMOTE)]


async def test_an_unknown_streaming_method_is_refused(door: Door, log: RecordingLog) -> None:
    async with entrance(door) as gate:
        visitor = gate.visit()
        await visitor.send(b"\x05", ClientHandshake().header("Nope.Nope"))
        assert await visitor.rest() == b'\x81\xa5Error\xbfUnknown rpc method: "Nope.Nope"'
    assert log.messages == ["streaming RPC error"]


@pytest.mark.parametrize(
    ("method", "failure"),
    [
        ("Agent.Refuse", StreamFailure(400, "Unknown log level")),
        ("Agent.Crash", StreamFailure(500, "internal error")),
    ],
)
async def test_a_streaming_method_that_fails(
    method: str, failure: StreamFailure, door: Door
) -> None:
    async with entrance(door) as gate:
        visitor = gate.visit()
        await shake_hands(visitor, method)
        assert WrapperReader().receive(await visitor.rest()) == [failure]


async def test_a_streaming_call_ends_when_the_caller_closes(
    door: Door, service: FakeService
) -> None:
    async with entrance(door) as gate:
        visitor = gate.visit()
        await shake_hands(visitor, "Agent.Wait")
        await service.until_waiting(1)
        assert isinstance(visitor.stream, trio.StapledStream)
        await visitor.stream.send_eof()
        assert await visitor.rest() == b""
    assert service.cancelled == ["stream"]


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"\x81",
        ClientHandshake().header("Agent.Wait"),
        ClientHandshake().header("Agent.Wait") + b"\x81",
    ],
)
async def test_a_streaming_handshake_that_stops_is_cut_off(
    sent: bytes, door: Door, service: FakeService, autojump_clock: MockClock
) -> None:
    async with entrance(door) as gate:
        visitor = gate.visit()
        await visitor.send(b"\x05", sent)
        begin = trio.current_time()
        await visitor.rest()
        assert trio.current_time() - begin == pytest.approx(60)
    assert service.waiting == 0


async def test_a_stream_nobody_reads_is_cut_off(
    door: Door, service: FakeService, autojump_clock: MockClock
) -> None:
    async with entrance(door) as gate:
        visitor = gate.visit(pair=lockstep_stream_pair())
        await visitor.send(b"\x05", ClientHandshake().header("Agent.Flood"))
        await visitor.take(8)
        await visitor.send(b"\x80")
        await service.until_waiting(0 if service.waiting else 1)
        while door.open_count:  # noqa: ASYNC110 - virtual time
            await trio.sleep(10)
    assert service.cancelled == ["flood stalled"]


# --- sessions -------------------------------------------------------------------------------------


async def test_a_call_on_a_stream_of_each_kind_of_session(door: Door, service: FakeService) -> None:
    async with entrance(door) as gate:
        for kind, prefix in ((b"\x03", b""), (b"\x06", b"\x01")):
            visitor = gate.visit()
            await visitor.send(kind, syn(), data(prefix + a_request("Status.Ping")))
            answer = ack() + data(an_answer("Status.Ping"))
            assert await visitor.take(len(answer)) == answer
            await visitor.send(fin())
            assert await visitor.take(12) == fin()
    assert all(call[2].is_multiplexed for call in service.calls)


async def test_a_slow_call_does_not_hold_up_other_streams(door: Door, service: FakeService) -> None:
    async with entrance(door) as gate:
        visitor = gate.visit()
        slow, quick = a_request("Status.Wait"), a_request("Status.Ping", 2)
        await visitor.send(b"\x06", data(b"\x01" + slow, 1, SYN), data(b"\x01" + quick, 3, SYN))
        answer = data(an_answer("Status.Ping", 2), 3)
        while answer not in (received := await visitor.take(24 + len(answer))):
            await visitor.send(b"")
        assert ack(1) in received
        service.gate.set()
        answer = data(an_answer("Status.Wait"))
        assert await visitor.take(len(answer)) == answer


@pytest.mark.parametrize(
    ("sent", "line"),
    [
        (data(b"\x09", 1, SYN), "multiplex_v2 unrecognized first RPC byte"),
        (data(b"\x02", 1, SYN), "multiplex_v2 unrecognized first RPC byte"),
        (syn() + fin(), None),
        (syn() + rst(), None),
        (b"\x01" + bytes(11), "multiplex_v2 conn accept failed"),
        (syn() + syn(), "multiplex_v2 conn accept failed"),
    ],
)
async def test_what_ends_a_session(
    sent: bytes, line: str | None, door: Door, log: RecordingLog, service: FakeService
) -> None:
    async with entrance(door) as gate:
        visitor = gate.visit()
        # A call under way ends with the session.
        await visitor.send(b"\x06", data(b"\x01" + a_request("Status.Wait"), 7, SYN))
        await service.until_waiting(1)
        await visitor.send(sent)
        received = await visitor.rest()
        assert received.startswith(ack(7))
        await wait_all_tasks_blocked()
        assert door.open_count == 0
    assert log.messages == ([] if line is None else [line])
    assert service.cancelled == ["Status.Wait"]


async def test_a_stream_without_its_type_byte_holds_up_later_ones_only(
    door: Door, service: FakeService
) -> None:
    async with entrance(door) as gate:
        visitor = gate.visit()
        request = data(b"\x01" + a_request("Status.Ping"), 1, SYN)
        answer = ack(1) + data(an_answer("Status.Ping"), 1)
        await visitor.send(b"\x06", request)
        assert await visitor.take(len(answer)) == answer
        await visitor.send(syn(3), data(b"\x01" + a_request("Status.Ping"), 5, SYN))
        assert await visitor.take(12) == ack(3)
        await visitor.send(data(a_request("Status.Ping", 2)))
        answer = data(an_answer("Status.Ping", 2))
        assert await visitor.take(len(answer)) == answer
        await wait_all_tasks_blocked()
        assert len(service.calls) == 2
        await visitor.send(data(b"\x01", 3))
        answer = ack(5) + data(an_answer("Status.Ping"), 5)
        assert await visitor.take(len(answer)) == answer


async def test_a_reset_cancels_the_call_and_nothing_else(
    door: Door, service: FakeService, autojump_clock: MockClock
) -> None:
    async with entrance(door) as gate:
        visitor = gate.visit()
        wait = b"\x01" + a_request("Status.Wait")
        await visitor.send(b"\x06", data(wait, 1, SYN), data(wait, 3, SYN), data(wait, 5, SYN))
        await service.until_waiting(3)
        begin = trio.current_time()
        await visitor.send(rst(3))
        await service.until_waiting(2)
        assert trio.current_time() == begin
        await visitor.send(fin(5))
        await service.until_waiting(1)
        assert trio.current_time() - begin == pytest.approx(5)
        service.gate.set()
        received = await visitor.take(48 + len(data(an_answer("Status.Wait"))))
        assert received == ack(1) + ack(3) + ack(5) + fin(5) + data(an_answer("Status.Wait"))


async def test_errors_on_one_stream_leave_the_others(door: Door) -> None:
    async with entrance(door) as gate:
        visitor = gate.visit()
        await visitor.send(b"\x06", data(b"\x01\xc1", 1, SYN))
        assert await visitor.take(24) == ack(1) + fin(1)
        await visitor.send(data(b"\x05\xc1", 3, SYN))
        assert await visitor.take(24) == ack(3) + fin(3)
        await visitor.send(data(b"\x01" + a_request("Status.Ping"), 5, SYN))
        answer = ack(5) + data(an_answer("Status.Ping"), 5)
        assert await visitor.take(len(answer)) == answer


async def test_a_stream_nobody_reads_is_reset_and_the_session_goes_on(
    service: FakeService, autojump_clock: MockClock
) -> None:
    door = a_door(service)
    async with entrance(door) as gate, trio.open_nursery() as nursery:
        visitor = gate.visit()
        await visitor.send(b"\x06")
        session = MuxSession(visitor.stream, Role.DIALLER)
        nursery.start_soon(session.run)
        flood = await session.open()
        await flood.send_all(b"\x05" + ClientHandshake().header("Agent.Flood") + b"\x80")
        caller = SessionCaller(session, iter(range(1, 100)))
        for _ in range(10):
            assert await caller.call(await caller.line(), "Status.Echo", b"\x01") == b"\x01"
            await trio.sleep(10)
        assert service.cancelled == ["flood stalled"]
        with pytest.raises(trio.BrokenResourceError):
            await flood.receive_some()
        session.end()


# --- calling back ---------------------------------------------------------------------------------


async def test_a_server_calls_back_on_the_session() -> None:
    ours, theirs = FakeService(), FakeService()
    async with session_pair() as (dialler, acceptor), trio.open_nursery() as nursery:
        server = Server(theirs)
        nursery.start_soon(server.serve_called_back, dialler, Peer(REMOTE, dialler))
        caller = SessionCaller(acceptor, iter(range(1, 100)), idle_streams=0)
        assert await caller.call(await caller.line(), "Status.Echo", b"\x05") == b"\x05"
        with pytest.raises(RpcFailed, match="No cluster leader"):
            await caller.call(await caller.line(), "Status.Fail", b"\x80")
        async with caller.stream("Agent.Monitor", b"\x80") as stream:
            assert [payload async for payload in stream] == [b"{}", None, b"\x80"]
        wrong = await acceptor.open()
        await wrong.send_all(b"\x09")
        assert await wrong.receive_some() == b""
        assert await caller.call(await caller.line(), "Status.Echo", b"\x06") == b"\x06"
        dialler.end()
    assert ours.calls == []
    assert theirs.calls[0][2].session is dialler
