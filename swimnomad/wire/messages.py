"""The messages of the gossip layer as values, and the numbers of their types.

Field names are ours; the reference's spelling (SeqNo, SourceAddr) stays inside the codec. A node
name is text: bytes that are not UTF-8 survive as surrogate escapes. `None` for a byte field is nil
on the wire, which means the same as empty but is written differently.

Source: gossip.md §4, §5.
"""

from __future__ import annotations

import enum

from swimnomad.names import Value


class MessageType(enum.IntEnum):
    """First byte of a message."""

    PING = 0
    INDIRECT_PING = 1
    ACK = 2
    SUSPECT = 3
    ALIVE = 4
    DEAD = 5
    PUSH_PULL = 6
    COMPOUND = 7
    USER = 8
    COMPRESS = 9
    ENCRYPT = 10
    NACK = 11
    HAS_CRC = 12
    ERROR = 13
    HAS_LABEL = 244


class NodeState(enum.IntEnum):
    """State of a node in the gossip layer, with the numbers of the wire."""

    ALIVE = 0
    SUSPECT = 1
    DEAD = 2
    LEFT = 3


class Ping(Value, frozen=True):
    """Are you there? `node` is who the sender believes it probes, empty for anyone."""

    sequence: int
    node: str
    source_ip: bytes | None = None
    source_port: int = 0
    source_node: str = ""


class IndirectPing(Value, frozen=True):
    """Please probe a third node for me; `wants_nack` asks for a word if it does not answer."""

    sequence: int
    node: str
    target_ip: bytes | None
    target_port: int
    wants_nack: bool
    source_ip: bytes | None = None
    source_port: int = 0
    source_node: str = ""


class Ack(Value, frozen=True):
    """Answer to a ping of the same sequence number; `payload` is the application's."""

    sequence: int
    payload: bytes | None = None


class Nack(Value, frozen=True):
    """The node asked about in an indirect ping did not answer the helper in time."""

    sequence: int


class Suspect(Value, frozen=True):
    """`accuser` believes that `node`, as of `incarnation`, is gone."""

    node: str
    incarnation: int
    accuser: str


class Dead(Value, frozen=True):
    """`node`, as of `incarnation`, is dead; it left on purpose if `accuser` is the node itself."""

    node: str
    incarnation: int
    accuser: str


class Alive(Value, frozen=True):
    """`node` is alive at this address. `versions` should be six bytes, but may be anything."""

    node: str
    incarnation: int
    ip: bytes | None
    port: int
    meta: bytes | None
    versions: bytes | None


class NodeRecord(Value, frozen=True):
    """One entry of a push/pull. `state` is a `NodeState` or a number we do not know."""

    name: str
    incarnation: int
    ip: bytes | None
    port: int
    meta: bytes | None
    versions: bytes | None
    state: int


class PushPull(Value, frozen=True):
    """A whole state: every entry of a node table and the application's state."""

    is_join: bool
    nodes: tuple[NodeRecord, ...]
    user_state: bytes = b""


class UserMessage(Value, frozen=True):
    """An opaque application message. Framed differently in packets and on streams."""

    payload: bytes


class ErrorReply(Value, frozen=True):
    """Why the peer refused our stream, in its own words."""

    text: str


PacketMessage = Ping | IndirectPing | Ack | Nack | Suspect | Dead | Alive | UserMessage
"""What may stand in a datagram, once compounds and wrappers are peeled."""

StreamMessage = Ping | Ack | PushPull | UserMessage | ErrorReply
"""What may stand on a stream, once wrappers are peeled."""
