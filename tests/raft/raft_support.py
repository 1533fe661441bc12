"""One Raft node under test: builders with good defaults, and its effects by kind."""

from __future__ import annotations

import random
from typing import Any, TypeVar

from swimnomad.raft.config import RaftConfig
from swimnomad.raft.effects import Answer, Apply, CancelTimer, Effect, Emit, Event, Send, SetTimer
from swimnomad.raft.inputs import (
    Failure,
    RaftInput,
    ReplyReceived,
    RequestFailed,
    RequestReceived,
    Start,
    Ticket,
    TimerFired,
)
from swimnomad.raft.log import EntryKind, LogEntry, MemoryLog
from swimnomad.raft.messages import (
    AppendEntries,
    AppendEntriesReply,
    PreVoteReply,
    Reply,
    Request,
    RequestVote,
    RequestVoteReply,
)
from swimnomad.raft.node import RaftNode
from swimnomad.raft.servers import Configuration, Server, Suffrage
from swimnomad.raft.snapshot import Snapshot
from swimnomad.raft.stats import State
from swimnomad.raft.stored import Stored
from swimnomad.raft.timers import ElectionTimeout, Timer

E = TypeVar("E", bound=Event)
F = TypeVar("F")


def servers(names: str, nonvoters: str = "") -> Configuration:
    """One server for each letter, called by it."""
    return Configuration(
        tuple(
            Server(name, name, Suffrage.NONVOTER if name in nonvoters else Suffrage.VOTER)
            for name in names + nonvoters
        )
    )


def entry(index: int, term: int, data: bytes = b"") -> LogEntry:
    return LogEntry(index, term, EntryKind.COMMAND, data)


def configuration_entry(index: int, term: int, names: str) -> LogEntry:
    return LogEntry(index, term, EntryKind.CONFIGURATION, configuration=servers(names))


def log_of(names: str, *terms: int) -> list[LogEntry]:
    """A log that begins with a configuration at index 1, then one command for each term."""
    first = configuration_entry(1, 1, names)
    return [first, *(entry(index, term) for index, term in enumerate(terms, 2))]


class Rig:
    """A started node called `a`, its clock, and what it did with the last input."""

    def __init__(
        self,
        names: str = "abc",
        *terms: int,
        term: int | None = None,
        voted_for: str | None = None,
        entries: list[LogEntry] | None = None,
        snapshot: Snapshot | None = None,
        **settings: Any,  # noqa: ANN401 - settings by name
    ) -> None:
        if entries is None:
            entries = log_of(names, *terms) if names else []
        base = snapshot.last_index if snapshot and not entries else None
        if term is None:
            term = max((e.term for e in entries), default=snapshot.last_term if snapshot else 0)
        config = RaftConfig(id="a", address="a", **settings)
        stored = Stored(term, voted_for, MemoryLog(entries, base), snapshot)
        self.node = RaftNode(config, random.Random("rig"), stored)
        self.now = 100.0
        self.effects: list[Effect] = []
        self.timers: dict[Timer, float] = {}
        self._tickets = 0
        self.feed(Start())

    # --- feeding ----------------------------------------------------------------------------------

    def feed(self, *incoming: RaftInput) -> list[Effect]:
        self.effects = self.node.handle_all(incoming, self.now)
        for effect in self.effects:
            if isinstance(effect, SetTimer):
                self.timers[effect.timer] = effect.at
            elif isinstance(effect, CancelTimer):
                self.timers.pop(effect.timer, None)
        return self.effects

    def fire(self, kind: type[Timer]) -> list[Effect]:
        """Wait for the next timer of a kind and fire it."""
        timer = min((t for t in self.timers if isinstance(t, kind)), key=self.timers.__getitem__)
        self.now = max(self.now, self.timers.pop(timer))
        return self.feed(TimerFired(timer))

    def ask(self, request: Request, source: str = "") -> Reply | None:
        """A peer asks; the answer, if it comes at once."""
        self._tickets += 1
        ticket = Ticket(self._tickets)
        self.feed(RequestReceived(ticket, request, source))
        answers = [effect for effect in self.of(Answer) if effect.ticket == ticket]
        return answers[0].reply if answers else None

    def answer(self, number: int, reply: Reply) -> list[Effect]:
        return self.feed(ReplyReceived(number, reply))

    def fail(self, number: int, failure: Failure = Failure.LOST, reason: str = "") -> list[Effect]:
        return self.feed(RequestFailed(number, failure, reason))

    def append(
        self, leader: str, term: int, previous: tuple[int, int], *entries: LogEntry, commit: int = 0
    ) -> Reply | None:
        """A leader sends entries behind (index, term)."""
        return self.ask(AppendEntries(term, leader, *previous, entries, commit))

    def state(self) -> State:
        """What the node is. A method, since type checkers believe that attributes stay."""
        return self.node.state

    # --- reading back -----------------------------------------------------------------------------

    def of(self, kind: type[F]) -> list[F]:
        """The last effects of one kind."""
        return [effect for effect in self.effects if isinstance(effect, kind)]

    def events(self, kind: type[E]) -> list[E]:
        """The last events of one kind."""
        return [e.event for e in self.of(Emit) if isinstance(e.event, kind)]

    def sent(self, kind: type[F]) -> dict[str, tuple[int, F]]:
        """The last requests of one kind: number and request, by receiver; the last to each."""
        return {e.to: (e.number, e.request) for e in self.of(Send) if isinstance(e.request, kind)}

    def appends(self) -> dict[str, tuple[int, AppendEntries]]:
        """The last messages with entries (or none): not the heartbeats."""
        return {
            e.to: (e.number, e.request)
            for e in self.of(Send)
            if isinstance(e.request, AppendEntries) and e.request.entries is not None
        }

    def heartbeats(self) -> dict[str, tuple[int, AppendEntries]]:
        return {
            e.to: (e.number, e.request)
            for e in self.of(Send)
            if isinstance(e.request, AppendEntries) and e.request.entries is None
        }

    def applied(self) -> list[int]:
        """Indexes of the entries last handed out to be applied."""
        return [e.index for effect in self.of(Apply) for e in effect.entries]

    # --- getting there ----------------------------------------------------------------------------

    def time_out(self) -> list[Effect]:
        """Let the election timeout pass."""
        return self.fire(ElectionTimeout)

    def grant(self, voter: str, *, pre: bool = False) -> list[Effect]:
        """A voter grants what it was last asked for."""
        (number,) = [e.number for e in self.of(Send) if e.to == voter]
        reply = PreVoteReply(self.node.term, True) if pre else None
        return self.answer(number, reply or RequestVoteReply(self.node.term, True))

    def become_leader(self, voters: str = "b") -> None:
        """Be elected by these; the first messages as leader are the last effects."""
        self.time_out()
        for kind in (PreVoteReply, RequestVoteReply):
            sent = {e.to: e.number for e in self.of(Send)}
            for voter in voters:
                self.answer(sent[voter], kind(self.node.term, True))
        assert self.node.state is State.LEADER
        self.first = self.appends()

    def settle(self, followers: str = "bc") -> None:
        """As leader: have these followers take all that is sent, until all is done."""
        pending = dict(self.first) if hasattr(self, "first") else self.appends()
        for _ in range(20):
            effects: dict[str, tuple[int, AppendEntries]] = {}
            for to, (number, request) in pending.items():
                if to in followers:
                    self.yes(number, request)
                    effects.update(self.appends())
            pending = effects
            if not pending:
                return

    def yes(self, number: int, request: AppendEntries) -> list[Effect]:
        """A follower has taken a message."""
        last = request.previous_index + len(request.entries or ())
        return self.answer(number, AppendEntriesReply(self.node.term, last, True))


def vote(candidate: str, term: int, last: tuple[int, int] | None = None) -> RequestVote:
    """A request for a vote; the candidate's log ends at (index, term), by default far enough."""
    return RequestVote(term, candidate, *(last or (9, term - 1)))


def leading(names: str = "abc", *terms: int, followers: str | None = None, **more: Any) -> Rig:  # noqa: ANN401
    """A leader whose first entry is committed."""
    rig = Rig(names, *terms, **more)
    others = names.replace("a", "") if followers is None else followers
    rig.become_leader(others[: len(names) // 2])
    rig.settle(others)
    return rig
