"""What a leader does all the time: heartbeats, its lease, commits, and knowing when to stop.

Only entries of the own term are committed by counting; those before them follow (thesis §3.6.2).
A leader that took itself out of the configuration leads until that is committed, without counting
itself, and then steps down (§4.2.2).
"""

from __future__ import annotations

from swimnomad.raft.commits import Commits
from swimnomad.raft.context import Context
from swimnomad.raft.elections import Elections
from swimnomad.raft.log import EntryKind
from swimnomad.raft.proposals import Proposals
from swimnomad.raft.reads import DEPOSED, Reads
from swimnomad.raft.replication import Replication
from swimnomad.raft.stats import State
from swimnomad.raft.timers import CommitTick, HeartbeatTick, LeaseCheck
from swimnomad.raft.transfer import Transfer

HEARTBEATS_PER_TIMEOUT = 10
LEASE_CHECK_MIN = 0.01
"""Seconds between two looks at the lease, at least."""
_COMMIT_TICK = CommitTick()


class Leadership:
    """The duties of a leader, from its election to its end."""

    def __init__(
        self,
        context: Context,
        elections: Elections,
        replication: Replication,
        commits: Commits,
        proposals: Proposals,
        reads: Reads,
        transfer: Transfer,
    ) -> None:
        self._context = context
        self._elections = elections
        self._replication = replication
        self._commits = commits
        self._proposals = proposals
        self._reads = reads
        self._transfer = transfer

    def begin(self) -> None:
        """We were elected: tell everybody, and write the first entry of the term."""
        context = self._context
        self._replication.begin()
        context.term_start = context.append_own(EntryKind.NOOP)
        self.on_heartbeat_tick()
        context.set_timer(LeaseCheck(), context.now + context.config.leader_lease)

    def end(self, _reason: str) -> None:
        """We lead no more. Writes go on waiting for what becomes of them."""
        context = self._context
        for timer in (HeartbeatTick(), LeaseCheck(), CommitTick()):
            context.cancel_timer(timer)
        self._replication.end()
        self._reads.give_up(DEPOSED)
        self._transfer.on_deposed()

    def on_heartbeat_tick(self) -> None:
        """Send heartbeats."""
        context = self._context
        if context.state is not State.LEADER:
            return
        self._reads.note_round(self._replication.send_heartbeats())
        self._replication.ask_the_idle()
        interval = context.config.heartbeat_timeout / HEARTBEATS_PER_TIMEOUT
        context.set_timer(HeartbeatTick(), context.now + context.stretch(interval))

    def on_lease_check(self) -> None:
        """Step down if a quorum was not heard for the length of the lease."""
        context = self._context
        if context.state is not State.LEADER:
            return
        lease = context.config.leader_lease
        end = self._replication.quorum_contact + lease
        if end <= context.now:
            self._elections.step_down(f"no quorum was heard for {lease:g} s")
        else:
            context.set_timer(LeaseCheck(), max(end, context.now + LEASE_CHECK_MIN))

    def on_commit_tick(self) -> None:
        """Tell the commit index to those who do not know it."""
        if self._context.state is State.LEADER:
            self._replication.tell_commit()

    def _arm_commit_tick(self) -> None:
        context = self._context
        if not context.is_armed(_COMMIT_TICK) and not self._replication.all_know_commit:
            interval = context.stretch(context.config.commit_interval)
            context.set_timer(_COMMIT_TICK, context.now + interval)

    def work(self) -> None:
        """After every input: send what is to be sent, write, commit, answer reads."""
        context = self._context
        # Before our own writing: the others write at the same time.
        self._replication.send_all()
        self._transfer.advance()
        context.write_entries()
        if self._commit():
            self._step_down_if_removed()
        if context.state is State.LEADER:
            self._reads.settle()
            self._arm_commit_tick()

    def _commit(self) -> bool:
        context = self._context
        index = self._replication.quorum_match
        if index <= context.commit_index or context.term_at(index) != context.term:
            return False
        self._commits.advance(index)
        return True

    def _step_down_if_removed(self) -> None:
        known = self._context.configurations
        if not known.is_changing and not known.is_voter:
            # The others learn of the commit from their next leader, which must have the entry.
            self._replication.tell_commit()
            self._elections.step_down("this server is no voter any more")
