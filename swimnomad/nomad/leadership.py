"""What a server knows of its region's Raft, as those see it who only ask.

Source: nomad rpc.go, getLeader; rpc.md §8.2.
"""

from __future__ import annotations

from typing import Protocol

from swimnomad.names import Address
from swimnomad.nomad.consensus import Consensus, RaftStatus
from swimnomad.nomad.durations import duration_text
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


class RaftLeadership:
    """A server whose region decides by Raft."""

    def __init__(self, consensus: Consensus) -> None:
        self._consensus = consensus

    @property
    def leads(self) -> bool:
        """Whether this server leads its region."""
        return self._consensus.leads

    @property
    def is_ready(self) -> bool:
        """Whether, as leader, it has seen everything that was decided before."""
        return self._consensus.is_ready

    @property
    def leader(self) -> Address | None:
        """Raft address of the leader."""
        return self._consensus.leader

    @property
    def voters(self) -> tuple[Address, ...]:
        """Raft addresses of the region's voters."""
        return tuple(peer.address for peer in self._consensus.configuration if peer.is_voter)

    @property
    def raft_stats(self) -> RaftStats:
        """How far the log is."""
        status = self._consensus.status
        return RaftStats(contact_text(status), status.last_log_index, status.last_log_term)


def contact_text(status: RaftStatus) -> str:
    """How long ago the leader was heard: `0` at the leader itself, `never`, or a duration."""
    if status.role == "Leader":
        return "0"
    return "never" if status.last_contact is None else duration_text(status.last_contact)
