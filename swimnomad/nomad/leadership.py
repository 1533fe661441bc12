"""What a server knows of its region's Raft, as those see it who only ask.

This version elects no leader: `Leaderless` is a server whose region has none.

Source: nomad rpc.go, getLeader; rpc.md §8.2.
"""

from __future__ import annotations

from typing import Protocol

from swimnomad.names import Address
from swimnomad.nomad.requests import RaftStats


class Leadership(Protocol):
    """The state of Raft at one server."""

    @property
    def leads(self) -> bool:
        """Whether this server leads its region."""
        ...

    @property
    def is_ready(self) -> bool:
        """Whether, as leader, it has seen everything that was decided before."""
        ...

    @property
    def leader(self) -> Address | None:
        """Raft address of the leader, this server included; None if nobody is known to lead."""
        ...

    @property
    def voters(self) -> tuple[Address, ...]:
        """Raft addresses of the region's voters."""
        ...

    @property
    def raft_stats(self) -> RaftStats:
        """How far the log is."""
        ...


class Leaderless:
    """A server whose region has neither leader nor voters."""

    leads = False
    is_ready = False
    leader: Address | None = None
    voters: tuple[Address, ...] = ()
    raft_stats = RaftStats("never", 0, 0)
