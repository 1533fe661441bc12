"""Snapshots: when to take one, what to drop afterwards, and taking over a leader's.

The contents never pass through the core. A leader's request describes its snapshot; if the
follower wants it, the driver puts the contents aside and reports, and only then, if the request
still stands, do they replace the log and the state. So a transfer that breaks off leaves nothing,
and what is not wanted is refused before it is received.
"""

from __future__ import annotations

from swimnomad.errors import UsageError
from swimnomad.raft.context import Context
from swimnomad.raft.effects import (
    DiscardSnapshot,
    PersistSnapshot,
    ReceiveSnapshot,
    Restore,
    TakeSnapshot,
)
from swimnomad.raft.elections import Elections
from swimnomad.raft.events import ConfigurationChanged
from swimnomad.raft.following import problem_with_leader
from swimnomad.raft.inputs import SnapshotTaken, Ticket
from swimnomad.raft.messages import InstallSnapshot, InstallSnapshotReply
from swimnomad.raft.proposals import Proposals
from swimnomad.raft.snapshot import Snapshot
from swimnomad.raft.timers import SnapshotTick


class Snapshots:
    """The snapshot being taken and the one being received; at most one of each."""

    def __init__(self, context: Context, elections: Elections, proposals: Proposals) -> None:
        self._context = context
        self._elections = elections
        self._proposals = proposals
        self._is_taking = False
        self._receiving: tuple[Ticket, InstallSnapshot] | None = None

    def start(self) -> None:
        """Begin to look, now and then, whether a snapshot is due."""
        context = self._context
        context.set_timer(
            SnapshotTick(), context.now + context.stretch(context.config.snapshot_interval)
        )

    # --- taking -----------------------------------------------------------------------------------

    def on_tick(self) -> None:
        """Ask for a snapshot if the log has grown enough."""
        self.start()
        context = self._context
        newest = context.snapshot
        covered = 0 if newest is None else newest.last_index
        if self._is_taking or context.commit_index - covered < context.config.snapshot_threshold:
            return
        last = context.commit_index
        term = context.term_at(last)
        assert term is not None
        place, configuration = context.configurations.at(last)
        self._is_taking = True
        context.effects.append(TakeSnapshot(Snapshot(last, term, configuration, place)))

    def on_taken(self, taken: SnapshotTaken) -> None:
        """The driver made the snapshot durable: the log may be cut."""
        context = self._context
        snapshot = taken.snapshot
        if snapshot.last_index > context.commit_index:
            raise UsageError(f"a snapshot at {snapshot.last_index} was never asked for")
        self._is_taking = False
        if context.snapshot is None or snapshot.last_index > context.snapshot.last_index:
            context.snapshot = snapshot
            self._cut()

    def on_failed(self) -> None:
        """No snapshot this time; the next tick asks again."""
        self._is_taking = False

    def _cut(self) -> None:
        context = self._context
        assert context.snapshot is not None
        last = context.log.last_index - context.config.trailing_entries
        last = min(last, context.snapshot.last_index)
        if last >= context.log.first_index:
            context.compact(last)

    # --- receiving --------------------------------------------------------------------------------

    def on_install(self, ticket: Ticket, request: InstallSnapshot) -> None:
        """A leader sends a snapshot. Its bounds were checked."""
        context = self._context
        if request.term < context.term:
            context.refuse(request.leader, request, f"the term here is {context.term}")
            context.answer(ticket, InstallSnapshotReply(context.term, False))
            return
        problem = problem_with_leader(context, request)
        if problem is not None:
            context.reject(ticket, request.leader, request, problem)
            return
        self._elections.follow(request.term, request.leader)
        if request.snapshot.last_index <= context.commit_index:
            context.answer(ticket, InstallSnapshotReply(context.term, True))
            return
        self._give_up_receiving()
        self._receiving = ticket, request
        context.write_term()
        context.effects.append(ReceiveSnapshot(ticket, request.snapshot))

    def _give_up_receiving(self) -> None:
        """Another one begins: the sender of this one has given up, or is no leader any more."""
        if self._receiving is not None:
            ticket, _ = self._receiving
            self._receiving = None
            self._context.effects.append(DiscardSnapshot(ticket))
            self._context.answer(ticket, InstallSnapshotReply(self._context.term, False))

    def on_not_received(self, ticket: Ticket, reason: str) -> None:
        """The contents did not come, or cannot be kept."""
        if self._receiving is None or self._receiving[0] != ticket:
            return
        _, request = self._receiving
        self._receiving = None
        self._context.refuse(request.leader, request, reason)
        self._context.answer(ticket, InstallSnapshotReply(self._context.term, False))

    def on_received(self, ticket: Ticket) -> None:
        """The contents are here: take them over, if that is still wanted."""
        context = self._context
        if self._receiving is None or self._receiving[0] != ticket:
            return  # It was answered and discarded.
        _, request = self._receiving
        self._receiving = None
        snapshot = request.snapshot
        is_stale = request.term < context.term
        if is_stale or snapshot.last_index <= context.commit_index:
            context.effects.append(DiscardSnapshot(ticket))
            context.answer(ticket, InstallSnapshotReply(context.term, not is_stale))
            return
        self._elections.follow(request.term, request.leader)
        self._adopt(ticket, snapshot)
        context.answer(ticket, InstallSnapshotReply(context.term, True))

    def _adopt(self, ticket: Ticket, snapshot: Snapshot) -> None:
        """Begin anew from a snapshot. Entries behind it stay if the log leads up to them."""
        context = self._context
        context.write_term()
        context.write_entries()
        is_prefix = context.log.term_at(snapshot.last_index) == snapshot.last_term
        context.effects.append(PersistSnapshot(ticket, snapshot))
        # First of all: what falls with the log is not to be announced as in force once more.
        context.configurations.reset(snapshot)
        if not is_prefix and context.log.last_index > context.commit_index:
            context.truncate(context.commit_index + 1)
        context.snapshot = snapshot
        context.commit_index = snapshot.last_index
        if is_prefix:
            context.configurations.scan(context.log, snapshot.last_index)
            self._cut()
        else:
            context.compact(snapshot.last_index)
        context.effects.append(Restore(snapshot))
        self._proposals.skip(snapshot.last_index)
        place = snapshot.configuration_index
        context.emit(ConfigurationChanged(snapshot.configuration, place, True))
