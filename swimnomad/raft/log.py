"""The replicated log: its entries, what the core needs of it, and a log held in memory.

A log shows at once what was done to it. That it becomes durable is a matter of effects: for every
change the core asks for the matching `Persist…`, in the same order.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import Protocol

from swimnomad.names import Value
from swimnomad.raft.servers import Configuration

INDEX_MAX = 2**62
"""Greatest index and term that is believed; far beyond what a cluster reaches."""

ENTRY_OVERHEAD_BYTES = 64
"""What an entry counts besides its data when a message is filled up to its limit."""


class EntryKind(enum.IntEnum):
    """What an entry is; the numbers are those on the wire (2 and 3 are not used any more)."""

    COMMAND = 0
    """For the state machine."""
    NOOP = 1
    """The first entry of every leader: with it, all that came before is committed."""
    BARRIER = 4
    """Nothing either; whoever proposed it knows that all before it is applied."""
    CONFIGURATION = 5


class LogEntry(Value, frozen=True, gc=False):
    """One entry. `configuration` is set for its kind only, and then `data` is empty."""

    index: int
    term: int
    kind: EntryKind = EntryKind.COMMAND
    data: bytes = b""
    configuration: Configuration | None = None


class RaftLog(Protocol):
    """What the core asks of a log. Indexes are consecutive; the first entry ever has index 1."""

    @property
    def first_index(self) -> int:
        """Index of the oldest entry held; `last_index` + 1 if none is."""

    @property
    def last_index(self) -> int:
        """Index of the newest entry; if none is held, of the last that was compacted, or 0."""

    def term_at(self, index: int) -> int | None:
        """Term of an entry; None if it is not held."""

    def entries(
        self, first: int, count_max: int, bytes_max: int | None = None
    ) -> Sequence[LogEntry]:
        """Entries from `first` on, which is held: at least one, and as many as the limits allow.

        `bytes_max` counts data and `ENTRY_OVERHEAD_BYTES` for each.
        """

    def append(self, entries: Sequence[LogEntry]) -> None:
        """Add entries; the first has index `last_index` + 1."""

    def truncate(self, first: int) -> None:
        """Forget the entries from `first` on."""

    def compact(self, last: int) -> None:
        """Forget the entries up to `last`; if the log ends before, it goes on after `last`."""


class MemoryLog:
    """A log in memory.

    Args:
        entries: What it holds, with consecutive indexes.
        base: Index before the first entry; by default as the entries say, or 0.
    """

    __slots__ = ("_base", "_entries")

    def __init__(self, entries: Sequence[LogEntry] = (), base: int | None = None) -> None:
        if base is None:
            base = entries[0].index - 1 if entries else 0
        self._base = base
        self._entries = list(entries)

    @property
    def first_index(self) -> int:
        """See `RaftLog`."""
        return self._base + 1

    @property
    def last_index(self) -> int:
        """See `RaftLog`."""
        return self._base + len(self._entries)

    def term_at(self, index: int) -> int | None:
        """See `RaftLog`."""
        place = index - self._base - 1
        return self._entries[place].term if 0 <= place < len(self._entries) else None

    def entries(
        self, first: int, count_max: int, bytes_max: int | None = None
    ) -> Sequence[LogEntry]:
        """See `RaftLog`."""
        place = first - self._base - 1
        assert 0 <= place < len(self._entries), f"no entry {first}"
        found = self._entries[place : place + count_max]
        if bytes_max is not None:
            for number, entry in enumerate(found):
                bytes_max -= len(entry.data) + ENTRY_OVERHEAD_BYTES
                if bytes_max < 0:
                    return found[: max(number, 1)]
        return found

    def append(self, entries: Sequence[LogEntry]) -> None:
        """See `RaftLog`."""
        assert not entries or entries[0].index == self.last_index + 1
        self._entries += entries

    def truncate(self, first: int) -> None:
        """See `RaftLog`."""
        del self._entries[max(first - self._base - 1, 0) :]

    def compact(self, last: int) -> None:
        """See `RaftLog`."""
        if last > self._base:
            del self._entries[: last - self._base]
            self._base = last
