"""Outgoing calls: shared sessions, kept streams, what failures say. Servers are in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import MockClock, memory_stream_pair, wait_all_tasks_blocked

from swimnomad.names import Address
from swimnomad.rpc.caller import was_refused
from swimnomad.rpc.dialling import reaches
from swimnomad.rpc.failures import RpcFailed
from swimnomad.rpc.limits import RpcLimits
from swimnomad.rpc.pool import Pool
from swimnomad.rpc.yamux_frames import ACK, GO_AWAY, SYN, pack_header
from tests.rpc.rpc_support import (
    LOCAL,
    REMOTE,
    FakeService,
    RecordingLog,
    a_door,
    a_request,
    ack,
    an_answer,
    data,
    fin,
    listening,
    rst,
    syn,
)

TO = Address("127.0.0.2", 4647)


class World:
    """A pool, and what it finds when it dials."""

    def __init__(self, service: FakeService) -> None:
        self.service = service
        self.log = RecordingLog()
        self.door = a_door(service, self.log)
        self.dialled: list[Address] = []
        self.connections: list[trio.abc.Stream] = []
        self.answers: Callable[[Address], trio.abc.Stream] | None = None
        self.gate = trio.Event()
        self.gate.set()
        self.nursery: trio.Nursery
        self.pool: Pool

    async def dial(self, to: Address) -> trio.abc.Stream:
        self.dialled.append(to)
        await self.gate.wait()
        if self.answers is not None:
            return self.answers(to)
        ours, theirs = memory_stream_pair()
        self.connections.append(ours)
        self.door.enter(REMOTE)
        self.nursery.start_soon(self.door.serve, theirs, REMOTE, LOCAL)
        return ours

    async def call(self, method: str, timeout: float | None = None) -> bytes:
        return await self.pool.call(TO, "global", method, b"\x80", timeout=timeout)

    async def failure(self, method: str, timeout: float | None = None) -> RpcFailed:
        with pytest.raises(RpcFailed) as caught:
            await self.call(method, timeout)
        return caught.value

    def by_hand(self) -> trio.abc.Stream:
        """The next dial leads to a server that the test plays itself."""
        ours, theirs = memory_stream_pair()
        self.answers = lambda _: ours
        return theirs


@asynccontextmanager
async def world(
    limits: RpcLimits | None = None, back: FakeService | None = None
) -> AsyncIterator[World]:
    one = World(FakeService())
    one.pool = Pool(limits, service=back, dial=one.dial)
    async with trio.open_nursery() as one.nursery:
        await one.nursery.start(one.pool.run)
        yield one
        one.nursery.cancel_scope.cancel()
    assert one.door.open_count == 0
    assert one.pool.session_count == 0


async def test_calls_share_one_session_and_reuse_streams() -> None:
    async with world() as one:
        for _ in range(5):
            assert await one.call("Status.Ping") == b"\x80"
        async with trio.open_nursery() as nursery:
            for _ in range(40):
                nursery.start_soon(one.call, "Status.Ping")
        assert one.dialled == [TO]
        numbers = {call[2].session for call in one.service.calls}
        assert len(numbers) == 1


async def test_other_servers_get_sessions_of_their_own() -> None:
    async with world() as one:
        await one.call("Status.Ping")
        await one.pool.call(Address("127.0.0.3", 4647), "global", "Status.Ping", b"\x80")
        assert one.pool.session_count == 2


async def test_what_goes_over_the_wire() -> None:
    async with world() as one:
        server = one.by_hand()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(one.call, "Status.Ping")
            sent = b""
            wanted = b"\x06" + syn() + data(b"\x01" + a_request("Status.Ping", 1))
            while len(sent) < len(wanted):
                sent += await server.receive_some()
            assert sent == wanted
            await server.send_all(ack() + data(an_answer("Status.Ping", 1)))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(one.call, "Status.Ping")
            assert await server.receive_some() == data(a_request("Status.Ping", 2))
            await server.send_all(data(an_answer("Status.Ping", 2)))


@pytest.mark.parametrize(
    ("method", "text", "happened", "code"),
    [
        ("Status.Fail", "rpc error: No cluster leader", False, None),
        ("Status.Odd", "rpc error: half of it was done", True, None),
        ("Status.Coded", "RPC Error:: 404,No path to node", False, 404),
        ("Status.Nope", "rpc error: rpc: can't find method Status.Nope", False, None),
        ("Status.Bad", "rpc error: msgpack decode error [pos 32]: wrong", False, None),
        ("Status.Crash", "rpc error: internal error", True, None),
    ],
)
async def test_errors_of_the_server(
    method: str, text: str, happened: bool, code: int | None
) -> None:
    async with world() as one:
        failure = await one.failure(method)
        assert (failure.text, failure.may_have_happened, failure.code) == (text, happened, code)
        # The server may have closed that stream; the next call must not notice.
        assert await one.call("Status.Ping") == b"\x80"
        assert len(one.dialled) == 1


@pytest.mark.parametrize(
    ("text", "refused"),
    [
        ("rpc error: rpc error: No cluster leader", True),
        ("rpc error: EOF", False),
        ("rpc error: failed to get conn: dial tcp 1.2.3.4:1: connect: refused", True),
        ("RPC Error:: 500,rpc error: EOF", False),
        ("RPC Error:: 403,Permission denied", True),
        ("failed to reset heartbeat since server is not leader", False),
    ],
)
def test_which_errors_mean_that_nothing_was_done(text: str, refused: bool) -> None:
    assert was_refused(text) is refused


async def test_a_refused_connection() -> None:
    pool = Pool()
    async with trio.open_nursery() as nursery:
        await nursery.start(pool.run)
        with pytest.raises(RpcFailed) as caught:
            await pool.call(Address("127.0.0.9", 1), "global", "Status.Ping", b"\x80")
        text = "rpc error: failed to get conn: dial tcp 127.0.0.9:1: connect: connection refused"
        assert caught.value.text == text
        assert not caught.value.may_have_happened
        nursery.cancel_scope.cancel()


async def test_a_dial_that_takes_too_long(autojump_clock: MockClock) -> None:
    async with world() as one:
        one.gate = trio.Event()
        begin = trio.current_time()
        failure = await one.failure("Status.Ping")
        assert trio.current_time() - begin == pytest.approx(10)
        assert failure.text == "rpc error: failed to get conn: dial tcp 127.0.0.2:4647: i/o timeout"
        assert not failure.may_have_happened


async def test_callers_share_one_dial_and_its_failure(autojump_clock: MockClock) -> None:
    async with world() as one:
        one.gate = trio.Event()
        texts: list[str] = []

        async def call() -> None:
            texts.append((await one.failure("Status.Ping")).text)

        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(call)
        lead = "rpc error: failed to get conn: dial tcp 127.0.0.2:4647: i/o timeout"
        rest = "rpc error: failed to get conn: rpc error: lead thread didn't get connection"
        assert sorted(texts) == sorted([lead, rest, rest])
        assert len(one.dialled) == 1


async def test_a_caller_that_gives_up_leaves_the_dial_to_the_others(
    autojump_clock: MockClock,
) -> None:
    async with world() as one:
        one.gate = trio.Event()
        async with trio.open_nursery() as nursery:
            failure = await one.failure("Status.Ping", 1)
            assert "i/o deadline reached" in failure.text
            assert not failure.may_have_happened
            nursery.start_soon(one.call, "Status.Ping")
            await wait_all_tasks_blocked()
            one.gate.set()
        assert len(one.dialled) == 1


async def test_a_call_past_its_time_closes_its_stream_and_is_cancelled_there(
    autojump_clock: MockClock,
) -> None:
    async with world() as one:
        failure = await one.failure("Status.Wait", 3)
        assert failure.text == ("rpc error: i/o deadline reached: no answer from 127.0.0.2:4647")
        assert failure.may_have_happened
        await one.service.until_waiting(0)
        assert one.service.cancelled == ["Status.Wait"]
        assert await one.call("Status.Ping") == b"\x80"
        assert len(one.dialled) == 1


async def test_a_request_that_never_left_has_not_happened(autojump_clock: MockClock) -> None:
    async with world() as one:
        server = one.by_hand()
        with pytest.raises(RpcFailed) as caught:
            await one.pool.call(
                TO, "", "Status.Echo", b"\xdb\x00\x04\x00\x00" + bytes(262_144), timeout=3
            )
        assert not caught.value.may_have_happened, "more than a window: it did not get out whole"
        await server.aclose()


async def test_a_cancelled_call_is_cancelled_there(autojump_clock: MockClock) -> None:
    async with world() as one:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(one.call, "Status.Wait")
            await one.service.until_waiting(1)
            nursery.cancel_scope.cancel()
        await one.service.until_waiting(0)
        assert one.service.cancelled == ["Status.Wait"]


async def test_a_lost_connection_fails_its_calls_and_the_next_dials_again() -> None:
    async with world() as one:
        texts: list[tuple[str, bool]] = []

        async def call() -> None:
            failure = await one.failure("Status.Wait")
            texts.append((failure.text, failure.may_have_happened))

        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(call)
            await one.service.until_waiting(3)
            await one.connections[0].aclose()
        assert texts == [("rpc error: EOF", True)] * 3
        assert await one.call("Status.Ping") == b"\x80"
        assert len(one.dialled) == 2


async def test_a_stream_is_opened_on_a_fresh_connection_if_the_old_one_takes_none() -> None:
    async with world() as one:
        server = one.by_hand()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(one.call, "Status.Ping")
            await wait_all_tasks_blocked()
            go_away = pack_header(0, GO_AWAY, 0, 0, 0)
            await server.send_all(ack() + data(an_answer("Status.Ping", 1)) + go_away)
        one.answers = None
        assert await one.call("Status.Ping") == b"\x80"
        assert len(one.dialled) == 2
        await server.aclose()


async def test_a_call_is_never_made_twice() -> None:
    async with world() as one:
        server = one.by_hand()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(one.failure, "Status.Ping")
            await wait_all_tasks_blocked()
            await server.aclose()
        assert len(one.dialled) == 1


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (data(an_answer("Status.Ping", 9)), "bad answer: answer 9 was not asked for"),
        (data(b"\xc1"), "bad answer"),
        (data(b"\x80\x80"), "bad answer"),
        (data(an_answer("Status.Ping", 1)[:-1]) + fin(), "rpc error: EOF"),
        (fin(), "rpc error: EOF"),
        (rst(), "rpc error: stream reset"),
    ],
)
async def test_a_bad_answer_fails_that_call_and_no_other(answer: bytes, text: str) -> None:
    async with world() as one:
        server = one.by_hand()
        failures: list[RpcFailed] = []

        async def call() -> None:
            failures.append(await one.failure("Status.Ping"))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(call)
            await wait_all_tasks_blocked()
            nursery.start_soon(one.call, "Status.Ping")
            await wait_all_tasks_blocked()
            await server.send_all(ack(1) + answer)
            await wait_all_tasks_blocked()
            assert len(failures) == 1
            await server.send_all(ack(3) + data(an_answer("Status.Ping", 2), 3))
        assert text in failures[0].text
        assert failures[0].may_have_happened
        assert len(one.dialled) == 1
        await server.aclose()


async def test_a_stream_the_server_closed_meanwhile_is_not_used_again() -> None:
    async with world() as one:
        server = one.by_hand()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(one.call, "Status.Ping")
            await wait_all_tasks_blocked()
            await server.send_all(ack() + data(an_answer("Status.Ping", 1)))
        await server.send_all(fin())
        await wait_all_tasks_blocked()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(one.call, "Status.Ping")
            await wait_all_tasks_blocked()
            await server.send_all(ack(3) + data(an_answer("Status.Ping", 2), 3))
        await server.aclose()


async def test_an_idle_connection_is_closed_after_two_minutes(autojump_clock: MockClock) -> None:
    async with world() as one:
        await one.call("Status.Ping")
        await trio.sleep(119)
        await one.call("Status.Ping")
        await trio.sleep(119)
        assert one.pool.session_count == 1
        await trio.sleep(2)
        assert one.pool.session_count == 0
        assert await one.call("Status.Ping") == b"\x80"


async def test_a_long_call_keeps_the_connection(autojump_clock: MockClock) -> None:
    async with world() as one, trio.open_nursery() as nursery:
        nursery.start_soon(one.call, "Status.Wait")
        await trio.sleep(600)
        assert one.pool.session_count == 1
        one.service.gate.set()


async def test_no_more_idle_streams_are_kept_than_allowed() -> None:
    async with world(RpcLimits(idle_streams=2)) as one:
        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(one.call, "Status.Wait")
            await one.service.until_waiting(10)
            one.service.gate.set()
        await wait_all_tasks_blocked()
        (pooled,) = one.pool._sessions.values()
        assert pooled.caller.idle_count == 2
        assert pooled.session.stream_count == 2


async def test_streaming() -> None:
    async with world() as one:
        async with one.pool.stream(TO, "global", "Agent.Monitor", b"\x81\xa1x\x01") as stream:
            assert [payload async for payload in stream] == [b"{}", None, b"\x81\xa1x\x01"]
        assert len(one.dialled) == 1


async def test_streaming_errors() -> None:
    async with world() as one:
        with pytest.raises(RpcFailed) as caught:
            async with one.pool.stream(TO, "global", "Nope.Nope", b"\x80"):
                pass
        assert caught.value.text == 'Unknown rpc method: "Nope.Nope"'
        assert not caught.value.may_have_happened
        async with one.pool.stream(TO, "global", "Agent.Refuse", b"\x80") as stream:
            with pytest.raises(RpcFailed) as caught:
                await anext(stream)
        assert (caught.value.text, caught.value.code) == ("Unknown log level", 400)
        assert len(one.dialled) == 1


async def test_leaving_a_stream_ends_it_there() -> None:
    async with world() as one:
        async with one.pool.stream(TO, "global", "Agent.Flood", b"\x80") as stream:
            assert await anext(stream) == b"x" * 50_000
        await one.service.until_waiting(0)
        assert one.service.cancelled == ["flood"]
        assert await one.call("Status.Ping") == b"\x80"


async def test_a_stream_on_a_lost_connection_fails() -> None:
    async with world() as one, one.pool.stream(TO, "global", "Agent.Wait", b"\x80") as stream:
        await one.service.until_waiting(1)
        await one.connections[0].aclose()
        with pytest.raises(RpcFailed, match="rpc error: EOF"):
            await anext(stream)


async def test_a_streaming_call_that_is_not_accepted_in_time(autojump_clock: MockClock) -> None:
    async with world() as one:
        one.by_hand()
        with pytest.raises(RpcFailed, match="i/o deadline reached") as caught:
            async with one.pool.stream(TO, "global", "Agent.Wait", b"\x80", timeout=2):
                pass
        assert not caught.value.may_have_happened


async def test_a_user_of_a_stream_may_raise() -> None:
    async with world() as one:
        with pytest.raises(KeyError):
            async with one.pool.stream(TO, "global", "Agent.Wait", b"\x80"):
                raise KeyError("mine")
        await one.service.until_waiting(0)


async def test_a_server_may_call_back_on_our_session() -> None:
    back = FakeService()
    async with world(back=back) as one:
        server = one.by_hand()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(one.call, "Status.Ping")
            await wait_all_tasks_blocked()
            await server.send_all(ack() + data(an_answer("Status.Ping", 1)))
        await server.receive_some()
        await server.send_all(data(b"\x01" + a_request("Status.Ping", 7), 2, SYN))
        received = b""
        wanted = ack(2) + data(an_answer("Status.Ping", 7), 2)
        while len(received) < len(wanted):
            received += await server.receive_some()
        assert received == wanted
        await server.aclose()
    assert back.calls[0][2].address == TO


async def test_without_a_service_calls_back_are_reset() -> None:
    async with world() as one:
        server = one.by_hand()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(one.call, "Status.Ping")
            await wait_all_tasks_blocked()
            await server.send_all(ack() + data(an_answer("Status.Ping", 1)))
        await server.receive_some()
        await server.send_all(data(b"\x01", 2, SYN))
        assert (await server.receive_some()).endswith(rst(2))
        await server.aclose()


async def test_a_closed_pool_says_so() -> None:
    pool = Pool()
    with pytest.raises(RpcFailed, match="pool is closed") as caught:
        await pool.call(TO, "global", "Status.Ping", b"\x80")
    assert not caught.value.may_have_happened


async def test_calls_fail_when_the_pool_is_closed() -> None:
    async with world() as one:
        pool = Pool(dial=one.dial)
        async with trio.open_nursery() as nursery, trio.open_nursery() as holder:
            await holder.start(pool.run)

            async def call() -> None:
                with pytest.raises(RpcFailed, match="rpc error: EOF"):
                    await pool.call(TO, "global", "Status.Wait", b"\x80")

            nursery.start_soon(call)
            await one.service.until_waiting(1)
            holder.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("source", "host", "expected"),
    [
        ("127.0.0.7", "127.0.0.1", True),
        ("127.0.0.7", "192.0.2.1", False),
        ("192.0.2.7", "127.0.0.1", True),
        ("::1", "127.0.0.1", False),
    ],
)
def test_where_a_source_address_is_of_use(source: str, host: str, expected: bool) -> None:
    assert reaches(source, host) is expected


@pytest.mark.live
async def test_over_loopback_with_a_source_address() -> None:
    service = FakeService()
    async with listening(service) as address, trio.open_nursery() as nursery:
        pool = Pool(source_host="127.0.0.77")
        await nursery.start(pool.run)
        text = b"\xdb\x00\x0f\x42\x40" + bytes(1_000_000)
        assert await pool.call(address, "global", "Status.Echo", text, timeout=10) == text
        assert service.calls[0][2].address.host == "127.0.0.77"
        nursery.cancel_scope.cancel()


async def test_unacknowledged_streams_make_calls_wait(autojump_clock: MockClock) -> None:
    async with world() as one:
        server = one.by_hand()
        async with trio.open_nursery() as nursery:
            for _ in range(256):
                nursery.start_soon(one.failure, "Status.Ping", 50.0)
            await wait_all_tasks_blocked()
            failure = await one.failure("Status.Ping", 1)
            assert not failure.may_have_happened
            await server.receive_some()
            await server.send_all(pack_header(0, 1, ACK, 1, 0))
            await server.aclose()


async def test_a_caller_that_waits_for_a_stream_goes_to_a_fresh_connection() -> None:
    async with world() as one:
        server = one.by_hand()
        async with trio.open_nursery() as nursery:
            for _ in range(256):
                nursery.start_soon(one.failure, "Status.Wait")
            await wait_all_tasks_blocked()
            calls = [one.call("Status.Ping"), one.call("Status.Ping")]
            async with trio.open_nursery() as late:
                for call in calls:
                    late.start_soon(_await, call)
                await wait_all_tasks_blocked()
                one.answers = None
                await server.send_all(pack_header(0, GO_AWAY, 0, 0, 0))
            assert len(one.dialled) == 2
            assert [call[0] for call in one.service.calls] == ["Status.Ping"] * 2
            await server.aclose()


async def _await(call: Coroutine[object, object, bytes]) -> None:
    assert await call == b"\x80"


@pytest.mark.parametrize(
    ("answer", "text", "happened"),
    [
        (data(b"\xc1"), "bad answer", False),
        (fin(), "rpc error: EOF", False),
        (rst(), "rpc error: stream reset", False),
        (data(b"\x81\xa5Error\xa0") + rst(), "rpc error: stream reset", True),
        (data(b"\x81\xa5Error\xa0\xc1"), "bad answer", True),
    ],
)
async def test_a_streaming_call_with_a_bad_answer(answer: bytes, text: str, happened: bool) -> None:
    async with world() as one:
        server = one.by_hand()
        failures: list[RpcFailed] = []

        async def use() -> None:
            with pytest.raises(RpcFailed) as caught:
                async with one.pool.stream(TO, "global", "Agent.Monitor", b"\x80") as stream:
                    await anext(stream)
            failures.append(caught.value)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(use)
            await wait_all_tasks_blocked()
            await server.send_all(ack() + answer)
        assert text in failures[0].text
        # With a reset right behind the answer the request may not have been sent.
        assert failures[0].may_have_happened <= happened
        await server.aclose()
