"""The Raft node: takes an input, hands it to the part it concerns, returns the effects.

States, and what moves a node from one to another (`elections` alone does):

    FOLLOWER ──leader silent──▶ PRE_CANDIDATE ──quorum would vote──▶ CANDIDATE ──quorum──▶ LEADER
        │                            ▲ │                              ▲ │ │                  │
        └──told to stand, only voter─│─│──────────────────────────────┘ │ │                  │
                                     └─│──────nobody won in time────────┘ │                  │
        ◀──────────newer term, or a leader of this one────────────────────┘                  │
        ◀──────────newer term, no quorum heard for the lease, removed────────────────────────┘
    any ──storage failed, shutdown──▶ STOPPED

The term only rises. A vote is given once a term and is durable before it is given; so is a term
before anybody hears of it. An entry is durable before it is acknowledged; a leader counts its own
copy at once, since whatever follows from the count stands behind the writing in the stream of
effects (see `effects`).

What races with what:

* Answers with later terms. Every request of ours has a number and is remembered with the term it
  was made in; a change of state forgets them all, so an answer to an earlier self finds nothing.
* Appends with appends. Messages may be late, doubled or out of order. A follower takes out only
  what contradicts an entry it is sent; an old message of the same term contradicts nothing. A
  leader believes a yes up to what that very message vouched for, and a no only to a message that
  it still waits for.
* Timers with their reasons. Each looks at the state when it fires; a late one does no harm.
* A snapshot with its leader. Its contents arrive long after the request; the request is judged
  again then.
* Writes with their leader's fall. See `proposals`: the outcome is reported when it is known.
* A new configuration with its commit. It is in force at once, and can be taken back; meanwhile no
  other is begun.

Where we differ from the Raft thesis:

* Requests are those of HashiCorp's raft, as live servers speak it: heartbeats say nothing of the
  log, and the answer no may name the place to go on from.
* A vote is withheld while a leader was heard within the *shortest* election timeout (§4.2.3 and
  §9.6), and a pre-vote comes first, so that a server which comes back from a partition deposes
  nobody.
* "Accept requests from servers that are not in the configuration" (§4.1) is limited: a sender is
  listened to if it is in the newest committed configuration or one after it, leads our term, or
  was introduced (`Introduce`). Whoever drives this must introduce the servers it knows of, else a
  server that missed several changes stays behind.
* A voter that lost its log (an emptied disk) is sent it anew instead of being asked for ever; that
  its promises are broken is announced.

Where we differ from HashiCorp's raft of Nomad 1.0.4:

* Pre-vote. Its servers do not know it: a peer that does not support it counts as agreeing.
* A voter hears a leader for the heartbeat timeout; theirs until its own, randomised, one is over.
* The commit index is believed as far as the message vouches for entries; theirs as far as the log
  goes, which may include entries that the leader is about to replace.
* A deposed leader's writes wait to learn their fate; theirs fail at once with "leadership lost".
* A membership change during another is refused; theirs waits.
* Reads need no log entry.
* Entries that contradict committed ones, or a second leader of a term, are refused and announced.

Source: D. Ongaro, "Consensus: Bridging Theory and Practice" (the thesis); nomad-agent.md §16.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import assert_never

from swimnomad.errors import UsageError
from swimnomad.raft.changes import Changes
from swimnomad.raft.commits import Commits
from swimnomad.raft.config import RaftConfig
from swimnomad.raft.context import Context, Outgoing
from swimnomad.raft.effects import Effect
from swimnomad.raft.elections import Elections
from swimnomad.raft.events import NodeStopped, ReplyRefused
from swimnomad.raft.following import Follower
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
    Shutdown,
    SnapshotFailed,
    SnapshotNotReceived,
    SnapshotReceived,
    SnapshotTaken,
    Start,
    StorageFailed,
    TimerFired,
    TransferLeadership,
)
from swimnomad.raft.leadership import Leadership
from swimnomad.raft.log import INDEX_MAX, RaftLog
from swimnomad.raft.messages import (
    AppendEntries,
    AppendEntriesReply,
    InstallSnapshot,
    InstallSnapshotReply,
    PreVote,
    PreVoteReply,
    Refusal,
    Reply,
    RequestVote,
    RequestVoteReply,
    TimeoutNow,
    TimeoutNowReply,
)
from swimnomad.raft.proposals import STOPPED, Deadlines, Proposals
from swimnomad.raft.reads import Reads
from swimnomad.raft.replication import Replication
from swimnomad.raft.servers import Configuration, ServerAddress
from swimnomad.raft.snapshots import Snapshots
from swimnomad.raft.stats import RaftStats, State
from swimnomad.raft.stored import Stored
from swimnomad.raft.timers import (
    CommitTick,
    ElectionTimeout,
    HeartbeatTick,
    LeaseCheck,
    OperationDeadline,
    RetryReplication,
    SnapshotTick,
    Timer,
    TransferDeadline,
)
from swimnomad.raft.transfer import Transfer
from swimnomad.raft.untrusted import problem_with_request, problem_with_sender, sender_of

_REPLY_KINDS: Mapping[type, type] = MappingProxyType(
    {
        AppendEntries: AppendEntriesReply,
        RequestVote: RequestVoteReply,
        PreVote: PreVoteReply,
        InstallSnapshot: InstallSnapshotReply,
        TimeoutNow: TimeoutNowReply,
    }
)

_Command = (
    Propose
    | ReadIndex
    | AddServer
    | RemoveServer
    | PromoteServer
    | TransferLeadership
    | Bootstrap
    | Introduce
)


class RaftNode:
    """One server of a region, without I/O.

    Args:
        config: Settings; validated here.
        rng: Where all randomness comes from.
        stored: What storage held; None for a new server. The state machine must have been restored
            from `stored.snapshot` before the first input.

    Raises:
        UsageError: If the configuration is wrong, or what storage held does not fit together.
    """

    def __init__(
        self, config: RaftConfig, rng: random.Random, stored: Stored | None = None
    ) -> None:
        config.validate()
        stored = Stored() if stored is None else stored
        stored.check()
        self._context = context = Context(config, rng, stored)
        deadlines = Deadlines(context)
        self._deadlines = deadlines
        self._elections = Elections(context)
        self._replication = Replication(context)
        self._proposals = Proposals(context, deadlines)
        self._reads = Reads(context, self._replication, deadlines)
        self._transfer = Transfer(context, self._replication, self._proposals)
        commits = Commits(context, self._proposals)
        self._leadership = Leadership(
            context,
            self._elections,
            self._replication,
            commits,
            self._proposals,
            self._reads,
            self._transfer,
        )
        self._elections.on_elected = self._leadership.begin
        self._elections.on_deposed = self._leadership.end
        self._elections.on_leader = self._transfer.on_leader
        self._follower = Follower(context, self._elections, commits)
        self._snapshots = Snapshots(context, self._elections, self._proposals)
        self._changes = Changes(context, self._replication, self._proposals)
        self._is_started = False

    # --- for observers ----------------------------------------------------------------------------

    @property
    def config(self) -> RaftConfig:
        """Its settings."""
        return self._context.config

    @property
    def state(self) -> State:
        """What it is."""
        return self._context.state

    @property
    def term(self) -> int:
        """Its term."""
        return self._context.term

    @property
    def voted_for(self) -> ServerAddress | None:
        """Whom it voted for in its term."""
        return self._context.voted_for

    @property
    def leader(self) -> ServerAddress | None:
        """Who leads, as far as it knows."""
        return self._context.leader

    @property
    def log(self) -> RaftLog:
        """Its log; read, never change it."""
        return self._context.log

    @property
    def commit_index(self) -> int:
        """All entries up to here are committed and were handed out to be applied."""
        return self._context.commit_index

    @property
    def configuration(self) -> Configuration:
        """The configuration in force, committed or not."""
        return self._context.configurations.latest

    @property
    def counters(self) -> Mapping[str, int]:
        """Name to number: what was refused."""
        return MappingProxyType(self._context.counters)

    def stats(self, now: float) -> RaftStats:
        """The node at `now`."""
        context = self._context
        known, snapshot = context.configurations, context.snapshot
        contact = None if context.last_contact is None else max(now - context.last_contact, 0.0)
        return RaftStats(
            state=context.state,
            term=context.term,
            leader=context.leader,
            last_log_index=context.log.last_index,
            last_log_term=context.last_term,
            commit_index=context.commit_index,
            applied_index=context.commit_index,
            last_snapshot_index=snapshot.last_index if snapshot else 0,
            last_snapshot_term=snapshot.last_term if snapshot else 0,
            num_peers=len(known.voters) - 1 if known.is_voter else 0,
            last_contact=0.0 if context.state is State.LEADER else contact,
            latest_configuration=known.latest,
            latest_configuration_index=known.latest_index,
            is_configuration_committed=not known.is_changing,
        )

    # --- inputs -----------------------------------------------------------------------------------

    def handle(self, incoming: RaftInput, now: float) -> list[Effect]:
        """Apply one input at `now` (seconds, monotonic); return the effects in order.

        Raises:
            UsageError: If the driver breaks its word: a second `Start`, anything before the first,
                a snapshot that was never asked for. Never for what a peer sent or a command asks.
        """
        return self.handle_all((incoming,), now)

    def handle_all(self, incoming: Sequence[RaftInput], now: float) -> list[Effect]:
        """Apply several inputs that wait, as if one after the other.

        Entries of many proposals then go out in one message and are written with one effect.

        Raises:
            UsageError: As `handle`.
        """
        context = self._context
        context.now = now
        for item in incoming:
            if context.state is State.STOPPED or not self._is_started:
                self._handle_at_the_edges(item)
            else:
                self._handle(item)
        if context.state is State.LEADER:
            self._leadership.work()
        context.write_term()
        context.write_entries()
        effects, context.effects = context.effects, []
        return effects

    def _handle_at_the_edges(self, incoming: RaftInput) -> None:
        """Before the start and after the end hardly anything happens."""
        is_stopped = self._context.state is State.STOPPED
        match incoming:
            case Start() if not is_stopped:
                self._on_start()
            case _ if not is_stopped:
                raise UsageError(f"{type(incoming).__name__} on a node that is not started")
            case (
                Propose()
                | ReadIndex()
                | AddServer()
                | RemoveServer()
                | PromoteServer()
                | TransferLeadership()
                | Bootstrap()
            ):
                self._context.fail(incoming.operation, STOPPED)
            case _:
                pass  # A late request or answer, a timer that was on its way.

    def _handle(self, incoming: RaftInput) -> None:
        match incoming:
            case RequestReceived():
                self._on_request(incoming)
            case ReplyReceived(number, reply):
                self._on_reply(number, reply)
            case RequestFailed(number, failure, reason):
                self._on_failure(number, failure, reason)
            case TimerFired(timer):
                self._on_timer(timer)
            case SnapshotTaken():
                self._snapshots.on_taken(incoming)
            case SnapshotFailed():
                self._snapshots.on_failed()
            case SnapshotReceived(ticket):
                self._snapshots.on_received(ticket)
            case SnapshotNotReceived(ticket, reason):
                self._snapshots.on_not_received(ticket, reason)
            case StorageFailed(reason):
                self._context.drop_unwritten()
                self._stop(f"storage failed: {reason}")
            case Shutdown():
                self._stop("shut down")
            case Start():
                raise UsageError("a node starts once")
            case _:
                self._on_command(incoming)

    def _on_command(self, command: _Command) -> None:
        match command:
            case Propose():
                self._proposals.propose(command)
            case ReadIndex():
                self._reads.add(command)
            case AddServer() | RemoveServer() | PromoteServer():
                self._changes.start(command)
            case TransferLeadership():
                self._transfer.start(command)
            case Bootstrap():
                self._changes.bootstrap(command)
            case Introduce(addresses):
                kept = sorted(addresses)[: self._context.config.introduced_max]
                self._context.introduced = frozenset(kept)
            case _:
                assert_never(command)

    def _on_start(self) -> None:
        """Take up what storage held: all up to the snapshot is committed, of the rest we hear."""
        context = self._context
        snapshot = context.snapshot
        self._is_started = True
        if snapshot is not None:
            context.commit_index = snapshot.last_index
            context.configurations.reset(snapshot)
            held = context.log.term_at(snapshot.last_index)
            is_behind = context.log.last_index < snapshot.last_index
            if is_behind or held not in (None, snapshot.last_term):
                # A crash between taking over a leader's snapshot and clearing the log.
                if context.log.last_index > snapshot.last_index:
                    context.truncate(snapshot.last_index + 1)
                context.compact(snapshot.last_index)
        context.configurations.scan(context.log, context.commit_index)
        self._elections.start()
        self._snapshots.start()

    def _stop(self, reason: str) -> None:
        context = self._context
        if context.state is State.LEADER:
            self._elections.step_down(reason)
        self._transfer.give_up(reason)
        self._reads.give_up(reason)
        self._proposals.give_up(reason)
        self._elections.stop()
        context.cancel_timers()
        context.emit(NodeStopped(reason))

    # --- timers -----------------------------------------------------------------------------------

    def _on_timer(self, timer: Timer) -> None:
        self._context.note_fired(timer)
        match timer:
            case ElectionTimeout():
                self._elections.on_timeout()
            case HeartbeatTick():
                self._leadership.on_heartbeat_tick()
            case LeaseCheck():
                self._leadership.on_lease_check()
            case CommitTick():
                self._leadership.on_commit_tick()
            case RetryReplication(to):
                self._replication.on_retry(to)
            case OperationDeadline():
                self._deadlines.on_fired()
                self._proposals.expire()
                self._reads.expire()
            case TransferDeadline():
                self._transfer.on_deadline()
            case SnapshotTick():
                self._snapshots.on_tick()
            case _:
                raise UsageError(f"a Raft node has no timer {timer!r}")

    # --- peers ------------------------------------------------------------------------------------

    def _on_request(self, received: RequestReceived) -> None:
        context = self._context
        ticket, request = received.ticket, received.request
        sender = sender_of(request, received.source)
        problem: str | None = None
        if not isinstance(request, TimeoutNow):
            problem = problem_with_sender(context, sender)
        problem = problem or problem_with_request(context, request)
        if problem is not None:
            context.reject(ticket, sender, request, problem)
            return
        match request:
            case AppendEntries():
                self._follower.on_append(ticket, request)
            case RequestVote():
                self._elections.on_vote_request(ticket, request)
            case PreVote():
                self._elections.on_pre_vote(ticket, request)
            case InstallSnapshot():
                self._snapshots.on_install(ticket, request)
            case TimeoutNow():
                self._elections.on_timeout_now(ticket, request, sender)
            case _:
                assert_never(request)

    def _on_reply(self, number: int, reply: Reply) -> None:
        context = self._context
        sent = context.in_flight.get(number)
        if sent is None:
            return  # From before a change of state, or given up meanwhile.
        if isinstance(reply, Refusal):
            self._on_failure(number, Failure.REFUSED, reply.text)
            return
        if type(reply) is not _REPLY_KINDS[sent.kind]:
            context.emit(ReplyRefused(sent.to, f"{type(reply).__name__} to {sent.kind.__name__}"))
            self._on_failure(number, Failure.REFUSED, "its answer makes no sense")
            return
        if not isinstance(reply, TimeoutNowReply):
            if not 0 <= reply.term <= INDEX_MAX:
                context.emit(ReplyRefused(sent.to, f"term {reply.term} is impossible"))
                self._on_failure(number, Failure.REFUSED, "its answer makes no sense")
                return
            if reply.term > context.term:
                self._elections.adopt_term(reply.term, f"{sent.to} knows term {reply.term}")
                return
        del context.in_flight[number]
        self._settle(number, sent, reply)

    def _settle(self, number: int, sent: Outgoing, reply: Reply) -> None:
        """A good answer to a request that we remember."""
        match reply:
            case AppendEntriesReply():
                if sent.round:
                    self._replication.on_heartbeat_reply(number, sent, reply)
                else:
                    self._replication.on_append_reply(number, sent, reply)
            case InstallSnapshotReply():
                self._replication.on_snapshot_reply(number, sent, reply)
            case RequestVoteReply() | PreVoteReply():
                self._elections.on_vote_reply(sent, reply)
            case _:
                pass  # `TimeoutNowReply`: whether it is elected shows in the next term.

    def _on_failure(self, number: int, failure: Failure, reason: str) -> None:
        sent = self._context.in_flight.pop(number, None)
        if sent is None:
            return
        text = reason or failure.value
        if sent.kind in (PreVote, RequestVote):
            self._elections.on_vote_failure(sent, failure)
        elif sent.kind is TimeoutNow:
            self._transfer.on_failure(number, text)
        else:
            self._replication.on_failure(number, sent, text)
