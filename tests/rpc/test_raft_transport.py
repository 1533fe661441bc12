"""Raft's connections: which request goes over which, what becomes of it, what is refused."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock, memory_stream_pair, wait_all_tasks_blocked

from swimnomad.names import Address
from swimnomad.raft.inputs import (
    Failure,
    ReplyReceived,
    RequestFailed,
    RequestReceived,
    SnapshotNotReceived,
    SnapshotReceived,
    Ticket,
)
from swimnomad.raft.log import LogEntry
from swimnomad.raft.messages import (
    AppendEntries,
    AppendEntriesReply,
    InstallSnapshot,
    InstallSnapshotReply,
    PreVote,
    PreVoteReply,
    Refusal,
    RequestVote,
    RequestVoteReply,
    TimeoutNow,
    TimeoutNowReply,
)
from swimnomad.raft.servers import Configuration, Server
from swimnomad.raft.snapshot import Snapshot
from swimnomad.rpc.limits import RpcLimits
from swimnomad.rpc.listener import Door, serve_rpc
from swimnomad.rpc.raft_codec import WRONG_PROTOCOL, encode_reply, encode_request
from swimnomad.rpc.raft_entries import RaftWireLimits
from swimnomad.rpc.raft_lines import RaftLimits
from swimnomad.rpc.raft_transport import RaftTransport
from swimnomad.rpc.serving import Server as RpcServer
from swimnomad.tls.contexts import AgentTls
from tests.rpc.rpc_support import PATIENCE, FakeService, RecordingLog
from tests.tls.pki import Pki

A, B = "127.0.0.1:4647", "127.0.0.2:4647"
HERE = Address("127.0.0.1", 50_000)
HEARTBEAT = AppendEntries(2, A)
QUESTION = AppendEntries(2, A, 1, 1, ())
ENTRY = AppendEntries(2, A, 1, 1, (LogEntry(2, 2, data=b"x" * 1000),))
VOTE = RequestVote(2, A, 1, 1)
YES = AppendEntriesReply(2, 1, True)


class Inbox:
    """Keeps inputs; `until` waits for some."""

    def __init__(self) -> None:
        self.items: list[Any] = []
        self.sizes: list[int] = []
        self._changed = trio.Event()

    async def put(self, incoming: Any, size: int = 0) -> None:  # noqa: ANN401
        self.sizes.append(size)
        self.post(incoming)
        await trio.lowlevel.checkpoint()

    def post(self, incoming: Any) -> None:  # noqa: ANN401
        self.items.append(incoming)
        self._changed.set()
        self._changed = trio.Event()

    async def until(self, count: int) -> list[Any]:
        with trio.fail_after(PATIENCE):
            while len(self.items) < count:
                await self._changed.wait()
        return self.items

    def requests(self) -> list[RequestReceived]:
        return [item for item in self.items if isinstance(item, RequestReceived)]


class World:
    """A transport that asks, one that is asked, and memory between them."""

    def __init__(self, nursery: trio.Nursery, **limits: Any) -> None:  # noqa: ANN401
        self.nursery = nursery
        self.inbox, self.other_inbox = Inbox(), Inbox()
        self.log = RecordingLog()
        self.connections: list[trio.abc.Stream] = []
        self.first_bytes: list[bytes] = []
        self.behaviour: Callable[[trio.abc.Stream], Awaitable[None]] | None = None
        self.is_refusing = False
        bounds = RaftLimits(**limits)
        self.transport = RaftTransport(self.inbox, limits=bounds, dial=self.dial)
        self.other = RaftTransport(self.other_inbox, limits=bounds, log=self.log)

    async def dial(self, to: Address) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        if self.is_refusing:
            raise ConnectionRefusedError(111, "refused")
        ours, theirs = memory_stream_pair()
        self.connections.append(ours)
        self.nursery.start_soon(self._serve, theirs)
        return ours

    async def _serve(self, stream: trio.abc.Stream) -> None:
        self.first_bytes.append(bytes(await stream.receive_some(1)))
        serve = self.behaviour or self._serve_other
        await serve(stream)
        await trio.aclose_forcefully(stream)

    async def _serve_other(self, stream: trio.abc.Stream) -> None:
        await self.other.serve(stream, HERE)

    def send(self, request: Any, number: int = 1, to: str = B) -> None:  # noqa: ANN401
        self.transport.send(to, request, number)


@asynccontextmanager
async def world(**limits: Any) -> AsyncIterator[World]:  # noqa: ANN401
    async with trio.open_nursery() as nursery:
        made = World(nursery, **limits)
        await nursery.start(made.transport.run)
        yield made
        nursery.cancel_scope.cancel()


EXCHANGES = [
    (HEARTBEAT, YES),
    (QUESTION, YES),
    (ENTRY, AppendEntriesReply(3, 7, False, True)),
    (VOTE, RequestVoteReply(2, True)),
    (PreVote(2, A, 1, 1), PreVoteReply(1, True)),
    (TimeoutNow(), TimeoutNowReply()),
    (VOTE, Refusal("not now")),
]


@pytest.mark.parametrize(("request_", "reply"), EXCHANGES)
async def test_a_request_arrives_and_its_answer_comes_back(request_: Any, reply: Any) -> None:  # noqa: ANN401
    async with world() as made:
        made.send(request_, 7)
        (received,) = await made.other_inbox.until(1)
        assert received == RequestReceived(received.ticket, request_, str(HERE))
        made.other.answer(received.ticket, reply)
        assert await made.inbox.until(1) == [ReplyReceived(7, reply)]
        assert made.first_bytes == [b"\x02"]
        assert made.other.ticket_count == 0
        assert made.other.unanswered_bytes == 0


async def test_entries_heartbeats_and_votes_have_connections_of_their_own() -> None:
    async with world() as made:
        for number, request in enumerate((QUESTION, HEARTBEAT, VOTE, ENTRY, HEARTBEAT, VOTE)):
            made.send(request, number)
        received = [item.request for item in await made.other_inbox.until(6)]
        assert sorted(map(str, received)) == sorted(
            map(str, (QUESTION, HEARTBEAT, VOTE, ENTRY, HEARTBEAT, VOTE))
        )
        assert received.index(QUESTION) < received.index(ENTRY)
        assert made.transport.connection_count == 4


async def test_requests_follow_one_another_without_waiting_and_answers_keep_their_order() -> None:
    async with world() as made:
        for number in range(5):
            made.send(AppendEntries(2, A, number, 1, ()), number)
        received = await made.other_inbox.until(5)
        assert [item.request.previous_index for item in received] == [0, 1, 2, 3, 4]
        for item in reversed(received):  # answered in another order
            index = item.request.previous_index
            made.other.answer(item.ticket, AppendEntriesReply(2, index, True))
        replies = await made.inbox.until(5)
        assert replies == [
            ReplyReceived(number, AppendEntriesReply(2, number, True)) for number in range(5)
        ]
        assert len(made.connections) == 1


async def test_idle_connections_are_used_again_and_three_are_kept() -> None:
    async with world() as made:
        for number in range(5):
            made.send(VOTE, number)
        for item in await made.other_inbox.until(5):
            made.other.answer(item.ticket, RequestVoteReply(2, True))
        await made.inbox.until(5)
        await wait_all_tasks_blocked()
        assert made.transport.connection_count == 3
        made.send(VOTE, 9)
        await made.other_inbox.until(6)
        assert len(made.connections) == 5


async def test_a_server_that_does_not_listen_is_unreachable() -> None:
    async with world() as made:
        made.is_refusing = True
        made.send(VOTE, 1)
        made.send(HEARTBEAT, 2)
        failures = sorted(await made.inbox.until(2), key=lambda item: item.number)
        reason = f"dial tcp {B}: connect: connection refused"
        assert failures == [
            RequestFailed(1, Failure.UNREACHABLE, reason),
            RequestFailed(2, Failure.UNREACHABLE, reason),
        ]
        made.is_refusing = False
        made.send(HEARTBEAT, 3)
        await made.other_inbox.until(1)


@pytest.mark.parametrize("to", ["nowhere", "127.0.0.1:x", "127.0.0.1:0", ":4647", "[::1]:99999"])
async def test_what_is_no_address_is_unreachable(to: str) -> None:
    async with world() as made:
        made.send(VOTE, 1, to)
        (failed,) = await made.inbox.until(1)
        assert failed.failure is Failure.UNREACHABLE
        assert to in failed.reason


async def test_a_transport_that_does_not_run_reaches_nobody() -> None:
    inbox = Inbox()
    RaftTransport(inbox).send(B, VOTE, 1)
    assert [item.failure for item in inbox.items] == [Failure.UNREACHABLE]


async def test_what_was_written_to_a_connection_that_broke_may_have_arrived() -> None:
    async with world() as made:

        async def hang_up(stream: trio.abc.Stream) -> None:
            await stream.receive_some()

        made.behaviour = hang_up
        made.send(QUESTION, 1)
        (failed,) = await made.inbox.until(1)
        assert (failed.number, failed.failure) == (1, Failure.LOST)
        assert failed.reason == f"connection to {B}: EOF"


async def test_a_server_that_hangs_up_twice_on_a_pre_vote_does_not_know_it() -> None:
    async with world() as made:

        async def as_nomad_1_0_4(stream: trio.abc.Stream) -> None:
            while data := bytes(await stream.receive_some()):
                if data[0] == 4:
                    return
                await stream.send_all(encode_reply(RequestVoteReply(2, True), 2))

        made.behaviour = as_nomad_1_0_4
        made.send(VOTE, 1)
        await made.inbox.until(1)
        made.send(PreVote(2, A, 1, 1), 2)
        assert (await made.inbox.until(2))[1] == RequestFailed(
            2, Failure.UNSUPPORTED, f"connection to {B}: EOF"
        )
        # One that was idle says nothing; two fresh ones do.
        assert len(made.connections) == 3


async def test_a_server_that_stops_during_a_pre_vote_is_not_taken_for_an_old_one() -> None:
    async with world() as made:

        async def die(stream: trio.abc.Stream) -> None:
            await stream.receive_some()
            made.is_refusing = True

        made.behaviour = die
        made.send(PreVote(2, A, 1, 1), 2)
        (failed,) = await made.inbox.until(1)
        assert failed.failure is Failure.UNREACHABLE


async def test_an_answer_that_does_not_come_in_time_ends_the_connection(
    autojump_clock: MockClock,
) -> None:
    async with world() as made:
        start = trio.current_time()
        made.send(QUESTION, 1)
        await trio.sleep(4)
        made.send(QUESTION, 2)
        failures = await made.inbox.until(2)
        assert {item.failure for item in failures} == {Failure.LOST}
        assert trio.current_time() - start == pytest.approx(10.0)
        assert "i/o timeout" in failures[0].reason


async def test_an_idle_connection_is_closed_after_a_while(autojump_clock: MockClock) -> None:
    async with world() as made:
        made.send(HEARTBEAT, 1)
        (item,) = await made.other_inbox.until(1)
        made.other.answer(item.ticket, YES)
        await made.inbox.until(1)
        await trio.sleep(119)
        assert made.transport.connection_count == 1
        await trio.sleep(2)
        assert made.transport.connection_count == 0
        assert len(made.inbox.items) == 1


async def test_the_oldest_request_is_given_up_when_too_many_wait() -> None:
    async with world(waiting_max=2) as made:
        for number in range(4):
            made.send(HEARTBEAT, number)
        assert [(item.number, item.failure) for item in made.inbox.items] == [
            (0, Failure.UNREACHABLE),
            (1, Failure.UNREACHABLE),
        ]
        await made.other_inbox.until(2)


async def test_an_answer_that_makes_no_sense_ends_the_connection() -> None:
    async with world() as made:

        async def babble(stream: trio.abc.Stream) -> None:
            await stream.receive_some()
            await stream.send_all(b"\xa0\x01")
            await trio.sleep_forever()

        made.behaviour = babble
        made.send(VOTE, 1)
        (failed,) = await made.inbox.until(1)
        assert failed.failure is Failure.LOST
        assert "bad answer: expected a record" in failed.reason


# --- the side that is asked -----------------------------------------------------------------------


class Guest:
    """Bytes to a transport, without one at the other end."""

    def __init__(self, made: World, stream: trio.abc.Stream) -> None:
        self.made = made
        self.stream = stream

    async def until_closed(self) -> bytes:
        found = bytearray()
        with trio.fail_after(PATIENCE):
            while data := await self.stream.receive_some():
                found += data
        return bytes(found)


async def guest_of(made: World) -> Guest:
    ours, theirs = memory_stream_pair()

    async def serve() -> None:
        await made.other.serve(theirs, HERE)
        await trio.aclose_forcefully(theirs)

    made.nursery.start_soon(serve)
    return Guest(made, ours)


@pytest.mark.parametrize("junk", [b"\x07\x80", b"\x00\xc1\xc1", b"GET / HTTP/1.1\r\n\r\n"])
async def test_bytes_that_make_no_sense_end_the_connection_and_are_logged(junk: bytes) -> None:
    async with world() as made:
        guest = await guest_of(made)
        await guest.stream.send_all(junk)
        assert await guest.until_closed() == b""
        assert made.log.messages == ["failed to decode incoming command"]
        assert made.log.lines[0].pairs["remote_addr"] == HERE
        assert made.other_inbox.items == []
        assert made.other.unanswered_bytes == 0


async def test_a_version_we_do_not_speak_is_refused_and_the_node_not_asked() -> None:
    async with world() as made:
        guest = await guest_of(made)
        await guest.stream.send_all(encode_request(VOTE, 9) + encode_request(VOTE, 3))
        (item,) = await made.other_inbox.until(1)
        made.other.answer(item.ticket, RequestVoteReply(2, True))
        expected = encode_reply(Refusal(WRONG_PROTOCOL), 2) + encode_reply(
            RequestVoteReply(2, True), 2
        )
        found = b""
        while len(found) < len(expected):
            found += bytes(await guest.stream.receive_some())
        assert found == expected


async def test_a_peer_that_does_not_wait_for_answers_has_to_after_a_while() -> None:
    async with world(in_flight_max=4) as made:
        guest = await guest_of(made)
        made.nursery.start_soon(guest.stream.send_all, encode_request(HEARTBEAT, 2) * 20)
        await wait_all_tasks_blocked()
        assert len(made.other_inbox.items) == 4
        made.other.answer(made.other_inbox.items[0].ticket, YES)
        await wait_all_tasks_blocked()
        assert len(made.other_inbox.items) == 5


async def test_a_peer_that_holds_too_many_bytes_is_cut_off() -> None:
    async with world(unanswered_bytes_max=5000) as made:
        guest = await guest_of(made)
        await guest.stream.send_all(encode_request(ENTRY, 2) * 6)
        await guest.until_closed()
        assert "too many bytes" in str(made.log.lines[0].pairs["error"])
        assert made.other.unanswered_bytes == 0
        assert made.other.ticket_count == 0
        for item in made.other_inbox.requests():
            made.other.answer(item.ticket, YES)  # nobody is there to hear it


async def test_a_peer_that_stops_within_a_request_is_cut_off(autojump_clock: MockClock) -> None:
    async with world(stall_timeout=15.0) as made:
        guest = await guest_of(made)
        await guest.stream.send_all(encode_request(VOTE, 2)[:-1])
        start = trio.current_time()
        await guest.until_closed()
        assert trio.current_time() - start == pytest.approx(15.0)


async def test_a_message_longer_than_allowed_is_cut_off() -> None:
    async with world(wire=RaftWireLimits(message_bytes_max=500)) as made:
        guest = await guest_of(made)
        await guest.stream.send_all(encode_request(ENTRY, 2))
        await guest.until_closed()
        assert "more than 500 bytes" in str(made.log.lines[0].pairs["error"])


# --- snapshots ------------------------------------------------------------------------------------

SIZE = 700_000
SNAPSHOT = InstallSnapshot(2, A, Snapshot(9, 2, Configuration((Server(A, A),)), 1, SIZE))
CONTENTS = bytes(number % 251 for number in range(SIZE))


class Sink:
    def __init__(self, fails_at: int | None = None) -> None:
        self.data = bytearray()
        self._fails_at = fails_at

    async def write(self, data: bytes) -> None:
        self.data += data
        if self._fails_at is not None and len(self.data) > self._fails_at:
            raise OSError(28, "No space left on device")
        await trio.lowlevel.checkpoint()


def contents_of(data: bytes) -> Callable[[], AsyncGenerator[bytes, None]]:
    async def pieces() -> AsyncGenerator[bytes, None]:
        for start in range(0, len(data), 50_000):
            await trio.lowlevel.checkpoint()
            yield data[start : start + 50_000]

    return pieces


async def test_a_snapshot_travels_behind_its_request() -> None:
    async with world() as made:
        made.transport.send(B, SNAPSHOT, 1, contents_of(CONTENTS))
        (item,) = await made.other_inbox.until(1)
        assert item.request == SNAPSHOT
        sink = Sink()
        made.other.receive(item.ticket, sink)
        assert (await made.other_inbox.until(2))[1] == SnapshotReceived(item.ticket)
        assert bytes(sink.data) == CONTENTS
        made.other.answer(item.ticket, InstallSnapshotReply(2, True))
        assert await made.inbox.until(1) == [ReplyReceived(1, InstallSnapshotReply(2, True))]
        assert made.other.unanswered_bytes == 0
        made.send(VOTE, 2)  # over the same connection
        await made.other_inbox.until(3)
        assert len(made.connections) == 1


async def test_a_snapshot_that_nobody_wants_is_read_and_thrown_away() -> None:
    async with world() as made:
        made.transport.send(B, SNAPSHOT, 1, contents_of(CONTENTS))
        (item,) = await made.other_inbox.until(1)
        made.other.answer(item.ticket, InstallSnapshotReply(3, False))
        assert await made.inbox.until(1) == [ReplyReceived(1, InstallSnapshotReply(3, False))]
        assert len(made.other_inbox.items) == 1


async def test_a_snapshot_that_cannot_be_kept_is_reported_and_the_connection_lives() -> None:
    async with world() as made:
        made.transport.send(B, SNAPSHOT, 1, contents_of(CONTENTS))
        (item,) = await made.other_inbox.until(1)
        made.other.receive(item.ticket, Sink(fails_at=100_000))
        failed = (await made.other_inbox.until(2))[1]
        assert isinstance(failed, SnapshotNotReceived)
        assert "No space left" in failed.reason
        made.other.answer(item.ticket, InstallSnapshotReply(2, False))
        assert await made.inbox.until(1) == [ReplyReceived(1, InstallSnapshotReply(2, False))]


async def test_a_snapshot_that_breaks_off_is_reported_on_both_sides() -> None:
    async with world() as made:

        async def pieces() -> AsyncGenerator[bytes, None]:
            await trio.lowlevel.checkpoint()
            yield CONTENTS[:100_000]
            raise OSError(5, "Input/output error")

        made.transport.send(B, SNAPSHOT, 1, pieces)
        (item,) = await made.other_inbox.until(1)
        made.other.receive(item.ticket, Sink())
        (failed,) = await made.inbox.until(1)
        assert failed.failure is Failure.LOST
        assert "cannot read the snapshot" in failed.reason
        assert isinstance((await made.other_inbox.until(2))[1], SnapshotNotReceived)


async def test_contents_asked_for_when_the_connection_is_gone_do_not_come() -> None:
    async with world() as made:
        made.other.receive(Ticket(77), Sink())
        (failed,) = made.other_inbox.items
        assert isinstance(failed, SnapshotNotReceived)


async def test_a_snapshot_may_take_longer_than_a_call(autojump_clock: MockClock) -> None:
    async with world() as made:

        async def slowly() -> AsyncGenerator[bytes, None]:
            for start in range(0, SIZE, 50_000):
                await trio.sleep(1.5)
                yield CONTENTS[start : start + 50_000]

        made.transport.send(B, SNAPSHOT, 1, slowly)
        (item,) = await made.other_inbox.until(1)
        made.other.receive(item.ticket, Sink())
        await trio.sleep(25)
        assert made.other_inbox.items[1] == SnapshotReceived(item.ticket)


# --- TLS ------------------------------------------------------------------------------------------


class TlsWorld:
    """A transport that dials a door with TLS."""

    def __init__(self, server: AgentTls, client: AgentTls | None) -> None:
        self.inbox, self.other_inbox = Inbox(), Inbox()
        self.log = RecordingLog()
        self.other = RaftTransport(self.other_inbox)
        self.door = Door(
            RpcServer(FakeService(), log=self.log), server.rpc_server, self.other.serve
        )
        self.transport = RaftTransport(
            self.inbox, tls=client.rpc_client if client else None, dial=self._dial
        )
        self.nursery: trio.Nursery

    async def _dial(self, to: Address) -> trio.abc.Stream:
        ours, theirs = memory_stream_pair()
        self.door.enter(HERE)
        self.nursery.start_soon(self.door.serve, theirs, HERE, Address("127.0.0.2", 4647))
        await trio.lowlevel.checkpoint()
        return ours


async def test_raft_goes_through_tls(tmp_path: Path) -> None:
    pki = Pki(tmp_path)
    tls = AgentTls(pki.config(pki.issue(), verify_server_hostname=True))
    made = TlsWorld(tls, tls)
    async with trio.open_nursery() as made.nursery:
        await made.nursery.start(made.transport.run)
        made.transport.send(B, ENTRY, 1)
        (item,) = await made.other_inbox.until(1)
        made.other.answer(item.ticket, YES)
        assert await made.inbox.until(1) == [ReplyReceived(1, YES)]
        made.nursery.cancel_scope.cancel()


async def test_whoever_has_no_certificate_speaks_no_raft(tmp_path: Path) -> None:
    pki = Pki(tmp_path)
    tls = AgentTls(pki.config(pki.issue(), verify_server_hostname=True))
    made = TlsWorld(tls, None)
    async with trio.open_nursery() as made.nursery:
        await made.nursery.start(made.transport.run)
        made.transport.send(B, VOTE, 1)
        (failed,) = await made.inbox.until(1)
        assert failed.failure is Failure.LOST
        assert "non-TLS connection attempted with RequireTLS set" in made.log.messages
        made.nursery.cancel_scope.cancel()


# --- on real sockets ------------------------------------------------------------------------------


@pytest.mark.live
async def test_raft_shares_the_port_with_calls() -> None:
    inbox, other_inbox = Inbox(), Inbox()
    transport = RaftTransport(inbox, source_host="127.81.0.1")
    other = RaftTransport(other_inbox)
    async with trio.open_nursery() as nursery:
        await nursery.start(transport.run)

        async def listen(
            *, task_status: trio.TaskStatus[Address] = trio.TASK_STATUS_IGNORED
        ) -> None:
            await serve_rpc(
                Address("127.81.0.2", 0),
                FakeService(),
                RpcLimits(),
                raft=other.serve,
                task_status=task_status,
            )

        address = await nursery.start(listen)
        transport.send(str(address), ENTRY, 1)
        (item,) = await other_inbox.until(1)
        assert item.source.startswith("127.81.0.1:")
        other.answer(item.ticket, YES)
        assert await inbox.until(1) == [ReplyReceived(1, YES)]
        nursery.cancel_scope.cancel()
