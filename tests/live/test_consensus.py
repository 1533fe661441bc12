"""Raft at live servers: who leads, what becomes of writes, disks that are slow or fail."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from swimnomad.errors import OperationError, UsageError
from swimnomad.live.consensus import LeadershipReady, LiveConsensus
from swimnomad.live.inbox import Inbox
from swimnomad.live.raft_database import Change
from swimnomad.live.raft_effects import EffectStream
from swimnomad.live.raft_store import DiskStore, Draft, MemoryStore
from swimnomad.names import Address, Value
from swimnomad.nomad.consensus import NotWritten, RaftPeer
from swimnomad.raft.config import RaftConfig
from swimnomad.raft.effects import (
    Answer,
    Apply,
    DiscardSnapshot,
    Emit,
    PersistCompaction,
    PersistEntries,
    PersistSnapshot,
    PersistTerm,
    ReceiveSnapshot,
    Restore,
    Send,
    TakeSnapshot,
)
from swimnomad.raft.events import LeaderChanged
from swimnomad.raft.inputs import SnapshotFailed, SnapshotTaken, Ticket
from swimnomad.raft.log import EntryKind, LogEntry
from swimnomad.raft.messages import AppendEntries, InstallSnapshot, TimeoutNow, TimeoutNowReply
from swimnomad.raft.servers import Configuration, Server
from swimnomad.raft.snapshot import Snapshot
from swimnomad.rpc.limits import RpcLimits
from swimnomad.rpc.listener import serve_rpc
from swimnomad.rpc.raft_codec import encode_request
from swimnomad.rpc.raft_transport import RaftTransport
from tests.live.raft_clusters import PATIENCE, Cluster, Machine, Member, address_of, cluster, peers
from tests.rpc.rpc_support import FakeService

A = "127.0.0.1:4647"
SERVERS = Configuration((Server(A, A),))
TICKET = Ticket(1)
FAST = {"heartbeat_timeout": 0.05, "election_timeout": 0.05, "leader_lease": 0.04}


def soon(seconds: float = 5.0) -> float:
    return trio.current_time() + seconds


# --- the stream of effects ------------------------------------------------------------------------


class SlowStore(MemoryStore):
    """A store whose writes end when they are let."""

    is_instant = False

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[list[Change]] = []
        self.error: OSError | None = None
        self._gate = threading.Semaphore(0)

    def let(self, count: int = 1) -> None:
        self._gate.release(count)

    def write(self, changes: Sequence[Change]) -> None:
        assert self._gate.acquire(timeout=PATIENCE)
        self.writes.append(list(changes))
        if self.error is not None:
            raise self.error

    def keep(self, draft: Draft, snapshot: Snapshot) -> None:
        if self.error is not None:
            raise self.error
        super().keep(draft, snapshot)


class Recorder:
    """A transport, and everything else that a stream tells."""

    def __init__(self) -> None:
        self.done: list[Any] = []
        self.posted: list[Any] = []
        self.failures: list[str] = []
        self.sinks: dict[Ticket, Any] = {}
        self.contents: Any = None
        self.changed = trio.Event()

    def _note(self, what: Any) -> None:  # noqa: ANN401
        self.done.append(what)
        self.changed.set()
        self.changed = trio.Event()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        task_status.started()

    def send(self, to: str, request: Any, number: int, contents: Any = None) -> None:  # noqa: ANN401
        self.contents = contents
        self._note(f"send {number}")

    def answer(self, ticket: Ticket, reply: Any) -> None:  # noqa: ANN401
        self._note(f"answer {ticket.number}")

    def receive(self, ticket: Ticket, sink: Any) -> None:  # noqa: ANN401
        self.sinks[ticket] = sink
        self._note(f"receive {ticket.number}")

    def post(self, incoming: Any) -> None:  # noqa: ANN401
        self.posted.append(incoming)
        self._note(incoming)

    def emit(self, event: Any) -> None:  # noqa: ANN401
        self._note(f"emit {event.term}")

    def fail(self, reason: str) -> None:
        self.failures.append(reason)
        self._note("fail")

    async def until(self, count: int) -> list[Any]:
        with trio.fail_after(PATIENCE):
            while len(self.done) < count:
                await self.changed.wait()
        return self.done


def stream_of(store: MemoryStore, recorder: Recorder, machine: Machine) -> EffectStream:
    return EffectStream(
        store, machine, recorder, post=recorder.post, emit=recorder.emit, fail=recorder.fail
    )


def said(term: int) -> Emit:
    return Emit(LeaderChanged(None, term))


def command(index: int, text: bytes = b"x") -> LogEntry:
    return LogEntry(index, 1, EntryKind.COMMAND, text)


async def test_nothing_behind_a_write_happens_before_it_is_durable() -> None:
    store, recorder, machine = SlowStore(), Recorder(), Machine()
    stream = stream_of(store, recorder, machine)
    async with trio.open_nursery() as nursery:
        stream.run_in(nursery)
        stream.add(
            [
                Send(A, TimeoutNow(), 1),
                PersistEntries((command(1),)),
                Send(A, TimeoutNow(), 2),
                Answer(TICKET, TimeoutNowReply()),
                Apply((command(1),)),
                said(7),
            ]
        )
        await wait_all_tasks_blocked()
        assert recorder.done == ["send 1"]
        assert not machine.applied
        assert len(stream) == 4
        store.let()
        assert await recorder.until(4) == ["send 1", "send 2", "answer 1", "emit 7"]
        assert machine.texts == ["x"]
        assert stream.applied_index == 1
        assert stream.take_result(1) == "1:x"
        assert stream.take_result(1) is None


async def test_writes_that_wait_go_together_and_what_stands_between_comes_after() -> None:
    store, recorder = SlowStore(), Recorder()
    stream = stream_of(store, recorder, Machine())
    async with trio.open_nursery() as nursery:
        stream.run_in(nursery)
        stream.add([PersistTerm(1, None), said(1)])
        await wait_all_tasks_blocked()
        for number in range(2, 5):
            stream.add([PersistEntries((command(number),)), said(number)])
        stream.add([PersistCompaction(1), said(9)])
        store.let()
        await recorder.until(1)
        await wait_all_tasks_blocked()
        assert recorder.done == ["emit 1"]
        store.let()
        assert await recorder.until(5) == ["emit 1", "emit 2", "emit 3", "emit 4", "emit 9"]
        assert [len(changes) for changes in store.writes] == [1, 4]
        assert [type(change) for change in store.writes[1]] == [PersistEntries] * 3 + [
            PersistCompaction
        ]


async def test_a_write_takes_only_so_much_along() -> None:
    store, recorder = SlowStore(), Recorder()
    stream = stream_of(store, recorder, Machine())
    async with trio.open_nursery() as nursery:
        stream.run_in(nursery)
        big = PersistEntries((command(1, bytes(9 * 1024 * 1024)),))
        stream.add([big, big, big, said(1)])
        store.let(2)
        await recorder.until(1)
        assert [len(changes) for changes in store.writes] == [2, 1]


async def test_after_a_failed_write_nothing_happens_any_more() -> None:
    store, recorder, machine = SlowStore(), Recorder(), Machine()
    store.error = OSError(28, "No space left on device")
    stream = stream_of(store, recorder, machine)
    async with trio.open_nursery() as nursery:
        stream.run_in(nursery)
        stream.add([PersistTerm(1, None), said(1), Apply((command(1),))])
        store.let()
        assert await recorder.until(1) == ["fail"]
        assert "No space left" in recorder.failures[0]
        stream.add([PersistTerm(2, None), PersistSnapshot(TICKET, snapshot_of(b"")), said(2)])
        assert recorder.done == ["fail", "emit 2"]
        assert len(store.writes) == 1
        assert not machine.applied


async def test_many_entries_are_applied_in_turns() -> None:
    recorder, machine = Recorder(), Machine()
    stream = stream_of(MemoryStore(), recorder, machine)
    async with trio.open_nursery() as nursery:
        stream.run_in(nursery)
        stream.add(
            [Apply(tuple(command(start + i) for i in range(256))) for start in range(1, 2049, 256)]
            + [said(1)]
        )
        assert len(machine.applied) == 512
        await recorder.until(1)
        assert len(machine.applied) == 2048


def snapshot_of(data: bytes, index: int = 3) -> Snapshot:
    return Snapshot(index, 1, SERVERS, 1, len(data))


@pytest.mark.parametrize("store_of", [MemoryStore, SlowStore])
async def test_a_snapshot_is_taken_kept_and_sent(store_of: Callable[[], MemoryStore]) -> None:
    store, recorder, machine = store_of(), Recorder(), Machine()
    stream = stream_of(store, recorder, machine)
    async with trio.open_nursery() as nursery:
        stream.run_in(nursery)
        entries = tuple(command(index, b"text") for index in (1, 2, 3))
        stream.add([Apply(entries), TakeSnapshot(snapshot_of(b""))])
        (taken,) = await recorder.until(1)
        assert taken == SnapshotTaken(snapshot_of(b"1 text\n2 text\n3 text"))
        stream.add([Send(A, InstallSnapshot(1, A, taken.snapshot), 1)])
        assert b"".join([piece async for piece in recorder.contents()]) == machine.snapshot()
        machine.applied = []
        stream.add([Restore(taken.snapshot), said(1)])
        await recorder.until(3)
        assert machine.texts == ["text"] * 3
        assert stream.applied_index == 3


async def test_a_snapshot_that_cannot_be_kept_is_none() -> None:
    store, recorder = SlowStore(), Recorder()
    store.error = OSError(28, "No space left on device")
    stream = stream_of(store, recorder, Machine())
    async with trio.open_nursery() as nursery:
        stream.run_in(nursery)
        stream.add([TakeSnapshot(snapshot_of(b""))])
        (failed,) = await recorder.until(1)
        assert isinstance(failed, SnapshotFailed)
        assert not recorder.failures


@pytest.mark.parametrize("store_of", [MemoryStore, SlowStore])
async def test_a_snapshot_arrives_and_becomes_the_state(
    store_of: Callable[[], MemoryStore],
) -> None:
    store, recorder, machine = store_of(), Recorder(), Machine()
    stream = stream_of(store, recorder, machine)
    data = b"5 five\n6 six"
    async with trio.open_nursery() as nursery:
        stream.run_in(nursery)
        stream.add([ReceiveSnapshot(TICKET, snapshot_of(data, 6))])
        await recorder.sinks[TICKET].write(data[:4])
        await recorder.sinks[TICKET].write(data[4:])
        stream.add(
            [
                PersistSnapshot(TICKET, snapshot_of(data, 6)),
                Restore(snapshot_of(data, 6)),
                Answer(TICKET, TimeoutNowReply()),
            ]
        )
        assert await recorder.until(2) == ["receive 1", "answer 1"]
        assert machine.texts == ["five", "six"]


async def test_a_snapshot_that_is_not_wanted_is_thrown_away() -> None:
    store, recorder = MemoryStore(), Recorder()
    stream = stream_of(store, recorder, Machine())
    for end in (DiscardSnapshot(TICKET), Answer(TICKET, TimeoutNowReply())):
        stream.add([ReceiveSnapshot(TICKET, snapshot_of(b"abc"))])
        sink = recorder.sinks[TICKET]
        await sink.write(b"a")
        stream.add([end])
        await sink.write(b"bc")
        with pytest.raises(OSError, match="thrown away"):
            sink.keep(snapshot_of(b"abc"))


async def test_a_snapshot_that_makes_no_sense_stops_the_node() -> None:
    store, recorder = MemoryStore(), Recorder()
    stream = stream_of(store, recorder, Machine())
    stream.add([ReceiveSnapshot(TICKET, snapshot_of(b"abc"))])
    await recorder.sinks[TICKET].write(b"abc")
    stream.add([PersistSnapshot(TICKET, snapshot_of(b"abc")), Restore(snapshot_of(b"abc"))])
    assert recorder.failures == ["this is no snapshot"]


# --- clusters in memory, in virtual time ----------------------------------------------------------


async def test_three_servers_elect_a_leader_and_keep_what_it_is_given(
    autojump_clock: MockClock,
) -> None:
    async with cluster("abc") as made:
        leader = await made.leader()
        assert trio.current_time() < 5
        assert await leader.raft.propose(b"one", soon()) == "4:one"  # type: ignore[comparison-overlap]
        await leader.raft.read_index(soon())
        for member in made.members.values():
            assert await member.machine.until(1) == ["one"]
            assert [peer.id for peer in member.raft.configuration] == list(map(address_of, "abc"))
            assert member.raft.leads is (member is leader)
            assert member.raft.is_ready is (member is leader)
        status = leader.raft.status
        assert (status.role, status.applied_index, status.fsm_pending) == ("Leader", 4, 0)
        assert "cluster leadership acquired" in leader.log


async def test_writes_at_a_follower_are_refused_in_nomads_words(autojump_clock: MockClock) -> None:
    async with cluster("abc") as made:
        leader = await made.leader()
        follower = next(m for m in made.members.values() if m is not leader)
        for ask in (
            lambda: follower.raft.propose(b"x", soon()),
            lambda: follower.raft.read_index(soon()),
            lambda: follower.raft.add_server(peers("d")[0], soon()),
            lambda: follower.raft.remove_server("d", soon()),
            lambda: follower.raft.transfer_leadership(None, soon()),
        ):
            with pytest.raises(OperationError, match="No cluster leader") as caught:
                await ask()
            assert not caught.value.may_have_happened


async def test_when_the_leader_is_gone_another_leads_and_nothing_is_lost(
    autojump_clock: MockClock,
) -> None:
    async with cluster("abcde") as made:
        leader = await made.leader()
        for number in range(20):
            await leader.raft.propose(b"%d" % number, soon())
        gone = trio.current_time()
        await leader.stop()
        left = "abcde".replace(leader.name, "")
        second = await made.leader(left)
        assert trio.current_time() - gone < 5
        await second.raft.propose(b"more", soon())
        for name in left:
            assert await made.members[name].machine.until(21) == [
                *map(str, range(20)),
                "more",
            ]
        with pytest.raises(OperationError, match="No cluster leader"):
            await leader.raft.propose(b"late", soon())


async def test_a_leader_that_is_cut_off_refuses_and_says_what_it_does_not_know(
    autojump_clock: MockClock,
) -> None:
    async with cluster("abc") as made:
        leader = await made.leader()
        await made.isolate(leader.name)
        with pytest.raises(NotWritten) as caught:
            await leader.raft.propose(b"lost", soon(3))
        assert caught.value.may_have_happened
        assert not leader.raft.leads
        with pytest.raises(OperationError, match="No cluster leader"):
            await leader.raft.propose(b"refused", soon(3))
        others = "abc".replace(leader.name, "")
        second = await made.leader(others)
        await second.raft.propose(b"kept", soon())
        made.cut.clear()
        assert await leader.machine.until(1) == ["kept"]
        assert "lost" not in second.machine.texts


async def test_a_command_that_the_state_machine_refuses_has_not_happened(
    autojump_clock: MockClock,
) -> None:
    async with cluster("a") as made:
        leader = await made.leader()
        with pytest.raises(NotWritten, match="bad is not taken") as caught:
            await leader.raft.propose(b"bad", soon())
        assert not caught.value.may_have_happened
        await leader.raft.propose(b"good", soon())
        assert leader.machine.texts == ["good"]


async def test_servers_join_leave_and_take_over(autojump_clock: MockClock) -> None:
    async with cluster("abc") as made:
        leader = await made.leader()
        fourth = await made.add("d")
        await leader.raft.propose(b"one", soon())
        await leader.raft.add_server(peers("d")[0], soon())
        assert await fourth.machine.until(1) == ["one"]
        await leader.raft.transfer_leadership(address_of("d"), soon())
        assert (await made.leader("abcd")) is fourth
        await fourth.raft.remove_server(address_of(leader.name), soon())
        assert len(fourth.raft.configuration) == 3
        other = RaftPeer("another", peers("d")[0].address)
        with pytest.raises(NotWritten, match="already the address"):
            await fourth.raft.add_server(other, soon())


async def test_a_server_that_missed_much_is_sent_a_snapshot(autojump_clock: MockClock) -> None:
    async with cluster(
        "abc", snapshot_interval=1.0, snapshot_threshold=20, trailing_entries=5
    ) as made:
        leader = await made.leader()
        for number in range(60):
            await leader.raft.propose(b"%d" % number, soon())
        await trio.sleep(3)
        assert leader.raft.status.last_snapshot_index > 30
        late = await made.add("d")
        await leader.raft.add_server(peers("d")[0], soon())
        assert await late.machine.until(60) == list(map(str, range(60)))
        assert late.machine.restored == 1


async def test_listeners_hear_when_a_leader_is_ready(autojump_clock: MockClock) -> None:
    async with cluster("abc") as made:
        heard: list[Value] = []
        for member in made.members.values():
            member.raft.hub.listen(heard.append)
        leader = await made.leader()
        ready = [event for event in heard if isinstance(event, LeadershipReady)]
        assert ready == [LeadershipReady(leader.raft.node.term)]


async def test_strangers_are_refused_until_they_are_introduced(autojump_clock: MockClock) -> None:
    async with cluster("abc") as made:
        leader = await made.leader()
        term = leader.raft.node.term
        stranger = await made.add("z")
        await stranger.raft.bootstrap([*peers("abc"), *peers("z")], soon())
        await trio.sleep(10)
        assert leader.raft.node.term == term
        assert any("127.0.0.26:4647" in line for line in leader.log)
        leader.raft.introduce([Address("127.0.0.26", 4647)])
        await trio.sleep(1)
        assert leader.raft.leads


async def test_a_stopped_server_takes_no_commands(autojump_clock: MockClock) -> None:
    async with cluster("a") as made:
        member = await made.leader()
        await member.stop()
        member.raft.introduce([])
        with pytest.raises(OperationError, match="No cluster leader"):
            await member.raft.read_index(soon())
        assert member.raft.status.role == "Shutdown"


async def test_whoever_waits_when_a_server_stops_is_told_that_nobody_knows(
    autojump_clock: MockClock,
) -> None:
    async with cluster("abc") as made:
        leader = await made.leader()
        await made.isolate(leader.name)
        caught: list[NotWritten] = []

        async def propose() -> None:
            try:
                await leader.raft.propose(b"x", soon())
            except NotWritten as error:
                caught.append(error)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(propose)
            await trio.sleep(0.01)
            await leader.stop()
        assert caught[0].may_have_happened


# --- a process that was stopped -------------------------------------------------------------------


async def test_what_waits_is_read_before_timers_fire(autojump_clock: MockClock) -> None:
    """As after SIGSTOP and SIGCONT: the clock has jumped, and the kernel holds heartbeats."""
    async with cluster("abc") as made:
        made.cut |= {frozenset("ab"), frozenset("ac"), frozenset("bc")}
        follower = made.members["a"]
        ours, theirs = socket.socketpair()
        theirs.setblocking(False)
        stream = trio.SocketStream(trio.socket.from_stdlib_socket(theirs))
        with ours:
            async with stream:
                made.nursery.start_soon(
                    follower.transport.serve, stream, Address("127.0.0.2", 50_000)
                )
                heartbeat = encode_request(AppendEntries(5, address_of("b")), 2)
                ours.sendall(heartbeat)
                await wait_all_tasks_blocked()
                assert str(follower.raft.leader) == address_of("b")
                begun = len(follower.log)
                # From here to the next await this process is stopped. What came is read in pieces.
                entry = LogEntry(2, 5, EntryKind.COMMAND, bytes(150_000))
                ours.sendall(encode_request(AppendEntries(5, address_of("b"), 1, 1, (entry,)), 2))
                autojump_clock.jump(20)
                await trio.sleep(0.9)
                assert str(follower.raft.leader) == address_of("b")
                assert not [line for line in follower.log[begun:] if "election" in line]
                await trio.sleep(3)
                assert follower.raft.leader is None


# --- disks ----------------------------------------------------------------------------------------


async def alone(path: Path, nursery: trio.Nursery, **config: Any) -> Member:  # noqa: ANN401
    made = Cluster(nursery)
    return await made.add("a", DiskStore(path), **{**FAST, **config})


async def test_a_server_comes_back_with_all_it_had(tmp_path: Path) -> None:
    async with trio.open_nursery() as nursery:
        first = await alone(tmp_path, nursery, snapshot_interval=0.05, snapshot_threshold=10)
        await first.raft.bootstrap(peers("a"), soon())
        await first.cluster.leader()
        for number in range(25):
            await first.raft.propose(b"%d" % number, soon())
        with trio.fail_after(PATIENCE):
            while first.raft.status.last_snapshot_index < 15:  # noqa: ASYNC110
                await trio.sleep(0.01)
        await first.stop()
        second = await alone(tmp_path, nursery)
        assert second.machine.restored == 1
        await second.cluster.leader()
        assert second.machine.texts == list(map(str, range(25)))
        with pytest.raises(NotWritten, match="only works on new clusters"):
            await second.raft.bootstrap(peers("a"), soon())
        await second.stop()


async def test_writes_at_once_share_synchronisations(tmp_path: Path) -> None:
    async with trio.open_nursery() as nursery:
        member = await alone(tmp_path, nursery)
        await member.raft.bootstrap(peers("a"), soon())
        await member.cluster.leader()
        store = member.store
        assert isinstance(store, DiskStore)
        before = store._database.head.sequence
        async with trio.open_nursery() as writers:
            for number in range(200):
                writers.start_soon(member.raft.propose, b"%d" % number, soon(20))
        assert len(member.machine.applied) == 200
        assert store._database.head.sequence - before < 50
        await member.stop()


async def test_a_disk_that_fails_stops_the_server_and_writes_are_unknown(tmp_path: Path) -> None:
    async with trio.open_nursery() as nursery:
        member = await alone(tmp_path, nursery)
        await member.raft.bootstrap(peers("a"), soon())
        await member.cluster.leader()
        store = member.store
        assert isinstance(store, DiskStore)
        store._database._connected.execute("PRAGMA max_page_count = 1").fetchone()
        with pytest.raises(NotWritten) as caught:
            await member.raft.propose(bytes(100_000).replace(b"\0", b"x"), soon())
        assert caught.value.may_have_happened
        assert member.raft.status.role == "Shutdown"
        assert len(member.failures) == 1
        assert "storage failed, Raft has stopped" in member.log
        with pytest.raises(OperationError, match="No cluster leader"):
            await member.raft.propose(b"x", soon())
        await member.stop()


async def test_a_disk_that_hangs_keeps_nobody_beyond_his_deadline() -> None:
    async with trio.open_nursery() as nursery:
        store = SlowStore()
        store.let(10)
        made = Cluster(nursery)
        member = await made.add("a", store, **FAST)
        await member.raft.bootstrap(peers("a"), soon())
        await made.leader()
        while store._gate.acquire(blocking=False):
            pass
        with pytest.raises(NotWritten, match="timed out") as caught:
            await member.raft.propose(b"x", soon(0.05))
        assert caught.value.may_have_happened
        store.let(100)
        await member.stop()


def test_a_snapshot_that_the_state_machine_does_not_know_is_refused(tmp_path: Path) -> None:
    store = DiskStore(tmp_path)
    store.write([PersistTerm(1, None), PersistEntries((command(1),))])
    draft = store.draft()
    draft.write(b"abc")
    store.keep(draft, Snapshot(1, 1, SERVERS, 1, 3))
    store.close()
    store = DiskStore(tmp_path)
    with pytest.raises(UsageError, match="cannot be used: this is no snapshot"):
        LiveConsensus(RaftConfig(A, A), store, Machine(), lambda inbox: Recorder())
    store.close()


# --- on sockets -----------------------------------------------------------------------------------


@pytest.mark.live
async def test_three_servers_on_disks_and_sockets(tmp_path: Path) -> None:
    async with trio.open_nursery() as nursery:
        rafts: list[LiveConsensus] = []
        machines = [Machine() for _ in range(3)]
        addresses: list[Address] = []
        listeners = []
        for number in range(3):
            listener = socket.create_server((f"127.82.0.{number + 1}", 0))
            listeners.append(listener)
            addresses.append(Address(*listener.getsockname()[:2]))
        for number, address in enumerate(addresses):

            def transport_of(inbox: Inbox, host: str = address.host) -> RaftTransport:
                return RaftTransport(inbox, source_host=host)

            raft = LiveConsensus(
                RaftConfig(str(address), str(address)),
                DiskStore(tmp_path / str(number)),
                machines[number],
                transport_of,
            )
            rafts.append(raft)

            async def listen(
                *,
                listener: socket.socket = listeners[number],
                raft: LiveConsensus = raft,
                task_status: Any = trio.TASK_STATUS_IGNORED,  # noqa: ANN401
            ) -> None:
                assert isinstance(raft.transport, RaftTransport)
                await serve_rpc(
                    listener,
                    FakeService(),
                    RpcLimits(),
                    raft=raft.transport.serve,
                    task_status=task_status,
                )

            await nursery.start(listen)
            await nursery.start(raft.serve)
        all_peers = [RaftPeer(str(address), address) for address in addresses]
        for raft in rafts:
            await raft.bootstrap(all_peers, soon())
        with trio.fail_after(PATIENCE):
            while not any(raft.is_ready for raft in rafts):  # noqa: ASYNC110
                await trio.sleep(0.01)
        leader = next(raft for raft in rafts if raft.is_ready)
        for number in range(20):
            await leader.propose(b"%d" % number, soon())
        for machine in machines:
            assert await machine.until(20) == list(map(str, range(20)))
        nursery.cancel_scope.cancel()
