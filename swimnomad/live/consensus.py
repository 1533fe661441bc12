"""Raft at one live server: the task that owns the node, and what the rest of the agent asks of it.

One task owns the node, as one owns the gossip core: it waits on a bounded inbox until the earliest
deadline, feeds what came, then the timers that are due. What the node asks for is carried out by
`raft_effects`. A process that was stopped for a while wakes up to overdue timers and to messages
that came meanwhile: whoever reads them gets a turn first, else a follower would stand for election
although its leader was never silent.

A new leader proposes a barrier and is ready once that is applied: then it has seen everything that
was committed before.

Source: nomad-agent.md §16; nomad leader.go.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterable
from typing import Any, Final

import trio

from swimnomad.errors import OperationError, SwimnomadError, UsageError
from swimnomad.live.alarm import AlarmClock
from swimnomad.live.hub import EventHub
from swimnomad.live.inbox import Inbox
from swimnomad.live.log import Level, LogWriter
from swimnomad.live.raft_effects import EffectStream, StateMachine, Transport, read_contents
from swimnomad.live.raft_log import MODULE, RaftLog
from swimnomad.live.raft_store import RaftStore
from swimnomad.live.timers import TimerHeap
from swimnomad.names import Address, Operation, Value
from swimnomad.nomad.consensus import NotWritten, RaftPeer, RaftStatus
from swimnomad.nomad.failures import no_leader
from swimnomad.nomad.state.outcomes import Outcome
from swimnomad.raft.config import RaftConfig
from swimnomad.raft.effects import CancelTimer, Effect, Event, SetTimer
from swimnomad.raft.events import (
    BecameLeader,
    LostLeadership,
    OperationFailed,
    ProposalDone,
    ReadReady,
    TransferDone,
)
from swimnomad.raft.inputs import (
    AddServer,
    Bootstrap,
    Introduce,
    Propose,
    RaftInput,
    ReadIndex,
    RemoveServer,
    Shutdown,
    Start,
    StorageFailed,
    TimerFired,
    TransferLeadership,
)
from swimnomad.raft.log import EntryKind
from swimnomad.raft.node import RaftNode
from swimnomad.raft.proposals import NOT_LEADER
from swimnomad.raft.servers import Configuration, Server, ServerAddress, Suffrage
from swimnomad.raft.snapshot import Snapshot
from swimnomad.raft.stats import State
from swimnomad.rpc.dialling import DialFailed
from swimnomad.rpc.raft_transport import address_of

INBOX_ITEMS: Final = 4096
INBOX_BYTES: Final = 64 * 1024 * 1024
INPUTS_PER_TURN: Final = 256
"""Fed to the node, and as many timers, before anybody else gets a turn."""
LATE: Final = 0.1
"""A timer that is overdue by so many seconds says that this process did not run meanwhile."""
CATCH_UP_TURNS: Final = 100
QUIET_TURNS: Final = 3
"""After so many turns in which nothing came, all that waited has been read."""
BARRIER_TIME: Final = 60.0
"""Seconds after which a barrier that is not committed is proposed again."""
BARRIER_PAUSE: Final = 0.1
"""Seconds before that, if it was refused at once."""
DEADLINE_GRACE: Final = 1.0
"""A command whose end is not told so long after its deadline waits for a disk that hangs."""
_UNKNOWN: Final = "timed out committing log"
_STOPPED: Final = "the agent stopped before the outcome was known"

MakeTransport = Callable[[Inbox], Transport]


class LeadershipReady(Value, frozen=True):
    """This server leads and has applied all that was committed before its `term`."""

    term: int


class _BarrierRetry(Value, frozen=True):
    """Timer: propose the barrier of `term` again."""

    term: int


class _Waiter:
    """A command whose outcome somebody waits for."""

    __slots__ = ("done", "error", "result")

    def __init__(self) -> None:
        self.done = trio.Event()
        self.result: object = None
        self.error: OperationError | None = None


class LiveConsensus:
    """Raft at one server; a `nomad.consensus.Consensus`.

    Attributes:
        node: The core; observe it, feed it nothing.
        hub: Where its events go, and `LeadershipReady`.
    """

    def __init__(
        self,
        config: RaftConfig,
        store: RaftStore,
        machine: StateMachine,
        make_transport: MakeTransport,
        *,
        rng: random.Random | None = None,
        write_log: LogWriter | None = None,
        protocol: int = 2,
        on_failure: Callable[[str], None] | None = None,
    ) -> None:
        """Take up what storage holds; nothing runs yet.

        Args:
            config: Of the node.
            store: Where it keeps what it must not forget; closed when `serve` ends.
            machine: What the log is for; restored here from the newest snapshot.
            make_transport: Given the inbox, makes the way to other servers.
            rng: Draws timeouts; None for a fresh one.
            write_log: Where log lines go.
            protocol: The version of Raft's protocol, for the statistics.
            on_failure: Told when the disk failed; the node is stopped then.

        Raises:
            UsageError: What storage holds cannot be used.
        """
        self._store = store
        self._write_log = write_log
        self._protocol = protocol
        self._on_failure = on_failure
        self._numbers = itertools.count(1)
        self._waiters: dict[Operation, _Waiter] = {}
        self._barriers: dict[Operation, int] = {}
        self._timers = TimerHeap()
        self._inbox = Inbox(INBOX_ITEMS, INBOX_BYTES)
        self._leading: int | None = None
        self._ready: int | None = None
        self._is_stopped = False
        self.transport = make_transport(self._inbox)
        self.hub = EventHub()
        self._stream = EffectStream(
            store,
            machine,
            self.transport,
            post=self._inbox.post,
            emit=self._emit,
            fail=self._storage_failed,
        )
        stored = store.load()
        if stored.snapshot is not None:
            _restore(machine, store, stored.snapshot)
            self._stream.applied_index = stored.snapshot.last_index
        self.node = RaftNode(config, rng or random.Random(), stored)
        self._note: Callable[[Event], None] = lambda event: None
        if write_log is not None:
            self._note = RaftLog(write_log, trio.current_time).note

    # --- what anybody may look at -----------------------------------------------------------------

    @property
    def leads(self) -> bool:
        """Whether this server leads its region, and has said so."""
        return self._leading is not None and self.node.state is State.LEADER

    @property
    def is_ready(self) -> bool:
        """Whether, as leader, it has applied everything that was committed before."""
        return self.leads and self._ready == self._leading

    @property
    def leader(self) -> Address | None:
        """Where the leader speaks Raft; None if nobody is known to lead."""
        leader = self.node.leader
        return None if leader is None else _address(leader)

    @property
    def configuration(self) -> tuple[RaftPeer, ...]:
        """The servers that take part."""
        return tuple(
            RaftPeer(server.id, _address(server.address), server.is_voter)
            for server in self.node.configuration.servers
        )

    @property
    def status(self) -> RaftStatus:
        """How it stands."""
        stats = self.node.stats(trio.current_time())
        applied = self._stream.applied_index
        return RaftStatus(
            role=stats.state.text,  # type: ignore[arg-type]  # the texts are Nomad's
            term=stats.term,
            last_log_index=stats.last_log_index,
            last_log_term=stats.last_log_term,
            commit_index=stats.commit_index,
            applied_index=applied,
            fsm_pending=max(stats.commit_index - applied, 0),
            last_snapshot_index=stats.last_snapshot_index,
            last_snapshot_term=stats.last_snapshot_term,
            last_contact=stats.last_contact,
            protocol_version=self._protocol,
        )

    # --- what anybody may ask ---------------------------------------------------------------------

    async def propose(self, data: bytes, deadline: float) -> Outcome:
        """Have a command kept and applied; what the state machine made of it here.

        Raises:
            OperationError: It was not kept, or nobody knows.
        """
        waiter = await self._ask(lambda number: Propose(number, data, deadline), deadline)
        if isinstance(waiter.result, SwimnomadError):
            raise NotWritten(str(waiter.result), may_have_happened=False)
        return waiter.result  # type: ignore[return-value]  # as the machine gives it

    async def read_index(self, deadline: float) -> None:
        """Return when the state here is at least as new as all writes acknowledged by now.

        Raises:
            OperationError: This server does not lead, or cannot confirm that in time.
        """
        await self._ask(lambda number: ReadIndex(number, deadline), deadline)

    async def add_server(self, peer: RaftPeer, deadline: float) -> None:
        """Let a server take part, or give a known one (by id) another address or a vote.

        Raises:
            OperationError: It was not added, or nobody knows.
        """
        suffrage = Suffrage.VOTER if peer.is_voter else Suffrage.NONVOTER
        server = Server(peer.id, str(peer.address), suffrage)
        await self._ask(lambda number: AddServer(number, server, deadline), deadline)

    async def remove_server(self, server_id: str, deadline: float) -> None:
        """Let a server take part no longer.

        Raises:
            OperationError: It was not removed, or nobody knows.
        """
        await self._ask(lambda number: RemoveServer(number, server_id, deadline), deadline)

    async def transfer_leadership(self, server_id: str | None, deadline: float) -> None:
        """Let another voter lead; None lets Raft choose.

        Raises:
            OperationError: This server leads on, or nobody knows.
        """
        await self._ask(lambda number: TransferLeadership(number, server_id), deadline)

    async def bootstrap(self, peers: Iterable[RaftPeer], deadline: float) -> None:
        """Write the first configuration; every server of it writes the same.

        Raises:
            OperationError: This server has state already, or the peers make no configuration.
        """
        servers = tuple(
            Server(
                peer.id,
                str(peer.address),
                Suffrage.VOTER if peer.is_voter else Suffrage.NONVOTER,
            )
            for peer in peers
        )
        await self._ask(lambda number: Bootstrap(number, Configuration(servers)), deadline)

    def introduce(self, addresses: Iterable[Address]) -> None:
        """Tell the node which servers of the region gossip knows: all of them, each time."""
        if not self._is_stopped:
            self._inbox.post(Introduce(frozenset(map(str, addresses))))

    async def _ask(self, make: Callable[[Operation], RaftInput], deadline: float) -> _Waiter:
        """Give the node a command; its outcome, if that is a good one.

        Cancelled before the command found room in the inbox, it has not happened; later, it goes on
        without a witness.

        Raises:
            OperationError: It failed.
        """
        if self._is_stopped:
            raise no_leader()
        number = next(self._numbers)
        waiter = self._waiters[number] = _Waiter()
        is_given = False
        try:
            with trio.move_on_at(deadline + DEADLINE_GRACE):
                await self._inbox.put(make(number))
                is_given = True
                await waiter.done.wait()
        finally:
            self._waiters.pop(number, None)
        if not waiter.done.is_set():
            raise NotWritten(_UNKNOWN, may_have_happened=is_given)
        if waiter.error is not None:
            raise waiter.error
        return waiter

    # --- the owner --------------------------------------------------------------------------------

    async def serve(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run until cancelled; started once the node has had its first input.

        At the end the node is told to shut down, whoever waits gets an error, and the store is
        closed.
        """
        try:
            AlarmClock.current()
            async with trio.open_nursery() as nursery:
                await nursery.start(self.transport.run)
                self._stream.run_in(nursery)
                self._feed([Start()])
                task_status.started()
                try:
                    await self._own()
                finally:
                    self._shut_down()
        finally:
            self._stop()

    def close(self) -> None:
        """Let go of the store, if `serve` never ran."""
        self._store.close()

    async def _own(self) -> None:
        while True:
            await self._inbox.wait(self._timers.next_deadline())
            self._feed_inbox()
            now = trio.current_time()
            due = self._timers.next_deadline()
            if due > now:
                continue
            if now - due > LATE:
                await self._let_others_read()
            self._feed_timers()

    async def _let_others_read(self) -> None:
        """Feed what came while this process did not run, before timers act on its absence."""
        quiet = 0
        for _ in range(CATCH_UP_TURNS):
            await trio.lowlevel.checkpoint()
            quiet = 0 if len(self._inbox) else quiet + 1
            self._feed_inbox()
            if quiet >= QUIET_TURNS:
                return

    def _feed_inbox(self) -> None:
        waiting = []
        for _ in range(INPUTS_PER_TURN):
            incoming = self._inbox.take()
            if incoming is None:
                break
            waiting.append(incoming)
        if waiting:
            self._feed(waiting)

    def _feed_timers(self) -> None:
        now = trio.current_time()
        for _ in range(INPUTS_PER_TURN):
            timer = self._timers.pop_due(now)
            if timer is None:
                return
            if isinstance(timer, _BarrierRetry):
                self._propose_barrier(timer.term)
            else:
                self._feed([TimerFired(timer)])

    def _feed(self, inputs: list[RaftInput]) -> None:
        now = trio.current_time()
        stream: list[Effect] = []
        for effect in self.node.handle_all(inputs, now):
            if isinstance(effect, SetTimer):
                self._timers.set(effect.timer, effect.at)
            elif isinstance(effect, CancelTimer):
                self._timers.cancel(effect.timer)
            else:
                stream.append(effect)
        self._stream.add(stream)

    def _storage_failed(self, reason: str) -> None:
        self._feed([StorageFailed(reason)])
        self._give_up(f"storage failed: {reason}")
        if self._write_log is not None:
            self._write_log(Level.ERROR, MODULE, "storage failed, Raft has stopped", error=reason)
        if self._on_failure is not None:
            self._on_failure(reason)

    def _shut_down(self) -> None:
        """Tell the node, which must have been started."""
        self._stream.drop()
        self._feed([Shutdown()])

    def _stop(self) -> None:
        self._stream.drop()
        self._give_up(_STOPPED)
        self.hub.close()
        self._store.close()

    def _give_up(self, text: str) -> None:
        """Nothing is carried out any more: whoever still waits cannot know what became of it."""
        self._is_stopped = True
        self._leading = None
        self._timers.clear()
        for waiter in self._waiters.values():
            if not waiter.done.is_set():
                waiter.error = NotWritten(text, may_have_happened=True)
                waiter.done.set()

    # --- events -----------------------------------------------------------------------------------

    def _emit(self, event: Event) -> None:
        match event:
            case ProposalDone(operation, index):
                self._settle(operation, self._stream.take_result(index))
            case ReadReady(operation) | TransferDone(operation):
                self._settle(operation, None)
            case OperationFailed():
                self._fail(event)
            case BecameLeader(term):
                self._leading = term
                self._propose_barrier(term)
            case LostLeadership():
                self._leading = None
            case _:
                pass
        self._note(event)
        self._publish(event)

    def _publish(self, event: Any) -> None:  # noqa: ANN401 - cores have their own classes of events
        self.hub.publish(event)

    def _settle(self, operation: Operation, result: object) -> None:
        waiter = self._waiters.get(operation)
        if waiter is not None:
            waiter.result = result
            waiter.done.set()
        term = self._barriers.pop(operation, None)
        if term is not None:
            self._barrier_passed(term)

    def _fail(self, event: OperationFailed) -> None:
        term = self._barriers.pop(event.operation, None)
        if term is not None:
            self._timers.set(_BarrierRetry(term), trio.current_time() + BARRIER_PAUSE)
        waiter = self._waiters.get(event.operation)
        if waiter is None:
            return
        if event.text == NOT_LEADER and not event.may_have_happened:
            waiter.error = no_leader()
        else:
            waiter.error = NotWritten(event.text, may_have_happened=event.may_have_happened)
        waiter.done.set()

    def _propose_barrier(self, term: int) -> None:
        """See to it that the leader of `term` becomes ready."""
        if self._leading == term and not self._is_stopped:
            number = next(self._numbers)
            self._barriers[number] = term
            deadline = trio.current_time() + BARRIER_TIME
            self._inbox.post(Propose(number, b"", deadline, EntryKind.BARRIER))

    def _barrier_passed(self, term: int) -> None:
        if self._leading == term:
            self._ready = term
            self._publish(LeadershipReady(term))


def _restore(machine: StateMachine, store: RaftStore, snapshot: Snapshot) -> None:
    try:
        machine.restore(read_contents(store, snapshot))
    except (OSError, SwimnomadError) as error:
        raise UsageError(f"the snapshot at {snapshot.last_index} cannot be used: {error}") from None


def _address(server: ServerAddress) -> Address:
    """The address of a server of a configuration, whatever stands there."""
    try:
        return address_of(server)
    except DialFailed:
        return Address(server, 0)
