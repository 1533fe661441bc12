"""Raft nodes joined by bad links, each on a disk that takes its time, in virtual time.

The smallest driver there can be: a heap of (time, sequence, action). It keeps the one promise that
the core asks for, the order of effects, and otherwise does its worst: requests and answers are
lost, doubled, late and out of order, writes are slow, and a crash loses what was not yet written,
or half of it. What it watches is in `raft_invariants`.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, assert_never

from swimnomad.names import Operation
from swimnomad.raft.config import RaftConfig
from swimnomad.raft.effects import (
    Answer,
    Apply,
    CancelTimer,
    DiscardSnapshot,
    Effect,
    Emit,
    Persist,
    PersistCompaction,
    PersistEntries,
    PersistSnapshot,
    PersistTerm,
    PersistTruncation,
    ReceiveSnapshot,
    Restore,
    Send,
    SetTimer,
    TakeSnapshot,
)
from swimnomad.raft.events import (
    OperationFailed,
    ProposalDone,
    ReadReady,
    TransferDone,
)
from swimnomad.raft.inputs import (
    AddServer,
    Bootstrap,
    Failure,
    Introduce,
    PromoteServer,
    Propose,
    RaftInput,
    ReadIndex,
    RemoveServer,
    ReplyReceived,
    RequestFailed,
    RequestReceived,
    SnapshotNotReceived,
    SnapshotReceived,
    SnapshotTaken,
    Start,
    StorageFailed,
    Ticket,
    TimerFired,
    TransferLeadership,
)
from swimnomad.raft.log import LogEntry, MemoryLog
from swimnomad.raft.messages import InstallSnapshot, Reply
from swimnomad.raft.node import RaftNode
from swimnomad.raft.servers import Configuration, Server, Suffrage
from swimnomad.raft.snapshot import Snapshot
from swimnomad.raft.stats import State
from swimnomad.raft.stored import Stored
from swimnomad.raft.timers import Timer
from tests.raft.raft_invariants import GENESIS, Invariants, digest

Sabotage = Callable[[RaftNode], None]
"""Breaks a rule of a node that was just made."""

RPC_TIMEOUT = 0.8
"""Seconds until the driver reports a request without answer as lost."""


def address_of(number: int) -> str:
    return f"10.0.0.{number}:4647"


class Disk:
    """What outlives a crash."""

    def __init__(self) -> None:
        self.term = 0
        self.voted_for: str | None = None
        self.base = 0
        self.entries: list[LogEntry] = []
        self.snapshot: Snapshot | None = None
        self.contents = GENESIS

    def write(self, effect: Persist, staged: dict[Ticket, int]) -> None:
        match effect:
            case PersistTerm(term, voted_for):
                self.term, self.voted_for = term, voted_for
            case PersistEntries(entries):
                assert entries[0].index == self.base + len(self.entries) + 1, "a gap in the log"
                self.entries += entries
            case PersistTruncation(first):
                del self.entries[max(first - self.base - 1, 0) :]
            case PersistCompaction(last):
                if last > self.base:
                    del self.entries[: last - self.base]
                    self.base = last
            case PersistSnapshot(ticket, snapshot):
                self.snapshot, self.contents = snapshot, staged.pop(ticket)
            case _:
                assert_never(effect)

    def stored(self) -> Stored:
        log = MemoryLog(self.entries, self.base)
        return Stored(self.term, self.voted_for, log, self.snapshot)


class Host:
    """A server: its disk, and while it is up its core, state machine and unfinished effects."""

    def __init__(self, world: RaftWorld, number: int) -> None:
        self.world = world
        self.address = address_of(number)
        self.disk = Disk()
        self.node: RaftNode | None = None
        self.life = 0
        self.applied = 0
        self.state = GENESIS
        self.staged: dict[Ticket, int] = {}
        self.queue: deque[tuple[Effect, int]] = deque()
        self.writing: list[Persist] = []
        self.timers: dict[Timer, int] = {}
        self.unanswered: set[int] = set()
        self.tickets: dict[Ticket, tuple[Host, int, int, int]] = {}
        self.disk_delay = 0.0

    # --- life -------------------------------------------------------------------------------------

    def start(self) -> None:
        world = self.world
        self.life += 1
        world.invariants.note_disk_term(self.address, self.disk.term)
        config = RaftConfig(id=self.address, address=self.address, **world.settings)
        rng = random.Random(f"{world.seed}/{self.address}/{self.life}")
        self.node = RaftNode(config, rng, self.disk.stored())
        if world.sabotage is not None:
            world.sabotage(self.node)
        self.state = self.disk.contents
        self.applied = 0 if self.disk.snapshot is None else self.disk.snapshot.last_index
        self.feed(Start())
        if world.introduces:
            self.feed(Introduce(frozenset(world.hosts)))

    def crash(self) -> None:
        """Lose all that is not on disk; of what is being written some may have got there."""
        if self.writing and self.world.rng.random() < 0.5:
            count = self.world.rng.randrange(len(self.writing) + 1)
            for effect in self.writing[:count]:
                self._write(effect)
            if count < len(self.writing):
                torn = self.writing[count]
                if isinstance(torn, PersistEntries) and len(torn.entries) > 1:
                    part = self.world.rng.randrange(1, len(torn.entries))
                    self._write(PersistEntries(torn.entries[:part]))
        self.node = None
        self.life += 1
        self.queue.clear()
        self.writing = []
        self.timers.clear()
        self.unanswered.clear()
        self.tickets.clear()
        self.staged.clear()

    def fail_storage(self) -> None:
        """The disk takes nothing more: what was not written, and all behind it, never happens."""
        self.writing = []
        self.queue.clear()
        self.disk_delay = 0.0
        self.feed(StorageFailed("no space left on device"))

    @property
    def is_leader(self) -> bool:
        return self.node is not None and self.node.state is State.LEADER

    # --- inputs and effects -----------------------------------------------------------------------

    def feed(self, *incoming: RaftInput) -> None:
        node = self.node
        if node is None:
            return
        effects = node.handle_all(incoming, self.world.now)
        term = node.term
        self.queue.extend((effect, term) for effect in effects)
        self.world.invariants.look_at(self.address, node, self.life)
        self._pump()

    def _pump(self) -> None:
        """Carry out effects in order, up to one that has to wait for the disk."""
        queue = self.queue
        while queue and not self.writing:
            effect, term = queue.popleft()
            if not isinstance(effect, Persist):
                self._carry_out(effect, term)
                continue
            if not self.disk_delay:
                self._write(effect)
                continue
            self.writing = [effect]
            while queue and isinstance(queue[0][0], Persist):
                self.writing.append(queue.popleft()[0])  # type: ignore[arg-type]
            self._later(self.disk_delay * self.world.rng.uniform(0.5, 1.5), self._written)

    def _later(self, delay: float, action: Callable[[], None]) -> None:
        """Do it unless the server has crashed by then."""
        life = self.life

        def act() -> None:
            if self.life == life:
                action()

        self.world.after(delay, act)

    def _written(self) -> None:
        writing, self.writing = self.writing, []
        for effect in writing:
            self._write(effect)
        self._pump()

    def _write(self, effect: Persist) -> None:
        if isinstance(effect, PersistEntries):
            self.world.invariants.note_written(self.address, self.disk, effect.entries)
        self.disk.write(effect, self.staged)
        self.world.invariants.note_disk_term(self.address, self.disk.term)

    def _carry_out(self, effect: Effect, term: int) -> None:
        world = self.world
        match effect:
            case Send():
                world.invariants.note_sent(self.address, effect.request)
                world.send(self, effect)
            case Answer(ticket, reply):
                world.invariants.note_answered(self.address, reply, world.candidate_of(ticket))
                self._answer(ticket, reply)
            case SetTimer(timer, at):
                world.token += 1
                self.timers[timer] = world.token
                world.at(at, self, timer)
            case CancelTimer(timer):
                self.timers.pop(timer, None)
            case Apply(entries):
                self._apply(entries, term)
            case Restore(snapshot):
                assert self.disk.snapshot == snapshot
                self.state, self.applied = self.disk.contents, snapshot.last_index
                world.invariants.note_restored(self.address, self.applied, self.state)
            case TakeSnapshot(snapshot):
                assert snapshot.last_index == self.applied
                contents = self.state
                self._later(
                    0.01 + self.disk_delay, lambda: self._snapshot_taken(snapshot, contents)
                )
            case ReceiveSnapshot(ticket, snapshot):
                self._later(world.latency(), lambda: self._receive(ticket, snapshot))
            case DiscardSnapshot(ticket):
                self.staged.pop(ticket, None)
            case Emit(event):
                world.on_event(self, event)
            case _:
                raise AssertionError(f"{effect} is to be written, not carried out")

    def _apply(self, entries: Iterable[LogEntry], term: int) -> None:
        for entry in entries:
            self.state = digest(self.state, entry)
            self.world.invariants.note_applied(self.address, self.applied, entry, self.state, term)
            self.applied = entry.index

    def _snapshot_taken(self, snapshot: Snapshot, contents: int) -> None:
        held = self.disk.snapshot
        if held is None or held.last_index < snapshot.last_index:
            full = Snapshot(
                snapshot.last_index,
                snapshot.last_term,
                snapshot.configuration,
                snapshot.configuration_index,
                size=8,
            )
            self.disk.snapshot, self.disk.contents = full, contents
            self.feed(SnapshotTaken(full))
        else:
            self.feed(SnapshotTaken(snapshot))

    def _receive(self, ticket: Ticket, snapshot: Snapshot) -> None:
        contents = self.world.contents_of(ticket)
        if contents is None or self.world.rng.random() < self.world.loss:
            self.feed(SnapshotNotReceived(ticket, "connection reset"))
            return
        self.staged[ticket] = contents
        self.feed(SnapshotReceived(ticket))

    def _answer(self, ticket: Ticket, reply: Reply) -> None:
        asker = self.tickets.pop(ticket, None)
        if asker is not None:
            host, life, number, _ = asker
            self.world.reply(self, host, life, number, reply)


class RaftWorld:
    """Servers, links, and what they are asked to do.

    Attributes:
        loss: Share of requests and answers lost.
        doubling: Share of requests that arrive twice.
        delay: Longest latency of a message in seconds.
        blocked: Pairs (from, to) that do not reach each other.
    """

    def __init__(
        self,
        seed: object = 1,
        *,
        sabotage: Sabotage | None = None,
        introduces: bool = True,
        invariants: Invariants | None = None,
        **settings: Any,  # noqa: ANN401 - settings by name
    ) -> None:
        self.seed = seed
        self.rng = random.Random(f"{seed}/world")
        self.sabotage = sabotage
        self.introduces = introduces
        self.settings = settings
        self.invariants = Invariants() if invariants is None else invariants
        self.now = 0.0
        self.hosts: dict[str, Host] = {}
        self.loss = 0.0
        self.doubling = 0.0
        self.delay = 0.002
        self.supports_pre_vote = True
        self.keeps_timeouts = True
        self.blocked: set[tuple[str, str]] = set()
        self.outcomes: dict[Operation, ProposalDone | ReadReady | TransferDone | OperationFailed]
        self.outcomes = {}
        self.events: list[tuple[float, str, object]] = []
        self.keeps_events = True
        self.token = 0
        self._heap: list[tuple[float, int, Any, Any, int, int]] = []
        self._sequence = itertools.count()
        self._operations = itertools.count(1)
        self._tickets = itertools.count(1)
        self._contents: dict[Ticket, int] = {}
        self._candidates: dict[Ticket, Any] = {}

    # --- building ---------------------------------------------------------------------------------

    def add_host(self) -> Host:
        host = Host(self, len(self.hosts) + 1)
        self.hosts[host.address] = host
        return host

    def build(self, size: int, spare: int = 0) -> None:
        """Servers of a region, bootstrapped all alike, and some that may join."""
        for _ in range(size + spare):
            self.add_host()
        first = list(self.hosts.values())[:size]
        configuration = Configuration(tuple(Server(h.address, h.address) for h in first))
        for host in self.hosts.values():
            host.start()
        for host in first:
            host.feed(Bootstrap(next(self._operations), configuration))

    # --- time -------------------------------------------------------------------------------------

    def after(self, delay: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._heap, (self.now + delay, next(self._sequence), action, None, 0, 0))

    def at(self, at: float, host: Host, timer: Timer) -> None:
        """A timer of the host's present life."""
        item = (max(at, self.now), next(self._sequence), host, timer, self.token, host.life)
        heapq.heappush(self._heap, item)

    def step(self) -> bool:
        """Do the next thing; whether there was one."""
        if not self._heap:
            return False
        self.now, _, action, timer, token, life = heapq.heappop(self._heap)
        if timer is None:
            action()
        elif action.life == life and action.timers.get(timer) == token:
            del action.timers[timer]
            action.feed(TimerFired(timer))
        return True

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while self._heap and self._heap[0][0] <= end:
            self.step()
        self.now = end

    def run_until(self, condition: Callable[[], bool], seconds: float) -> None:
        end = self.now + seconds
        while not condition():
            assert self._heap, "nothing happens any more"
            assert self._heap[0][0] <= end, f"not within {seconds} s"
            self.step()

    # --- links ------------------------------------------------------------------------------------

    def latency(self) -> float:
        return self.delay * self.rng.random()

    def _passes(self, source: str, to: str) -> bool:
        return (source, to) not in self.blocked and self.rng.random() >= self.loss

    def send(self, source: Host, effect: Send) -> None:
        number = effect.number
        source.unanswered.add(number)
        life = source.life
        if self.keeps_timeouts:
            self.after(RPC_TIMEOUT, lambda: self._fail(source, life, number, Failure.LOST))
        to = self.hosts.get(effect.to)
        if to is None or to.node is None:
            unreachable = Failure.UNREACHABLE
            self.after(self.latency(), lambda: self._fail(source, life, number, unreachable))
            return
        if type(effect.request).__name__ == "PreVote" and not self.supports_pre_vote:
            unsupported = Failure.UNSUPPORTED
            self.after(self.latency(), lambda: self._fail(source, life, number, unsupported))
            return
        contents: int | None = None
        if isinstance(effect.request, InstallSnapshot):
            held = source.disk.snapshot
            if held != effect.request.snapshot:
                self.after(0.0, lambda: self._fail(source, life, number, Failure.LOST))
                return
            contents = source.disk.contents
        copies = 2 if self.rng.random() < self.doubling else 1
        for _ in range(copies):
            if self._passes(source.address, to.address):
                self.after(
                    self.latency(),
                    lambda: self._deliver(source, life, number, to, effect, contents),
                )

    def _deliver(
        self, source: Host, life: int, number: int, to: Host, effect: Send, contents: int | None
    ) -> None:
        if to.node is None:
            return
        ticket = Ticket(next(self._tickets))
        to.tickets[ticket] = (source, life, number, 0)
        if contents is not None:
            self._contents[ticket] = contents
        self._candidates[ticket] = effect.request
        to.feed(RequestReceived(ticket, effect.request, source.address))

    def candidate_of(self, ticket: Ticket) -> object:
        return self._candidates.pop(ticket, None)

    def contents_of(self, ticket: Ticket) -> int | None:
        return self._contents.pop(ticket, None)

    def reply(self, source: Host, to: Host, life: int, number: int, reply: Reply) -> None:
        if self._passes(source.address, to.address):
            self.after(self.latency(), lambda: self._deliver_reply(to, life, number, reply))

    def _deliver_reply(self, to: Host, life: int, number: int, reply: Reply) -> None:
        if to.life == life and number in to.unanswered:
            to.unanswered.discard(number)
            to.feed(ReplyReceived(number, reply))

    def _fail(self, source: Host, life: int, number: int, failure: Failure) -> None:
        if source.life == life and number in source.unanswered:
            source.unanswered.discard(number)
            source.feed(RequestFailed(number, failure))

    def partition(self, side: Iterable[str]) -> None:
        """Nobody of one side reaches anybody of the other."""
        inside = set(side)
        for a in self.hosts:
            for b in self.hosts:
                if (a in inside) != (b in inside):
                    self.blocked.add((a, b))

    def heal(self) -> None:
        self.blocked.clear()
        self.loss = self.doubling = 0.0
        self.delay = 0.002
        for host in self.hosts.values():
            host.disk_delay = 0.0

    # --- commands ---------------------------------------------------------------------------------

    def leader(self) -> Host | None:
        """The leader of the newest term, if somebody believes to be one."""
        leaders = [host for host in self.hosts.values() if host.is_leader]
        return max(leaders, key=lambda h: h.node.term if h.node else 0, default=None)

    def await_leader(self, seconds: float = 20.0) -> Host:
        """Wait until a leader has committed something in its term."""

        def is_ready() -> bool:
            host = self.leader()
            return (
                host is not None
                and host.node is not None
                and host.node.commit_index >= host.node._context.term_start
            )

        self.run_until(is_ready, seconds)
        host = self.leader()
        assert host is not None
        return host

    def propose(self, host: Host, data: bytes | None = None, patience: float = 3.0) -> int:
        operation = next(self._operations)
        data = b"op%d" % operation if data is None else data
        self.invariants.note_proposed(operation, data)
        host.feed(Propose(operation, data, self.now + patience))
        return operation

    def read(self, host: Host, patience: float = 3.0) -> int:
        operation = next(self._operations)
        self.invariants.note_read(operation)
        host.feed(ReadIndex(operation, self.now + patience))
        return operation

    def add_server(
        self, host: Host, server: str, suffrage: Suffrage = Suffrage.VOTER, patience: float = 3.0
    ) -> int:
        operation = next(self._operations)
        host.feed(AddServer(operation, Server(server, server, suffrage), self.now + patience))
        return operation

    def remove_server(self, host: Host, server: str, patience: float = 3.0) -> int:
        operation = next(self._operations)
        host.feed(RemoveServer(operation, server, self.now + patience))
        return operation

    def promote(self, host: Host, server: str, patience: float = 3.0) -> int:
        operation = next(self._operations)
        host.feed(PromoteServer(operation, server, self.now + patience))
        return operation

    def transfer(self, host: Host, target: str | None = None) -> int:
        operation = next(self._operations)
        host.feed(TransferLeadership(operation, target))
        return operation

    def on_event(self, host: Host, event: object) -> None:
        if self.keeps_events:
            self.events.append((self.now, host.address, event))
        match event:
            case ProposalDone() | ReadReady() | TransferDone() | OperationFailed():
                assert event.operation not in self.outcomes, f"{event} is reported twice"
                self.outcomes[event.operation] = event
                self.invariants.note_outcome(event, host.applied)
            case _:
                pass

    def done(self, operation: int) -> ProposalDone:
        outcome = self.outcomes[operation]
        assert isinstance(outcome, ProposalDone), outcome
        return outcome

    def of(self, kind: type[Any], address: str | None = None) -> list[Any]:
        """Announced events of a kind."""
        return [
            event
            for _, source, event in self.events
            if isinstance(event, kind) and address in (None, source)
        ]

    # --- what holds once all is well --------------------------------------------------------------

    def has_converged(self) -> bool:
        """Whether one leads, and all that are in its configuration have applied the same."""
        leader = self.leader()
        if leader is None or leader.node is None:
            return False
        if leader.node.commit_index != leader.node.log.last_index:
            return False
        for server in leader.node.configuration.servers:
            host = self.hosts[server.address]
            if host.applied != leader.applied or host.state != leader.state:
                return False
        return leader.applied == leader.node.commit_index
