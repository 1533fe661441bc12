"""Serf messages and query filters to bytes and back; their values come from `serf_bodies`.

Source: serf.md §3, §15.3.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final, NamedTuple

from swimnomad.errors import MalformedMessage
from swimnomad.wire.dialect import (
    BOOL,
    BYTES,
    I64,
    TEXT,
    U8,
    U16,
    U32,
    U64,
    Field,
    Kind,
    Schema,
    list_of,
    load_untrusted,
    map_of,
    pack,
    scan_untrusted,
)
from swimnomad.wire.serf_bodies import (
    BufferedEvent,
    ConflictMember,
    ConflictResponse,
    EventSlot,
    JoinIntent,
    KeyRequest,
    KeyResponse,
    LeaveIntent,
    MemberState,
    NodeFilter,
    Query,
    QueryFilter,
    QueryFlag,
    QueryResponse,
    Relay,
    ResponseFlag,
    SerfMessage,
    SerfType,
    TagFilter,
    UserEvent,
)

__all__ = [
    "BufferedEvent",
    "ConflictMember",
    "ConflictResponse",
    "EventSlot",
    "JoinIntent",
    "KeyRequest",
    "KeyResponse",
    "LeaveIntent",
    "MemberState",
    "NodeFilter",
    "Query",
    "QueryFilter",
    "QueryFlag",
    "QueryResponse",
    "Relay",
    "ResponseFlag",
    "SerfMessage",
    "SerfType",
    "TagFilter",
    "UserEvent",
    "decode_filter_untrusted",
    "decode_serf_untrusted",
    "encode_filter",
    "encode_serf",
]


def _tuple_of(item: Kind) -> Kind:
    """A list as a tuple; nil reads as an empty one."""
    kind = list_of(item)
    return Kind(lambda value: kind.read(value) or (), kind.write)


_BUFFERED_EVENT = Schema(
    BufferedEvent,
    "Name Payload",
    Field("Name", "name", TEXT),
    Field("Payload", "payload", BYTES),
)
_EVENT_SLOT = Schema(
    EventSlot,
    "LTime Events",
    Field("LTime", "ltime", U64),
    Field("Events", "events", _tuple_of(_BUFFERED_EVENT.nested)),
)
_CONFLICT_MEMBER = Schema(
    ConflictMember,
    "Name Addr Port Tags Status ProtocolMin ProtocolMax ProtocolCur "
    "DelegateMin DelegateMax DelegateCur",
    Field("Name", "name", TEXT),
    Field("Addr", "ip", BYTES),
    Field("Port", "port", U16),
    Field("Tags", "tags", map_of(TEXT)),
    Field("Status", "status", I64),
    Field("ProtocolMin", "protocol_min", U8),
    Field("ProtocolMax", "protocol_max", U8),
    Field("ProtocolCur", "protocol_current", U8),
    Field("DelegateMin", "delegate_min", U8),
    Field("DelegateMax", "delegate_max", U8),
    Field("DelegateCur", "delegate_current", U8),
)

_SCHEMAS: Final[dict[type, tuple[SerfType, Schema[Any]]]] = {
    LeaveIntent: (
        SerfType.LEAVE,
        Schema(
            LeaveIntent,
            "LTime Node Prune",
            Field("LTime", "ltime", U64),
            Field("Node", "node", TEXT),
            Field("Prune", "prune", BOOL),
        ),
    ),
    JoinIntent: (
        SerfType.JOIN,
        Schema(
            JoinIntent,
            "LTime Node",
            Field("LTime", "ltime", U64),
            Field("Node", "node", TEXT),
        ),
    ),
    MemberState: (
        SerfType.PUSH_PULL,
        Schema(
            MemberState,
            "LTime StatusLTimes LeftMembers EventLTime Events QueryLTime",
            Field("LTime", "ltime", U64),
            Field("StatusLTimes", "status_ltimes", map_of(U64)),
            Field("LeftMembers", "left_members", _tuple_of(TEXT)),
            Field("EventLTime", "event_ltime", U64),
            Field("Events", "events", _tuple_of(_EVENT_SLOT.nullable)),
            Field("QueryLTime", "query_ltime", U64),
        ),
    ),
    UserEvent: (
        SerfType.USER_EVENT,
        Schema(
            UserEvent,
            "LTime Name Payload CC",
            Field("LTime", "ltime", U64),
            Field("Name", "name", TEXT),
            Field("Payload", "payload", BYTES),
            Field("CC", "coalesce", BOOL),
        ),
    ),
    Query: (
        SerfType.QUERY,
        Schema(
            Query,
            "LTime ID Addr Port SourceNode Filters Flags RelayFactor Timeout Name Payload",
            Field("LTime", "ltime", U64),
            Field("ID", "id", U32),
            Field("Addr", "ip", BYTES),
            Field("Port", "port", U16),
            Field("SourceNode", "source_node", TEXT),
            Field("Filters", "filters", list_of(BYTES)),
            Field("Flags", "flags", U32),
            Field("RelayFactor", "relay_factor", U8),
            Field("Timeout", "timeout_ns", I64),
            Field("Name", "name", TEXT),
            Field("Payload", "payload", BYTES),
        ),
    ),
    QueryResponse: (
        SerfType.QUERY_RESPONSE,
        Schema(
            QueryResponse,
            "LTime ID From Flags Payload",
            Field("LTime", "ltime", U64),
            Field("ID", "id", U32),
            Field("From", "sender", TEXT),
            Field("Flags", "flags", U32),
            Field("Payload", "payload", BYTES),
        ),
    ),
    KeyRequest: (
        SerfType.KEY_REQUEST,
        Schema(KeyRequest, "Key", Field("Key", "key", BYTES)),
    ),
    KeyResponse: (
        SerfType.KEY_RESPONSE,
        Schema(
            KeyResponse,
            "Result Message Keys PrimaryKey",
            Field("Result", "result", BOOL),
            Field("Message", "message", TEXT),
            Field("Keys", "keys", list_of(TEXT)),
            Field("PrimaryKey", "primary_key", TEXT),
        ),
    ),
}
_BY_NUMBER: Final[dict[int, Schema[Any]]] = {
    int(number): schema for number, schema in _SCHEMAS.values()
}


# --- the relay: a header, then another message ----------------------------------------------------


class _UdpAddress(NamedTuple):
    ip: bytes | None
    port: int
    zone: str


class _RelayHeader(NamedTuple):
    to: _UdpAddress
    node: str


_RELAY_HEADER: Final = Schema(
    _RelayHeader,
    "DestAddr DestName",
    Field(
        "DestAddr",
        "to",
        Schema(
            _UdpAddress,
            "IP Port Zone",
            Field("IP", "ip", BYTES),
            Field("Port", "port", U16),
            Field("Zone", "zone", TEXT),
        ).nested,
    ),
    Field("DestName", "node", TEXT),
)


def _decode_relay(body: bytes) -> Relay:
    end, pending = scan_untrusted(body, 0, 1)
    if pending or end > len(body):
        raise MalformedMessage("unexpected EOF")
    header = _RELAY_HEADER.decode_untrusted(body[:end])
    return Relay(header.to.ip, header.to.port, header.node, body[end:], header.to.zone)


# --- all messages ---------------------------------------------------------------------------------


def encode_serf(message: SerfMessage) -> bytes:
    """A Serf message, its own type byte first (not that of the gossip layer)."""
    if isinstance(message, ConflictResponse):
        member = message.member
        body = None if member is None else _CONFLICT_MEMBER.to_map(member)
        return bytes((SerfType.CONFLICT_RESPONSE,)) + pack(body)
    if isinstance(message, Relay):
        to = _UdpAddress(message.ip, message.port, message.zone)
        header = _RELAY_HEADER.encode(_RelayHeader(to, message.node))
        return bytes((SerfType.RELAY,)) + header + message.inner
    number, schema = _SCHEMAS[type(message)]
    return bytes((number,)) + schema.encode(message)


def decode_serf_untrusted(data: bytes) -> SerfMessage:
    """The Serf message in the payload of a user message or in a push/pull.

    Raises:
        MalformedMessage: If the type is unknown or the body does not decode.
    """
    if not data:
        raise MalformedMessage("empty Serf message")
    if data[0] in _REPEATED and len(data) <= _REPEATED_BYTES_MAX:
        return _decode_repeated(data)
    return _decode(data)


def _decode(data: bytes) -> SerfMessage:
    number, body = data[0], data[1:]
    if number == SerfType.RELAY:
        return _decode_relay(body)
    if number == SerfType.CONFLICT_RESPONSE:
        return ConflictResponse(_CONFLICT_MEMBER.nullable.read(load_untrusted(body)))
    schema = _BY_NUMBER.get(number)
    if schema is None:
        raise MalformedMessage(f"Serf message type {number} is unknown")
    message: SerfMessage = schema.decode_untrusted(body)
    return message


# What is gossiped comes again and again within a second; the rest comes once.
_REPEATED = frozenset((SerfType.LEAVE, SerfType.JOIN, SerfType.USER_EVENT, SerfType.QUERY))
_REPEATED_BYTES_MAX = 1024
_decode_repeated = lru_cache(maxsize=2048)(_decode)


# --- query filters --------------------------------------------------------------------------------

_NODE_FILTER = 0
_TAG_FILTER = 1
_NAMES = _tuple_of(TEXT)
_TAG_FILTER_SCHEMA = Schema(
    TagFilter,
    "Tag Expr",
    Field("Tag", "tag", TEXT),
    Field("Expr", "expression", TEXT),
)


def encode_filter(query_filter: QueryFilter) -> bytes:
    """One element of `Query.filters`."""
    if isinstance(query_filter, NodeFilter):
        return bytes((_NODE_FILTER,)) + pack(list(query_filter.nodes))
    return bytes((_TAG_FILTER,)) + _TAG_FILTER_SCHEMA.encode(query_filter)


def decode_filter_untrusted(data: bytes | None) -> QueryFilter:
    """One element of `Query.filters`; who cannot understand a filter does not match it.

    Raises:
        MalformedMessage: If it is empty, of an unknown type, or does not decode.
    """
    if not data:
        raise MalformedMessage("empty query filter")
    if data[0] == _NODE_FILTER:
        return NodeFilter(_NAMES.read(load_untrusted(data[1:])))
    if data[0] == _TAG_FILTER:
        return _TAG_FILTER_SCHEMA.decode_untrusted(data[1:])
    raise MalformedMessage(f"query filter type {data[0]} is unknown")
