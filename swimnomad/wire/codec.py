"""Messages of the gossip layer to bytes and back, in their packet form: type byte, then body.

Wrappers (compound, compress, CRC, encryption, label) are the business of `packets`.

Source: gossip.md §5.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final

from swimnomad.errors import MalformedMessage
from swimnomad.wire.dialect import BOOL, BYTES, I64, TEXT, U16, U32, Field, Schema
from swimnomad.wire.messages import (
    Ack,
    Alive,
    Dead,
    ErrorReply,
    IndirectPing,
    MessageType,
    Nack,
    NodeRecord,
    PacketMessage,
    Ping,
    Suspect,
    UserMessage,
)

_SOURCE: Final = (
    Field("SourceAddr", "source_ip", BYTES, omit_empty=True),
    Field("SourcePort", "source_port", U16, omit_empty=True),
    Field("SourceNode", "source_node", TEXT, omit_empty=True),
)

PING: Final = Schema(
    Ping,
    "SeqNo Node SourceAddr SourcePort SourceNode",
    Field("SeqNo", "sequence", U32),
    Field("Node", "node", TEXT),
    *_SOURCE,
)
INDIRECT_PING: Final = Schema(
    IndirectPing,
    "SeqNo Target Port Node Nack SourceAddr SourcePort SourceNode",
    Field("SeqNo", "sequence", U32),
    Field("Node", "node", TEXT),
    Field("Target", "target_ip", BYTES),
    Field("Port", "target_port", U16),
    Field("Nack", "wants_nack", BOOL),
    *_SOURCE,
)
ACK: Final = Schema(
    Ack,
    "SeqNo Payload",
    Field("SeqNo", "sequence", U32),
    Field("Payload", "payload", BYTES),
)
NACK: Final = Schema(Nack, "SeqNo", Field("SeqNo", "sequence", U32))
SUSPECT: Final = Schema(
    Suspect,
    "Incarnation Node From",
    Field("Node", "node", TEXT),
    Field("Incarnation", "incarnation", U32),
    Field("From", "accuser", TEXT),
)
DEAD: Final = Schema(
    Dead,
    "Incarnation Node From",
    Field("Node", "node", TEXT),
    Field("Incarnation", "incarnation", U32),
    Field("From", "accuser", TEXT),
)
ALIVE: Final = Schema(
    Alive,
    "Incarnation Node Addr Port Meta Vsn",
    Field("Node", "node", TEXT),
    Field("Incarnation", "incarnation", U32),
    Field("Addr", "ip", BYTES),
    Field("Port", "port", U16),
    Field("Meta", "meta", BYTES),
    Field("Vsn", "versions", BYTES),
)
NODE_RECORD: Final = Schema(
    NodeRecord,
    "Name Addr Port Meta Incarnation State Vsn",
    Field("Name", "name", TEXT),
    Field("Incarnation", "incarnation", U32),
    Field("Addr", "ip", BYTES),
    Field("Port", "port", U16),
    Field("Meta", "meta", BYTES),
    Field("Vsn", "versions", BYTES),
    Field("State", "state", I64),
)
ERROR_REPLY: Final = Schema(ErrorReply, "Error", Field("Error", "text", TEXT))

_SCHEMAS: Final[dict[MessageType, Schema[Any]]] = {
    MessageType.PING: PING,
    MessageType.INDIRECT_PING: INDIRECT_PING,
    MessageType.ACK: ACK,
    MessageType.SUSPECT: SUSPECT,
    MessageType.ALIVE: ALIVE,
    MessageType.DEAD: DEAD,
    MessageType.NACK: NACK,
}
_CLASSES: Final[dict[type, MessageType]] = {
    Ping: MessageType.PING,
    IndirectPing: MessageType.INDIRECT_PING,
    Ack: MessageType.ACK,
    Suspect: MessageType.SUSPECT,
    Alive: MessageType.ALIVE,
    Dead: MessageType.DEAD,
    Nack: MessageType.NACK,
}
_ENCODERS: Final[dict[type, tuple[bytes, Callable[[Any], bytes]]]] = {
    message: (bytes((number,)), _SCHEMAS[number].encode) for message, number in _CLASSES.items()
}
_DECODERS: Final[dict[int, Callable[[bytes], Any]]] = {
    int(number): schema.decode_untrusted for number, schema in _SCHEMAS.items()
}

_REPEATED: Final = frozenset(
    (MessageType.SUSPECT, MessageType.ALIVE, MessageType.DEAD, MessageType.USER)
)
_REPEATED_BYTES_MAX = 1024


def encode(message: PacketMessage) -> bytes:
    """The packet form of a message, type byte first."""
    if type(message) is UserMessage:
        return b"\x08" + message.payload
    prefix, encode_body = _ENCODERS[type(message)]
    return prefix + encode_body(message)


def decode_untrusted(data: bytes) -> PacketMessage:
    """The message in `data`, which is what `PacketCodec.unpack_untrusted` gave.

    Raises:
        MalformedMessage: If the type does not belong into a packet or the body does not decode.
    """
    if not data:
        raise MalformedMessage("empty message")
    number = data[0]
    if number in _REPEATED and len(data) <= _REPEATED_BYTES_MAX:
        return _decode_repeated(data)
    return _decode(data)


def _decode(data: bytes) -> PacketMessage:
    if data[0] == MessageType.USER:
        return UserMessage(data[1:])
    decode_body = _DECODERS.get(data[0])
    if decode_body is None:
        raise MalformedMessage(f"message type {data[0]} is not supported in a packet")
    message: PacketMessage = decode_body(data[1:])
    return message


# Gossip repeats itself by design: a node hears the same claim several times within a second.
_decode_repeated = lru_cache(maxsize=2048)(_decode)
