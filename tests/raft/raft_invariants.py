"""What must hold at every moment of a world of Raft nodes, whatever happens to them.

Names as in the Raft paper, figure 3, with what callers rely on besides. Checked where something
becomes visible to others: sent, written, applied, answered, announced.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

from swimnomad.names import Operation
from swimnomad.raft.events import OperationFailed, ProposalDone, ReadReady, TransferDone
from swimnomad.raft.log import EntryKind, LogEntry
from swimnomad.raft.messages import AppendEntries, Reply, Request, RequestVote, RequestVoteReply
from swimnomad.raft.node import RaftNode
from swimnomad.raft.stats import State

if TYPE_CHECKING:
    from tests.raft.raft_world import Disk

GENESIS = 0


class Broken(AssertionError):
    """An invariant does not hold; the text begins with its name."""


def digest(state: int, entry: LogEntry) -> int:
    """The state machine: a checksum over all entries in order."""
    head = f"{entry.index}/{entry.term}/{int(entry.kind)}/{entry.configuration}/".encode()
    return zlib.crc32(entry.data, zlib.crc32(head, state))


class Invariants:
    """All that was ever visible, and the rules it has to follow."""

    def __init__(self) -> None:
        self.leaders: dict[int, str] = {}
        self.votes: dict[tuple[str, int], str] = {}
        self.entries: dict[tuple[int, int], tuple[LogEntry, int]] = {}
        self.committed: dict[int, LogEntry] = {}
        self.states: dict[int, int] = {0: GENESIS}
        self.commit_terms: dict[int, int] = {}
        self.terms: dict[str, int] = {}
        self.commits: dict[str, tuple[int, int]] = {}
        self.proposed: dict[Operation, bytes] = {}
        self.acknowledged: dict[int, bytes] = {}
        self.denied: set[bytes] = set()
        self.applied_data: set[bytes] = set()
        self.reads: dict[Operation, int] = {}
        self.newest_acknowledged = 0

    # --- elections --------------------------------------------------------------------------------

    def look_at(self, address: str, node: RaftNode, life: int) -> None:
        """After every input."""
        self._note_term(address, node.term)
        known_life, commit = self.commits.get(address, (life, 0))
        if known_life == life and node.commit_index < commit:
            raise Broken(f"commit index of {address} fell from {commit} to {node.commit_index}")
        self.commits[address] = (life, node.commit_index)
        if node.state is State.LEADER and self.leaders.get(node.term) != address:
            other = self.leaders.setdefault(node.term, address)
            if other != address:
                raise Broken(f"election safety: {address} and {other} lead term {node.term}")
            self._check_completeness(address, node)

    def _note_term(self, address: str, term: int) -> None:
        if term > self.terms.get(address, 0):
            self.terms[address] = term

    def note_disk_term(self, address: str, term: int) -> None:
        """The durable term only rises; nothing is announced in a term that is not durable."""
        known = self.votes.get((address, -1))
        if known is not None and term < int(known):
            raise Broken(f"terms never fall: {address} went from {known} to {term}")
        self.votes[address, -1] = str(term)

    def _check_completeness(self, address: str, node: RaftNode) -> None:
        snapshot = node._context.snapshot
        covered = 0 if snapshot is None else snapshot.last_index
        for index, entry in self.committed.items():
            if self.commit_terms[index] >= node.term or index <= covered:
                continue
            if node.log.term_at(index) != entry.term:
                raise Broken(
                    f"leader completeness: {address} leads term {node.term} without entry {index}"
                    f" of term {entry.term}"
                )

    def _note_vote(self, voter: str, term: int, candidate: str) -> None:
        other = self.votes.setdefault((voter, term), candidate)
        if other != candidate:
            raise Broken(f"one vote a term: {voter} votes for {other} and {candidate} in {term}")

    def note_answered(self, address: str, reply: Reply, request: object) -> None:
        if isinstance(reply, RequestVoteReply) and reply.granted:
            assert isinstance(request, RequestVote)
            self._note_vote(address, request.term, request.candidate)

    # --- logs -------------------------------------------------------------------------------------

    def note_sent(self, address: str, request: Request) -> None:
        if isinstance(request, RequestVote):
            self._note_vote(address, request.term, address)
        elif isinstance(request, AppendEntries) and request.entries:
            previous = request.previous_term
            for entry in request.entries:
                self._note_entry(address, entry, previous)
                previous = entry.term

    def note_written(self, address: str, disk: Disk, entries: tuple[LogEntry, ...]) -> None:
        if disk.entries:
            previous = disk.entries[-1].term
        elif disk.base == 0:
            previous = 0
        else:
            snapshot = disk.snapshot
            if snapshot is None or snapshot.last_index != disk.base:
                return
            previous = snapshot.last_term
        for entry in entries:
            self._note_entry(address, entry, previous)
            previous = entry.term

    def _note_entry(self, address: str, entry: LogEntry, previous: int) -> None:
        """Two logs with an entry of one index and term are the same up to it: by induction."""
        key = (entry.index, entry.term)
        known = self.entries.get(key)
        if known is None:
            self.entries[key] = (entry, previous)
        elif known[0] is not entry and known[0] != entry:
            raise Broken(f"log matching: {address} has another entry {key}")
        elif known[1] != previous:
            raise Broken(f"log matching: before entry {key} {address} has term {previous}")

    # --- the state machine ------------------------------------------------------------------------

    def note_applied(
        self, address: str, applied: int, entry: LogEntry, state: int, term: int
    ) -> None:
        index = entry.index
        if index != applied + 1:
            raise Broken(f"state machine safety: {address} applies {index} after {applied}")
        known = self.committed.get(index)
        if known is None:
            self.committed[index] = entry
            self.commit_terms[index] = term
            self.states[index] = state
            if entry.kind is EntryKind.COMMAND:
                if entry.data in self.denied:
                    raise Broken(f"certainly not: {entry.data!r} happened after all")
                self.applied_data.add(entry.data)
        elif known is not entry and known != entry:
            raise Broken(f"state machine safety: {address} applies another entry {index}")
        if self.states[index] != state:
            raise Broken(f"state machine safety: {address} is in another state at {index}")

    def note_restored(self, address: str, index: int, state: int) -> None:
        if self.states.get(index) != state:
            raise Broken(f"state machine safety: {address} restores another state at {index}")

    # --- what callers were told -------------------------------------------------------------------

    def note_proposed(self, operation: Operation, data: bytes) -> None:
        self.proposed[operation] = data

    def note_read(self, operation: Operation) -> None:
        self.reads[operation] = self.newest_acknowledged

    def note_outcome(
        self, event: ProposalDone | ReadReady | TransferDone | OperationFailed, applied: int
    ) -> None:
        match event:
            case ProposalDone(operation, index):
                self.newest_acknowledged = max(self.newest_acknowledged, index)
                if operation in self.proposed:
                    data = self.proposed[operation]
                    entry = self.committed.get(index)
                    if entry is None or entry.data != data:
                        raise Broken(f"no acknowledged write lost: {data!r} is not at {index}")
                    self.acknowledged[index] = data
            case ReadReady(operation, index):
                if index < self.reads[operation]:
                    raise Broken(
                        f"reads are fresh: index {index}, but {self.reads[operation]} was"
                        " acknowledged before"
                    )
                if applied < index:
                    raise Broken(f"reads are fresh: {index} is ready, {applied} is applied")
            case OperationFailed(operation, _, may_have_happened):
                data_or_none = self.proposed.get(operation)
                if data_or_none is not None and not may_have_happened:
                    if data_or_none in self.applied_data:
                        raise Broken(f"certainly not: {data_or_none!r} has happened")
                    self.denied.add(data_or_none)
            case _:
                pass

    def check_end(self, applied: int) -> None:
        """Once all is well again, with everybody at `applied`."""
        lost = [index for index in self.acknowledged if index > applied]
        if lost:
            raise Broken(f"no acknowledged write lost: {lost}")
