"""What a node begins with: the state that storage held, or that of a new server."""

from __future__ import annotations

from swimnomad.errors import UsageError
from swimnomad.raft.log import INDEX_MAX, MemoryLog, RaftLog
from swimnomad.raft.servers import ServerAddress
from swimnomad.raft.snapshot import Snapshot


class Stored:
    """State that outlived the last run. The node owns `log` from now on.

    Attributes:
        term: The newest term that was made durable; 0 on a new server.
        voted_for: Whom this server voted for in it.
        log: The entries.
        snapshot: The newest snapshot, whose contents the driver has; it restores the state machine
            from it before the first input.
    """

    __slots__ = ("log", "snapshot", "term", "voted_for")

    def __init__(
        self,
        term: int = 0,
        voted_for: ServerAddress | None = None,
        log: RaftLog | None = None,
        snapshot: Snapshot | None = None,
    ) -> None:
        self.term = term
        self.voted_for = voted_for
        self.log: RaftLog = MemoryLog() if log is None else log
        self.snapshot = snapshot

    def check(self) -> None:
        """See that the parts belong together.

        Raises:
            UsageError: If they do not: then some of them are lost, and to start would be to forget
                what others rely on.
        """
        log, snapshot = self.log, self.snapshot
        covered = 0 if snapshot is None else snapshot.last_index
        if log.first_index > covered + 1:
            raise UsageError(
                f"the log begins at entry {log.first_index}, but the snapshot ends at {covered}:"
                " entries between are missing"
            )
        newest = log.term_at(log.last_index) or 0
        if not max(newest, 0 if snapshot is None else snapshot.last_term) <= self.term <= INDEX_MAX:
            raise UsageError(
                f"the stored term is {self.term}, but the log or snapshot has a later one"
            )
