"""Raft as the rest of a server needs it: writes, reads that are current, and who takes part.

`live` provides it with a Raft node and its storage; tests fake it. `NoConsensus` stands for a
server without Raft: nobody leads, nothing can be written.

Source: nomad-agent.md §15, §16; nomad rpc.go, raftApply.
"""

from __future__ import annotations

from typing import Literal, Protocol

from swimnomad.errors import OperationError
from swimnomad.names import Address, Value
from swimnomad.nomad.failures import no_leader
from swimnomad.nomad.state.outcomes import Outcome

RaftRole = Literal["Follower", "Candidate", "Leader", "Shutdown"]


class RaftPeer(Value, frozen=True):
    """A server of the Raft configuration: its id, where it speaks Raft, whether its vote counts."""

    id: str
    address: Address
    is_voter: bool = True


class RaftStatus(Value, frozen=True, kw_only=True):
    """How Raft stands at one server, as the `raft` block of the statistics shows it.

    `last_contact` is how many seconds ago the leader was heard: 0 at the leader, None if never.
    """

    role: RaftRole = "Follower"
    term: int = 0
    last_log_index: int = 0
    last_log_term: int = 0
    commit_index: int = 0
    applied_index: int = 0
    fsm_pending: int = 0
    last_snapshot_index: int = 0
    last_snapshot_term: int = 0
    last_contact: float | None = None
    protocol_version: int = 2


class NotWritten(OperationError):
    """A write came to no good end; `may_have_happened` says whether it may be in effect."""


def leadership_lost() -> NotWritten:
    """This server lost the lead before the write was known to be kept."""
    return NotWritten("leadership lost while committing log", may_have_happened=True)


class Consensus(Protocol):
    """Raft at one server.

    Deadlines are absolute, on the clock of `Services.now`. What waits raises `OperationError`: with
    "No cluster leader" where this server does not lead, and otherwise as `NotWritten`.
    """

    @property
    def leads(self) -> bool:
        """Whether this server leads its region."""
        ...

    @property
    def is_ready(self) -> bool:
        """Whether, as leader, it has applied everything that was committed before."""
        ...

    @property
    def leader(self) -> Address | None:
        """Where the leader speaks Raft, this server included; None if nobody is known to lead."""
        ...

    @property
    def configuration(self) -> tuple[RaftPeer, ...]:
        """The servers that take part; none before the region was bootstrapped."""
        ...

    @property
    def status(self) -> RaftStatus:
        """How it stands."""
        ...

    async def propose(self, data: bytes, deadline: float) -> Outcome:
        """Have a command kept and applied; what `StateStore.apply` made of it here."""
        ...

    async def read_index(self, deadline: float) -> None:
        """Return when the state shown here is at least as new as all writes acknowledged by now.

        Only at the leader: that it still leads is confirmed by a quorum.
        """
        ...

    async def add_server(self, peer: RaftPeer, deadline: float) -> None:
        """Let a server take part, or give a known one (by id) another address or a vote."""
        ...

    async def remove_server(self, server_id: str, deadline: float) -> None:
        """Let a server take part no longer."""
        ...

    async def transfer_leadership(self, server_id: str | None, deadline: float) -> None:
        """Let another voter lead; None lets Raft choose."""
        ...


class NoConsensus:
    """A server without Raft."""

    leads = False
    is_ready = False
    leader: Address | None = None
    configuration: tuple[RaftPeer, ...] = ()
    status = RaftStatus()

    async def propose(self, data: bytes, deadline: float) -> Outcome:
        """Nothing can be written."""
        raise no_leader()

    async def read_index(self, deadline: float) -> None:
        """Nothing is known to be current."""
        raise no_leader()

    async def add_server(self, peer: RaftPeer, deadline: float) -> None:
        """Nobody can be added."""
        raise no_leader()

    async def remove_server(self, server_id: str, deadline: float) -> None:
        """Nobody can be removed."""
        raise no_leader()

    async def transfer_leadership(self, server_id: str | None, deadline: float) -> None:
        """Nobody leads."""
        raise no_leader()
