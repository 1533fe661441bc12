"""What the duties look at: the servers that gossip knows, Raft's peers, the replicated state.

It is looked at, not kept: at the moment of a decision there is one truth about each.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

from swimnomad.nomad.consensus import Consensus, RaftPeer, RaftStatus
from swimnomad.nomad.core import NomadCore
from swimnomad.nomad.state.store import StateStore
from swimnomad.nomad.tags import Server, parse_server
from swimnomad.serf.events import Status

UUID_PROTOCOL = 3
"""First version of Raft's protocol in which servers are called by their UUIDs."""


class DutyView(Protocol):
    """The world of one server's duties."""

    @property
    def own_name(self) -> str:
        """Name of this server's member."""
        ...

    @property
    def region(self) -> str:
        """The region it serves."""
        ...

    @property
    def servers(self) -> Mapping[str, Server]:
        """Servers of the region by member name, this one included, whatever their status."""
        ...

    @property
    def peers(self) -> tuple[RaftPeer, ...]:
        """Raft's configuration."""
        ...

    @property
    def raft(self) -> RaftStatus:
        """How Raft stands here."""
        ...

    @property
    def state(self) -> StateStore:
        """The replicated state."""
        ...


class ServerView:
    """The view of a server that runs."""

    def __init__(self, core: NomadCore, consensus: Consensus, state: StateStore) -> None:
        self._core = core
        self._consensus = consensus
        self.state = state

    @property
    def own_name(self) -> str:
        """Name of this server's member."""
        return self._core.serf.local_member.name

    @property
    def region(self) -> str:
        """The region it serves."""
        return self._core.region

    @property
    def servers(self) -> Mapping[str, Server]:
        """Servers of the region."""
        found = map(parse_server, self._core.serf.members.values())
        return {
            server.name: server
            for server in found
            if server is not None and server.region == self._core.region
        }

    @property
    def peers(self) -> tuple[RaftPeer, ...]:
        """Raft's configuration."""
        return self._consensus.configuration

    @property
    def raft(self) -> RaftStatus:
        """How Raft stands here."""
        return self._consensus.status


def uses_uuids(servers: Iterable[Server]) -> bool:
    """Whether servers are called by their UUIDs in Raft: if every one of these can do that."""
    return all(server.raft_version >= UUID_PROTOCOL for server in servers)


def alive(servers: Mapping[str, Server]) -> tuple[Server, ...]:
    """Those that are alive."""
    return tuple(server for server in servers.values() if server.status is Status.ALIVE)


def peer_of(server: Server, *, by_uuid: bool, is_voter: bool = True) -> RaftPeer:
    """A server as it stands in Raft's configuration."""
    name = server.id if by_uuid else str(server.address)
    return RaftPeer(name, server.address, is_voter)


def stands_for(peer: RaftPeer, server: Server) -> bool:
    """Whether a peer is this server, by its address or its id."""
    return peer.address == server.address or peer.id == server.id
