"""How requests to particular agents and their replies stand on the wire.

Source: rpc.md §5, §8.1, §9; nomad structs/structs.go.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from swimnomad.nomad.requests import (
    AgentHost,
    AgentMonitor,
    AgentProfile,
    DiskUse,
    Done,
    Host,
    HostData,
    Members,
    NodeConnection,
    Profile,
    RaftStats,
    RegionList,
    StatusHasNodeConn,
    StatusLeader,
    StatusMembers,
    StatusPeers,
    StatusPing,
    StatusRaftStats,
    StatusVersion,
    Version,
)
from swimnomad.rpc.schemas.kinds import (
    META,
    META_KEYS,
    Codec,
    Converted,
    Empty,
    Single,
    query,
    several,
    texts,
)
from swimnomad.serf.events import Member, Status
from swimnomad.wire.dialect import (
    BOOL,
    BYTES,
    TEXT,
    U8,
    U16,
    U64,
    Field,
)
from swimnomad.wire.go_dialect import (
    INT,
    NO_TIME,
    TIME,
    GoTime,
    Record,
)

STATUS_PING: Final[Codec[StatusPing]] = Empty(StatusPing)
STATUS_VERSION: Final = query(StatusVersion)
STATUS_LEADER: Final = query(StatusLeader)
STATUS_PEERS: Final = query(StatusPeers)
STATUS_MEMBERS: Final = query(StatusMembers)
STATUS_RAFT_STATS: Final[Codec[StatusRaftStats]] = Empty(StatusRaftStats)
STATUS_HAS_NODE_CONN: Final = query(
    StatusHasNodeConn,
    Field("NodeID", "node_id", TEXT),
    Field("SecretID", "secret_id", TEXT),
)
REGION_LIST: Final = query(RegionList)
AGENT_HOST: Final = query(
    AgentHost,
    Field("ServerID", "server_id", TEXT),
    Field("NodeID", "node_id", TEXT),
)
AGENT_PROFILE: Final = query(
    AgentProfile,
    Field("ReqType", "kind", TEXT),
    Field("Profile", "profile", TEXT),
    Field("Seconds", "seconds", INT),
    Field("Debug", "debug", INT),
    Field("GC", "gc", INT),
    Field("NodeID", "node_id", TEXT),
    Field("ServerID", "server_id", TEXT),
)
AGENT_MONITOR: Final = query(
    AgentMonitor,
    Field("LogLevel", "level", TEXT),
    Field("LogJSON", "json", BOOL),
    Field("NodeID", "node_id", TEXT),
    Field("ServerID", "server_id", TEXT),
    Field("PlainText", "plain", BOOL),
)

# --- replies --------------------------------------------------------------------------------------


class _Version(NamedTuple):
    build: str
    versions: dict[str, int]
    meta_index: int = 0
    last_contact: float = 0.0
    known_leader: bool = False


class _Connection(NamedTuple):
    connected: bool
    established: GoTime
    meta_index: int = 0
    last_contact: float = 0.0
    known_leader: bool = False


class _Member(NamedTuple):
    name: str
    ip: bytes | None
    port: int
    tags: dict[str, str]
    status: str
    protocol_min: int
    protocol_max: int
    protocol_current: int
    delegate_min: int
    delegate_max: int
    delegate_current: int


_STATUSES: Final = {status.text: status for status in Status}


def _member_to_wire(member: Member) -> _Member:
    return _Member(
        member.name,
        member.ip or None,
        member.port,
        dict(member.tags),
        member.status.text,
        *member.versions[:6].ljust(6, b"\0"),
    )


def _member_from_wire(found: _Member) -> Member:
    name, ip, port, tags, status, *versions = found
    known = _STATUSES.get(status, Status.NONE)
    return Member(name, ip or b"", port, tags, known, bytes(versions))


_MEMBER: Final = Converted(
    Record(
        _Member,
        "Name Addr Port Tags Status "
        "ProtocolMin ProtocolMax ProtocolCur DelegateMin DelegateMax DelegateCur",
        Field("Name", "name", TEXT),
        Field("Addr", "ip", BYTES),
        Field("Port", "port", U16),
        Field("Tags", "tags", texts()),
        Field("Status", "status", TEXT),
        Field("ProtocolMin", "protocol_min", U8),
        Field("ProtocolMax", "protocol_max", U8),
        Field("ProtocolCur", "protocol_current", U8),
        Field("DelegateMin", "delegate_min", U8),
        Field("DelegateMax", "delegate_max", U8),
        Field("DelegateCur", "delegate_current", U8),
    ),
    _member_to_wire,
    _member_from_wire,
)

DONE: Final[Codec[Done]] = Empty(Done)
ADDRESS: Final[Codec[str]] = Single(TEXT)
NAMES: Final[Codec[tuple[str, ...]]] = Single(several(TEXT))
VERSION: Final[Codec[Version]] = Converted(
    Record(
        _Version,
        f"Build Versions {META_KEYS}",
        Field("Build", "build", TEXT),
        Field("Versions", "versions", texts(INT)),
        *META,
    ),
    lambda reply: _Version(reply.build, reply.versions),
    lambda found: Version(found.build, found.versions),
)
MEMBERS: Final[Codec[Members]] = Record(
    Members,
    "ServerName ServerRegion ServerDC Members",
    Field("ServerName", "server", TEXT),
    Field("ServerRegion", "region", TEXT),
    Field("ServerDC", "datacenter", TEXT),
    Field("Members", "members", several(_MEMBER.kind)),
)
RAFT_STATS: Final[Codec[RaftStats]] = Record(
    RaftStats,
    "LastContact LastIndex LastTerm",
    Field("LastContact", "last_contact", TEXT),
    Field("LastIndex", "last_index", U64),
    Field("LastTerm", "last_term", U64),
)
NODE_CONNECTION: Final[Codec[NodeConnection]] = Converted(
    Record(
        _Connection,
        f"Connected Established {META_KEYS}",
        Field("Connected", "connected", BOOL),
        Field("Established", "established", TIME),
        *META,
    ),
    lambda reply: _Connection(
        reply.is_connected, NO_TIME if reply.since is None else GoTime.from_unix(reply.since)
    ),
    lambda found: NodeConnection(
        found.connected, None if found.established.is_zero else found.established.unix
    ),
)
_DISK: Final = Record(
    DiskUse,
    "DiskMB UsedMB",
    Field("DiskMB", "disk_mb", INT),
    Field("UsedMB", "used_mb", INT),
)
_HOST_DATA: Final = Record(
    HostData,
    "OS Network ResolvConf Hosts Environment Disk",
    Field("OS", "os", TEXT),
    Field("Network", "network", several(texts())),
    Field("ResolvConf", "resolv_conf", TEXT),
    Field("Hosts", "hosts", TEXT),
    Field("Environment", "environment", texts()),
    Field("Disk", "disk", texts(_DISK.nested)),
)
HOST: Final[Codec[Host]] = Record(
    Host,
    "AgentID HostData",
    Field("AgentID", "agent_id", TEXT),
    Field("HostData", "data", _HOST_DATA.nested),
)
PROFILE: Final[Codec[Profile]] = Record(
    Profile,
    "AgentID Payload HTTPHeaders",
    Field("AgentID", "agent_id", TEXT),
    Field("Payload", "payload", BYTES),
    Field("HTTPHeaders", "headers", texts()),
)
