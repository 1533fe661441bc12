"""What the parts of a node share: its settings, its state, and the effects they ask for.

A part never makes I/O and never keeps time: it reads `now`, changes the shared state, and asks for
effects through the methods here. Two kinds of writing are put off until something depends on them:
a term that was taken over and then voted in is made durable once, and entries of several proposals
are. Every method that lets peers know anything makes up for the term first; events do not.
"""

from __future__ import annotations

import random

from swimnomad.names import Operation
from swimnomad.raft.config import RaftConfig
from swimnomad.raft.configurations import Configurations
from swimnomad.raft.effects import (
    Answer,
    CancelTimer,
    Effect,
    Emit,
    Event,
    PersistCompaction,
    PersistEntries,
    PersistTerm,
    PersistTruncation,
    Send,
    SetTimer,
)
from swimnomad.raft.events import (
    ConfigurationChanged,
    LeaderChanged,
    OperationFailed,
    RequestRefused,
)
from swimnomad.raft.inputs import Ticket
from swimnomad.raft.log import EntryKind, LogEntry
from swimnomad.raft.messages import Refusal, Reply, Request
from swimnomad.raft.servers import Configuration, ServerAddress
from swimnomad.raft.stats import State
from swimnomad.raft.stored import Stored
from swimnomad.raft.timers import Timer

REASON_CHARS_MAX = 400
"""A reason may quote what a peer sent; logs must not grow with it."""


class Outgoing:
    """A request of ours that waits for its answer.

    Attributes:
        to: Whom we asked.
        kind: What we asked.
        term: The term in which we did.
        previous: Of entries: the index before them; of a snapshot: its last index.
        last: Index that the receiver has reached if it says yes.
        at: When we asked.
        round: Of heartbeats: the round they belong to.
        commit: Of entries: up to here the receiver learns that they are committed.
    """

    __slots__ = ("at", "commit", "kind", "last", "previous", "round", "term", "to")

    def __init__(
        self, to: ServerAddress, request: Request, term: int, at: float, previous: int, last: int
    ) -> None:
        self.to = to
        self.kind = type(request)
        self.term = term
        self.at = at
        self.previous = previous
        self.last = last
        self.round = 0
        self.commit = 0


class Context:
    """The shared state of one node.

    Attributes:
        now: The node's clock (seconds) while an input is handled.
        effects: Asked for so far while an input is handled.
        term: The current term; durable, or made so before anybody hears of it.
        voted_for: Whom we voted for in it.
        state: What we are; `elections` alone moves it.
        leader: Who leads the current term as far as we hear.
        last_contact: When we heard the leader last; None: never yet.
        commit_index: All up to here is committed and was handed out to be applied.
        term_start: As leader: index of the noop entry of our term.
        in_flight: Our requests that wait for an answer, by number.
    """

    def __init__(self, config: RaftConfig, rng: random.Random, stored: Stored) -> None:
        self.config = config
        self.rng = rng
        self.log = stored.log
        self.snapshot = stored.snapshot
        self.term = stored.term
        self.voted_for = stored.voted_for
        self.configurations = Configurations(config.id)
        self.introduced: frozenset[ServerAddress] = frozenset()
        self.state = State.FOLLOWER
        self.leader: ServerAddress | None = None
        self.last_contact: float | None = None
        self.commit_index = 0
        self.term_start = 0
        self.in_flight: dict[int, Outgoing] = {}
        self.counters: dict[str, int] = {}
        self.effects: list[Effect] = []
        self.now = 0.0
        self._timers: dict[Timer, None] = {}
        self._number = 0
        self._is_term_unwritten = False
        self._unwritten: list[LogEntry] = []

    # --- effects ----------------------------------------------------------------------------------

    def emit(self, event: Event) -> None:
        """Announce an event."""
        self.effects.append(Emit(event))

    def fail(self, operation: Operation, text: str, *, may_have_happened: bool = False) -> None:
        """Announce that a command failed."""
        self.emit(OperationFailed(operation, text, may_have_happened))

    def set_timer(self, timer: Timer, at: float) -> None:
        """Arm a timer."""
        self._timers[timer] = None
        self.effects.append(SetTimer(timer, at))

    def cancel_timer(self, timer: Timer) -> None:
        """Disarm a timer."""
        if timer in self._timers:
            del self._timers[timer]
            self.effects.append(CancelTimer(timer))

    def cancel_timers(self) -> None:
        """Disarm all."""
        for timer in list(self._timers):
            self.cancel_timer(timer)

    def is_armed(self, timer: Timer) -> bool:
        """Whether a timer is armed."""
        return timer in self._timers

    def note_fired(self, timer: Timer) -> None:
        """The timer has fired and is armed no more."""
        self._timers.pop(timer, None)

    def stretch(self, seconds: float) -> float:
        """One to two times as long, at random: so that servers do not act in step."""
        return seconds * (1.0 + self.rng.random())

    def send(
        self, to: ServerAddress, request: Request, previous: int = 0, last: int = 0
    ) -> tuple[int, Outgoing]:
        """Ask a peer; the number of the request and what we note of it."""
        self.write_term()
        self._number += 1
        outgoing = Outgoing(to, request, self.term, self.now, previous, last)
        self.in_flight[self._number] = outgoing
        self.effects.append(Send(to, request, self._number))
        return self._number, outgoing

    def answer(self, ticket: Ticket, reply: Reply) -> None:
        """Answer a peer."""
        self.write_term()
        self.effects.append(Answer(ticket, reply))

    def refuse(self, sender: str, request: Request, reason: str) -> None:
        """Announce and count a request that is not carried out."""
        kind = type(request).__name__
        self.count(f"refused.{kind}")
        self.emit(RequestRefused(sender[:REASON_CHARS_MAX], kind, reason[:REASON_CHARS_MAX]))

    def reject(self, ticket: Ticket, sender: str, request: Request, reason: str) -> None:
        """Refuse a request that no correct peer makes: it is not even told our term."""
        self.refuse(sender, request, reason)
        self.answer(ticket, Refusal(reason[:REASON_CHARS_MAX]))

    def count(self, counter: str, by: int = 1) -> None:
        """Add to a counter."""
        self.counters[counter] = self.counters.get(counter, 0) + by

    # --- what is to become durable ----------------------------------------------------------------

    def set_term(self, term: int, voted_for: ServerAddress | None) -> None:
        """Change term or vote; written before anything else is said."""
        assert term >= self.term
        if (term, voted_for) != (self.term, self.voted_for):
            # What waits belongs to the old term; what comes later stands behind the new one.
            self.write_entries()
            self.term, self.voted_for = term, voted_for
            self._is_term_unwritten = True

    def write_term(self) -> None:
        """Ask for term and vote to be made durable, if they changed."""
        if self._is_term_unwritten:
            self._is_term_unwritten = False
            self.effects.append(PersistTerm(self.term, self.voted_for))

    def append(self, entries: list[LogEntry]) -> None:
        """Append to the log; written by `write_entries`."""
        self.log.append(entries)
        self._unwritten += entries
        if self.configurations.note(entries):
            self._emit_configuration()

    def append_own(
        self, kind: EntryKind, data: bytes = b"", configuration: Configuration | None = None
    ) -> int:
        """As leader: append one entry of our term; its index."""
        index = self.log.last_index + 1
        self.append([LogEntry(index, self.term, kind, data, configuration)])
        return index

    def write_entries(self) -> None:
        """Ask for the appended entries to be made durable."""
        if self._unwritten:
            entries, self._unwritten = tuple(self._unwritten), []
            self.write_term()
            self.effects.append(PersistEntries(entries))

    def drop_unwritten(self) -> None:
        """Storage has failed: what was not asked for yet never will be."""
        self._is_term_unwritten = False
        self._unwritten.clear()

    def truncate(self, first: int) -> None:
        """Take the entries from `first` on out of the log, here and on disk."""
        assert first > self.commit_index, f"entry {first} is committed"
        self.write_entries()
        self.log.truncate(first)
        self.effects.append(PersistTruncation(first))
        if self.configurations.truncate(first):
            self._emit_configuration()

    def compact(self, last: int) -> None:
        """Take the entries up to `last` out of the log, here and on disk."""
        self.write_entries()
        self.log.compact(last)
        self.effects.append(PersistCompaction(last))

    def _emit_configuration(self) -> None:
        known = self.configurations
        self.emit(ConfigurationChanged(known.latest, known.latest_index, False))

    # --- reading ----------------------------------------------------------------------------------

    def term_at(self, index: int) -> int | None:
        """Term of the entry at `index`, also of the last in the snapshot; None if not held."""
        if index == 0:
            return 0
        term = self.log.term_at(index)
        if term is None and self.snapshot is not None and self.snapshot.last_index == index:
            return self.snapshot.last_term
        return term

    @property
    def last_term(self) -> int:
        """Term of the last entry."""
        term = self.term_at(self.log.last_index)
        assert term is not None, "the log ends where no snapshot does"
        return term

    @property
    def hears_leader(self) -> bool:
        """Whether somebody leads, as far as a voter may not help to depose it."""
        if self.state is State.LEADER:
            return True
        return (
            self.leader is not None
            and self.last_contact is not None
            and self.now - self.last_contact < self.config.heartbeat_timeout
        )

    def set_leader(self, leader: ServerAddress | None, *, is_new_term: bool = False) -> None:
        """Note who leads."""
        if leader != self.leader or (is_new_term and leader is not None):
            self.leader = leader
            self.emit(LeaderChanged(leader, self.term))
