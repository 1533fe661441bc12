"""What agents ask each other on the RPC port, and what they answer, as values.

A request is named for its method: `StatusLeader` is `Status.Leader`. It carries its envelope (where
it is to be answered, on whose behalf) beside its own fields, flat as on the wire. Each class knows
the type of its answer. How these values are written is for the RPC room to say.

Source: rpc.md §7-9.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Generic, TypeVar

from swimnomad.names import Value
from swimnomad.serf.events import Member

Reply_co = TypeVar("Reply_co", covariant=True)


class Request(Value, Generic[Reply_co], frozen=True, kw_only=True):
    """Base of all requests; `Reply_co` is the type of the answer."""


class Done(Value, frozen=True):
    """The answer to a request that asks for nothing."""


class Query(Request[Reply_co], Generic[Reply_co], frozen=True, kw_only=True):
    """A request that reads, with the envelope of one.

    `region` says where it is answered. `stale` lets a server answer that does not lead.
    `min_index` and `wait` (seconds; 0 means the default) make some reads wait for a change; none of
    those here do. `token` is the secret of an ACL token, empty for nobody. `forwarded` is set once
    a server has passed the request on.
    """

    region: str = ""
    namespace: str = ""
    min_index: int = 0
    wait: float = 0.0
    stale: bool = False
    prefix: str = ""
    token: str = ""
    forwarded: bool = False


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


class Targeted(Query[Reply_co], Generic[Reply_co], frozen=True, kw_only=True):
    """A request to one particular agent, or to any server if both ids are empty.

    `server_id` is a member name, a server's identifier, or `leader`. `node_id` is the identifier of
    a client node.
    """

    server_id: str = ""
    node_id: str = ""


class DiskUse(Value, frozen=True):
    """Size of a file system, and what of it is not free for everyone, in MiB."""

    disk_mb: int
    used_mb: int


class HostData(Value, frozen=True):
    """The host of an agent, as support people want to see it; secrets are masked.

    `os` is the text of uname, `network` one map per interface address, `disk` the file systems by
    mount point.
    """

    os: str
    network: tuple[Mapping[str, str], ...]
    resolv_conf: str
    hosts: str
    environment: Mapping[str, str]
    disk: Mapping[str, DiskUse]


class Host(Value, frozen=True):
    """Which agent answered, and its host."""

    agent_id: str
    data: HostData


class AgentHost(Targeted[Host], frozen=True, kw_only=True):
    """What does the host look like?"""


class Profile(Value, frozen=True):
    """Which agent was profiled, the profile, and the HTTP headers that say what it is."""

    agent_id: str
    payload: bytes | None
    headers: Mapping[str, str]


class AgentProfile(Targeted[Profile], frozen=True, kw_only=True):
    """Take a profile of the process.

    `kind` is `cmdline`, `cpu`, `trace`, or `lookup` of the profile called `profile`. `seconds` is
    how long to look; `debug` and `gc` are those of Go's profiles.
    """

    kind: str = ""
    profile: str = ""
    seconds: int = 0
    debug: int = 0
    gc: int = 0


class AgentMonitor(Targeted[None], frozen=True, kw_only=True):
    """Stream the agent's log at `level` (empty means INFO), its lines as text or JSON.

    The pieces are frames of JSON, or plain text if `plain`.
    """

    level: str = ""
    json: bool = False
    plain: bool = False
