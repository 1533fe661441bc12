"""The Serf member table: one record a name, and who of them failed or left.

    unknown ──joined──> ALIVE ──leave intent──> LEAVING ──gone──> LEFT
                        │  ^ ^                     │               │
                     gone  │ └─────join intent─────┘               │
                        v  └──────────────joined────────┬──────────┘
                      FAILED ───────────────────────────┘
                        └──leave intent──> LEFT

"joined" and "gone" come from the gossip layer, intents from members. Whether a departure counts as
a failure or as goodbye is decided by which of the two arrives first, the leave intent or the loss.

Source: serf.md §6-9.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import msgspec

from swimnomad.serf.events import Member, Status

replace = msgspec.structs.replace


class MemberTable:
    """Every member in order of appearance, as immutable records that events may carry along.

    `version` grows with every change that a push/pull state would show: it is what the encoded
    state is cached by.
    """

    def __init__(self) -> None:
        self._members: dict[str, Member] = {}
        self._view = MappingProxyType(self._members)
        # Dicts for their order: sets would make iteration depend on the hash seed.
        self._failed: dict[str, None] = {}
        self._left: dict[str, None] = {}
        self.version = 0

    def __len__(self) -> int:
        """Number of members in any status."""
        return len(self._members)

    @property
    def members(self) -> Mapping[str, Member]:
        """Read-only view of all members by name, in order of appearance."""
        return self._view

    @property
    def failed(self) -> tuple[str, ...]:
        """Names of the failed members, the longest failed first."""
        return tuple(self._failed)

    @property
    def left(self) -> tuple[str, ...]:
        """Names of the members that left, the longest gone first."""
        return tuple(self._left)

    @property
    def failed_count(self) -> int:
        """Number of failed members."""
        return len(self._failed)

    @property
    def left_count(self) -> int:
        """Number of members that left."""
        return len(self._left)

    def get(self, name: str) -> Member | None:
        """The member of that name, if known."""
        return self._members.get(name)

    def status_ltimes(self) -> dict[str, int]:
        """Lamport time of the last status change of every member."""
        return {name: member.status_ltime for name, member in self._members.items()}

    def has_alive_besides(self, name: str) -> bool:
        """Whether any other member than `name` is alive."""
        return any(
            member.status is Status.ALIVE and member.name != name
            for member in self._members.values()
        )

    def store(self, member: Member) -> Member:
        """Add or replace a record and move its name to the side list of its status."""
        known = self._members.get(member.name)
        self._members[member.name] = member
        if known is None or known.status is not member.status:
            self._file(member)
        self.version += 1
        return member

    def fill(self, members: Mapping[str, Member]) -> None:
        """Hold these members, all of them present, in place of those that are here."""
        self._members.clear()
        self._members.update(members)
        self.version += 1

    def refresh(self, member: Member) -> Member:
        """Replace a record in which neither status nor Lamport time differ."""
        self._members[member.name] = member
        return member

    def erase(self, name: str) -> Member | None:
        """Forget a member; return its last record, None if it was unknown."""
        self._failed.pop(name, None)
        self._left.pop(name, None)
        self.version += 1
        return self._members.pop(name, None)

    def oldest_gone(self) -> str | None:
        """The member to give up first when the table is full: longest left, then longest failed."""
        for side_list in (self._left, self._failed):
            for name in side_list:
                return name
        return None

    def _file(self, member: Member) -> None:
        self._failed.pop(member.name, None)
        self._left.pop(member.name, None)
        if member.status is Status.FAILED:
            self._failed[member.name] = None
        elif member.status is Status.LEFT:
            self._left[member.name] = None
