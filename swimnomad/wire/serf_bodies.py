"""The bodies of Serf messages as values.

A Serf message is what a gossip user message carries, or the application state of a push/pull: a
type byte, then one MessagePack map. Field names are ours, as in `messages`. `None` for bytes or a
list is nil, which means the same as empty but is written differently.

Source: serf.md §2, §3, §15.3.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping

import msgspec

from swimnomad.names import Value


class SerfType(enum.IntEnum):
    """First byte of a Serf message."""

    LEAVE = 0
    JOIN = 1
    PUSH_PULL = 2
    USER_EVENT = 3
    QUERY = 4
    QUERY_RESPONSE = 5
    CONFLICT_RESPONSE = 6
    KEY_REQUEST = 7
    KEY_RESPONSE = 8
    RELAY = 9


class QueryFlag(enum.IntFlag):
    """Bits of `Query.flags`."""

    ACK = 1
    NO_BROADCAST = 2


class ResponseFlag(enum.IntFlag):
    """Bits of `QueryResponse.flags`."""

    ACK = 1


class LeaveIntent(Value, frozen=True):
    """`node` is about to leave, or is declared left; with `prune` it shall be forgotten at once."""

    ltime: int
    node: str
    prune: bool = False


class JoinIntent(Value, frozen=True):
    """`node` has joined at `ltime`."""

    ltime: int
    node: str


class BufferedEvent(Value, frozen=True):
    """One user event of an `EventSlot`."""

    name: str
    payload: bytes | None = None


class EventSlot(Value, frozen=True):
    """The recent user events of one Lamport time."""

    ltime: int
    events: tuple[BufferedEvent, ...] = ()


class MemberState(Value, frozen=True):
    """The Serf part of a push/pull: clocks, statuses, recent events.

    `status_ltimes` holds every known member; `events` is the whole ring, None in unused slots.
    """

    ltime: int
    status_ltimes: Mapping[str, int] = msgspec.field(default_factory=dict)
    left_members: tuple[str, ...] = ()
    event_ltime: int = 0
    events: tuple[EventSlot | None, ...] = ()
    query_ltime: int = 0


class UserEvent(Value, frozen=True):
    """A user event; `coalesce` allows receivers to keep only the newest of a name."""

    ltime: int
    name: str
    payload: bytes | None = None
    coalesce: bool = False


class Query(Value, frozen=True):
    """A question to all nodes that pass every filter; answers go to `ip`:`port`.

    `flags` are `QueryFlag`s, perhaps with bits we do not know. `timeout_ns` is in nanoseconds.
    """

    ltime: int
    id: int
    ip: bytes | None
    port: int
    source_node: str
    filters: tuple[bytes | None, ...] | None
    flags: int
    relay_factor: int
    timeout_ns: int
    name: str
    payload: bytes | None = None


class QueryResponse(Value, frozen=True):
    """An ack (`ResponseFlag.ACK`) or an answer to the query with this `ltime` and `id`."""

    ltime: int
    id: int
    sender: str
    flags: int = 0
    payload: bytes | None = None


class ConflictMember(Value, frozen=True):
    """A member as another node sees it; `status` is a `Status` or a number we do not know."""

    name: str
    ip: bytes | None
    port: int
    tags: Mapping[str, str]
    status: int
    protocol_min: int
    protocol_max: int
    protocol_current: int
    delegate_min: int
    delegate_max: int
    delegate_current: int


class ConflictResponse(Value, frozen=True):
    """Answer to the question who `_serf_conflict` is about; None if the name is unknown."""

    member: ConflictMember | None


class KeyRequest(Value, frozen=True):
    """Payload of a key query: the raw key, empty to list keys."""

    key: bytes | None


class KeyResponse(Value, frozen=True):
    """Answer to a key query; keys are base64."""

    result: bool
    message: str = ""
    keys: tuple[str, ...] | None = None
    primary_key: str = ""


class Relay(Value, frozen=True):
    """Please send `inner`, a whole Serf message, to `ip`:`port` as it is."""

    ip: bytes | None
    port: int
    node: str
    inner: bytes
    zone: str = ""


SerfMessage = (
    LeaveIntent
    | JoinIntent
    | MemberState
    | UserEvent
    | Query
    | QueryResponse
    | ConflictResponse
    | KeyRequest
    | KeyResponse
    | Relay
)
"""Every message of the Serf layer."""


class NodeFilter(Value, frozen=True):
    """A query filter: the receiver's name is one of these."""

    nodes: tuple[str, ...]


class TagFilter(Value, frozen=True):
    """A query filter: `expression` (Go RE2 syntax) matches in the receiver's tag, or in ""."""

    tag: str
    expression: str


QueryFilter = NodeFilter | TagFilter
