"""The configurations in the log: which is in force, and which are there to stay.

A configuration is in force as soon as it stands in the log, committed or not (thesis §4.1), and
falls back to the one before if its entry is taken out again. A follower may know of several that
it cannot call committed yet, because it hears of commits late.
"""

from __future__ import annotations

from collections.abc import Iterable

from swimnomad.raft.log import EntryKind, LogEntry, RaftLog
from swimnomad.raft.servers import Configuration, Server, ServerAddress, ServerId
from swimnomad.raft.snapshot import Snapshot

_SCAN_ENTRIES = 512
"""Entries read at a time while the log is looked through at the start."""


class Configurations:
    """The newest committed configuration and those after it.

    Attributes:
        latest: The configuration in force.
        latest_index: Where it stands in the log; 0 if there is none.
        voters: Its voters.
        quorum: How many of them are a majority.
        is_voter: Whether the own server is one.
        may_stand: Whether the own server may lead: it is a voter, or its removal is not committed.
    """

    __slots__ = (
        "_history",
        "_own",
        "is_voter",
        "latest",
        "latest_index",
        "may_stand",
        "quorum",
        "voters",
    )

    latest: Configuration
    latest_index: int
    voters: tuple[Server, ...]
    quorum: int
    is_voter: bool
    may_stand: bool

    def __init__(self, own: ServerId) -> None:
        self._own = own
        # Ascending; the first is the newest that is known to be committed.
        self._history: list[tuple[int, Configuration]] = [(0, Configuration())]
        self._refresh()

    def _refresh(self) -> None:
        self.latest_index, self.latest = self._history[-1]
        self.voters = self.latest.voters
        self.quorum = self.latest.quorum
        self.is_voter = self.latest.is_voter(self._own)
        # Else nobody might be able to commit a removal: the only log that has it may be that of
        # the server removed (thesis §4.2.2).
        self.may_stand = any(known.is_voter(self._own) for _, known in self._history)

    def reset(self, snapshot: Snapshot) -> None:
        """Begin with the configuration of a snapshot."""
        self._history = [(snapshot.configuration_index, snapshot.configuration)]
        self._refresh()

    def scan(self, log: RaftLog, after: int) -> None:
        """Add those that stand in the log behind entry `after`."""
        first = max(log.first_index, after + 1)
        while first <= log.last_index:
            entries = log.entries(first, _SCAN_ENTRIES)
            self.note(entries)
            first += len(entries)

    def note(self, entries: Iterable[LogEntry]) -> bool:
        """Take entries into account that were appended; whether one is a configuration."""
        found = False
        for entry in entries:
            if entry.kind is EntryKind.CONFIGURATION and entry.configuration is not None:
                self._history.append((entry.index, entry.configuration))
                found = True
        if found:
            self._refresh()
        return found

    def truncate(self, first: int) -> bool:
        """Take out those at `first` and behind; whether there were any."""
        before = len(self._history)
        while len(self._history) > 1 and self._history[-1][0] >= first:
            self._history.pop()
        if len(self._history) == before:
            return False
        self._refresh()
        return True

    def commit(self, index: int) -> list[tuple[int, Configuration]]:
        """Entries up to `index` are committed: those configurations that are so by now."""
        if len(self._history) < 2 or self._history[1][0] > index:
            return []
        committed: list[tuple[int, Configuration]] = []
        while len(self._history) > 1 and self._history[1][0] <= index:
            del self._history[0]
            committed.append(self._history[0])
        self._refresh()
        return committed

    def at(self, index: int) -> tuple[int, Configuration]:
        """The one in force at a committed `index`, with its own."""
        return max(
            (item for item in self._history if item[0] <= index),
            key=lambda item: item[0],
            default=self._history[0],
        )

    @property
    def is_changing(self) -> bool:
        """Whether the one in force may still be taken back."""
        return len(self._history) > 1

    def knows(self, address: ServerAddress) -> bool:
        """Whether a server of this address is in the committed configuration or one after."""
        return any(known.by_address(address) is not None for _, known in self._history)
