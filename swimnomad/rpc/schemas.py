"""How every request and reply stands on the wire: the only place that knows Go's field names.

Embedded structs are flat in Go's encoding, so the envelope's fields stand beside the request's own.
For records that come as arrays the fields have an order: that of the declaration in Nomad.

Source: rpc.md §5, §8.1, §9; nomad structs/structs.go.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple, Protocol, TypeVar

from swimnomad.errors import MalformedMessage
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
from swimnomad.serf.events import Member, Status
from swimnomad.wire.dialect import (
    BOOL,
    BYTES,
    TEXT,
    U8,
    U16,
    U64,
    Field,
    Kind,
    load_untrusted,
    pack,
)
from swimnomad.wire.go_dialect import (
    DURATION,
    INT,
    NO_TIME,
    TIME,
    GoTime,
    Record,
    list_of,
    map_of,
)

T = TypeVar("T")


class Codec(Protocol[T]):
    """Bytes of one object to a value and back."""

    def encode(self, value: T) -> bytes:
        """The value as one MessagePack object."""
        ...

    def decode_untrusted(self, data: bytes) -> T:
        """The value of one object.

        Raises:
            MalformedMessage: If the bytes hold no such value.
        """
        ...


class _Single:
    """A codec for what is no record: one value of a kind."""

    def __init__(self, kind: Kind) -> None:
        self._kind = kind

    def encode(self, value: Any) -> bytes:  # noqa: ANN401  # as its kind has it
        if self._kind.pack is not None:
            return self._kind.pack(value)
        return pack(value if self._kind.write is None else self._kind.write(value))

    def decode_untrusted(self, data: bytes) -> Any:  # noqa: ANN401
        return self._kind.read(load_untrusted(data))


class _Empty:
    """A codec for a struct without fields."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make

    def encode(self, value: object) -> bytes:
        return b"\x80"

    def decode_untrusted(self, data: bytes) -> Any:  # noqa: ANN401
        if not isinstance(load_untrusted(data), dict | list | None):
            raise MalformedMessage("expected a record")
        return self._make()


class _Converted:
    """A codec of values that stand on the wire as another type does."""

    def __init__(
        self,
        record: Record[Any],
        to_wire: Callable[[Any], object],
        from_wire: Callable[[Any], Any],
    ) -> None:
        self._record, self._to_wire, self._from_wire = record, to_wire, from_wire

    def encode(self, value: Any) -> bytes:  # noqa: ANN401
        return self._record.encode(self._to_wire(value))

    def decode_untrusted(self, data: bytes) -> Any:  # noqa: ANN401
        return self._from_wire(self._record.decode_untrusted(data))

    @property
    def kind(self) -> Kind:
        """The value as a field of a record."""

        def read(item: object) -> object:
            return self._from_wire(self._record.from_object(item))

        return Kind(read, None, self.encode)


# --- requests -------------------------------------------------------------------------------------

_ENVELOPE: Final = (
    Field("Region", "region", TEXT),
    Field("Namespace", "namespace", TEXT),
    Field("MinQueryIndex", "min_index", U64),
    Field("MaxQueryTime", "wait", DURATION),
    Field("AllowStale", "stale", BOOL),
    Field("Prefix", "prefix", TEXT),
    Field("AuthToken", "token", TEXT),
    Field("Forwarded", "forwarded", BOOL),
)
"""QueryOptions."""


def _query(make: Callable[..., T], *own: Field) -> Record[T]:
    """A reading request: its own fields in the order of their declaration, then the envelope."""
    fields = (*own, *_ENVELOPE)
    names = [field.name for field in fields]

    def build(*values: object) -> T:
        return make(**dict(zip(names, values, strict=True)))

    return Record(build, " ".join(field.key for field in fields), *fields)


STATUS_PING: Final[Codec[StatusPing]] = _Empty(StatusPing)
STATUS_VERSION: Final = _query(StatusVersion)
STATUS_LEADER: Final = _query(StatusLeader)
STATUS_PEERS: Final = _query(StatusPeers)
STATUS_MEMBERS: Final = _query(StatusMembers)
STATUS_RAFT_STATS: Final[Codec[StatusRaftStats]] = _Empty(StatusRaftStats)
STATUS_HAS_NODE_CONN: Final = _query(
    StatusHasNodeConn,
    Field("NodeID", "node_id", TEXT),
    Field("SecretID", "secret_id", TEXT),
)
REGION_LIST: Final = _query(RegionList)
AGENT_HOST: Final = _query(
    AgentHost,
    Field("ServerID", "server_id", TEXT),
    Field("NodeID", "node_id", TEXT),
)
AGENT_PROFILE: Final = _query(
    AgentProfile,
    Field("ReqType", "kind", TEXT),
    Field("Profile", "profile", TEXT),
    Field("Seconds", "seconds", INT),
    Field("Debug", "debug", INT),
    Field("GC", "gc", INT),
    Field("NodeID", "node_id", TEXT),
    Field("ServerID", "server_id", TEXT),
)
AGENT_MONITOR: Final = _query(
    AgentMonitor,
    Field("LogLevel", "level", TEXT),
    Field("LogJSON", "json", BOOL),
    Field("NodeID", "node_id", TEXT),
    Field("ServerID", "server_id", TEXT),
    Field("PlainText", "plain", BOOL),
)

# --- replies --------------------------------------------------------------------------------------


def _or_empty(kind: Kind, empty: object) -> Kind:
    """The kind with `empty` in place of nil when reading."""
    read = kind.read

    def read_or_empty(value: object) -> object:
        return empty if value is None else read(value)

    return kind._replace(read=read_or_empty)


def _texts(item: Kind = TEXT) -> Kind:
    return _or_empty(map_of(item), {})


def _several(item: Kind) -> Kind:
    return _or_empty(list_of(item), ())


_META: Final = (
    Field("Index", "meta_index", U64),
    Field("LastContact", "last_contact", DURATION),
    Field("KnownLeader", "known_leader", BOOL),
)
"""QueryMeta, which stays zero in the replies of this file, even at a leader."""
_META_KEYS: Final = "Index LastContact KnownLeader"


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


_MEMBER: Final = _Converted(
    Record(
        _Member,
        "Name Addr Port Tags Status "
        "ProtocolMin ProtocolMax ProtocolCur DelegateMin DelegateMax DelegateCur",
        Field("Name", "name", TEXT),
        Field("Addr", "ip", BYTES),
        Field("Port", "port", U16),
        Field("Tags", "tags", _texts()),
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

DONE: Final[Codec[Done]] = _Empty(Done)
ADDRESS: Final[Codec[str]] = _Single(TEXT)
NAMES: Final[Codec[tuple[str, ...]]] = _Single(_several(TEXT))
VERSION: Final[Codec[Version]] = _Converted(
    Record(
        _Version,
        f"Build Versions {_META_KEYS}",
        Field("Build", "build", TEXT),
        Field("Versions", "versions", _texts(INT)),
        *_META,
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
    Field("Members", "members", _several(_MEMBER.kind)),
)
RAFT_STATS: Final[Codec[RaftStats]] = Record(
    RaftStats,
    "LastContact LastIndex LastTerm",
    Field("LastContact", "last_contact", TEXT),
    Field("LastIndex", "last_index", U64),
    Field("LastTerm", "last_term", U64),
)
NODE_CONNECTION: Final[Codec[NodeConnection]] = _Converted(
    Record(
        _Connection,
        f"Connected Established {_META_KEYS}",
        Field("Connected", "connected", BOOL),
        Field("Established", "established", TIME),
        *_META,
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
    Field("Network", "network", _several(_texts())),
    Field("ResolvConf", "resolv_conf", TEXT),
    Field("Hosts", "hosts", TEXT),
    Field("Environment", "environment", _texts()),
    Field("Disk", "disk", _texts(_DISK.nested)),
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
    Field("HTTPHeaders", "headers", _texts()),
)
