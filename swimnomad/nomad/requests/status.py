"""What a server is asked about itself and its region.

Source: rpc.md §9.
"""

from __future__ import annotations

from collections.abc import Mapping

from swimnomad.names import Value
from swimnomad.nomad.requests.base import Done, Query, Request
from swimnomad.serf.events import Member


class StatusPing(Request[Done], frozen=True, kw_only=True):
    """Are you there?"""


class Version(Value, frozen=True):
    """The version of Nomad that a server speaks, and those of its interfaces by name."""

    build: str
    versions: Mapping[str, int]


class StatusVersion(Query[Version], frozen=True, kw_only=True):
    """Which version does the region speak?"""


class StatusLeader(Query[str], frozen=True, kw_only=True):
    """Raft address of the region's leader; empty if it has none and the question was stale."""


class StatusPeers(Query[tuple[str, ...]], frozen=True, kw_only=True):
    """Raft addresses of the region's voters."""


class Members(Value, frozen=True):
    """Every member a server remembers, and the node name, region and datacenter of the server."""

    server: str
    region: str
    datacenter: str
    members: tuple[Member, ...]


class StatusMembers(Query[Members], frozen=True, kw_only=True):
    """Whom does this server know? Answered where it arrives, whatever the region."""


class RaftStats(Value, frozen=True):
    """How far a server's log is; `last_contact` is a duration as text, or `never`, or `0`."""

    last_contact: str
    last_index: int
    last_term: int


class StatusRaftStats(Request[RaftStats], frozen=True, kw_only=True):
    """How far is this server's log?"""


class NodeConnection(Value, frozen=True):
    """Whether a server holds a connection of a node, and since when (seconds since the epoch)."""

    is_connected: bool
    since: float | None = None


class StatusHasNodeConn(Query[NodeConnection], frozen=True, kw_only=True):
    """Does this server hold a connection of that node? Answered where it arrives."""

    node_id: str = ""
    secret_id: str = ""


class RegionList(Query[tuple[str, ...]], frozen=True, kw_only=True):
    """Regions with a live server, sorted. Answered where it arrives."""
