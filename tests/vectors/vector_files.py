"""The vector files, and what their `decoded` parts mean in values of ours."""

from __future__ import annotations

import base64
import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from _pytest.mark import ParameterSet

from swimnomad.wire.codec import encode
from swimnomad.wire.compound import make_compound
from swimnomad.wire.compression import wrap
from swimnomad.wire.crc import add_crc
from swimnomad.wire.encryption import seal
from swimnomad.wire.keyring import Keyring
from swimnomad.wire.messages import (
    Ack,
    Alive,
    Dead,
    ErrorReply,
    IndirectPing,
    Nack,
    NodeRecord,
    PacketMessage,
    Ping,
    PushPull,
    StreamMessage,
    Suspect,
    UserMessage,
)
from swimnomad.wire.serf_messages import (
    BufferedEvent,
    ConflictMember,
    ConflictResponse,
    EventSlot,
    JoinIntent,
    KeyRequest,
    KeyResponse,
    LeaveIntent,
    MemberState,
    Query,
    QueryResponse,
    Relay,
    SerfMessage,
    UserEvent,
    encode_serf,
)

Decoded = dict[str, Any]
FOLDER = Path(__file__).parent


@cache
def load(file: str) -> list[Decoded]:
    """All vectors of a file."""
    vectors: list[Decoded] = json.loads((FOLDER / f"{file}.json").read_text())
    return vectors


def named(file: str, prefix: str = "") -> list[ParameterSet]:
    """Vectors whose name begins with `prefix`, as parameters of a test."""
    found = [vector for vector in load(file) if vector["name"].startswith(prefix)]
    assert found
    return [pytest.param(vector, id=vector["name"].removeprefix(prefix)) for vector in found]


def wire_bytes(vector: Decoded) -> bytes:
    """The recorded bytes of a vector."""
    return bytes.fromhex(vector["hex"])


def keyring(vector: Decoded) -> Keyring:
    """A ring with the key of a vector, empty if it has none."""
    return Keyring(primary=base64.b64decode(vector["key"])) if "key" in vector else Keyring()


def raw(value: Decoded | None) -> bytes | None:
    """Bytes as they stand in `decoded`."""
    return None if value is None else bytes.fromhex(value["hex"])


def some(value: Decoded) -> bytes:
    """Bytes that are not nil."""
    return bytes.fromhex(value["hex"])


def expand(recipe: Decoded) -> bytes:
    """The bytes of a recipe."""
    if "hex" in recipe:
        return some(recipe)
    if "repeat" in recipe:
        return expand(recipe["repeat"]) * int(recipe["count"])
    if "odd_step" in recipe:
        steps = bytes(i * step & 255 for step in range(1, 256, 2) for i in range(256))
        return steps[: recipe["odd_step"]]
    label, length = recipe["sha256_stream"].encode(), recipe["length"]
    blocks = (
        hashlib.sha256(label + i.to_bytes(4, "big")).digest() for i in range(length // 32 + 1)
    )
    stream = b"".join(blocks)[:length]
    return bytes(byte & recipe.get("and_mask", 255) for byte in stream)


# --- messages of the gossip layer -----------------------------------------------------------------


def _source(body: Decoded) -> tuple[bytes | None, int, str]:
    return raw(body.get("SourceAddr")), body.get("SourcePort", 0), body.get("SourceNode", "")


def packet_message(decoded: Decoded) -> PacketMessage:
    """The value that one bare message of a datagram stands for."""
    kind, body = decoded["msg"], decoded.get("body", {})
    match kind:
        case "ping":
            return Ping(body["SeqNo"], body["Node"], *_source(body))
        case "indirect-ping":
            target = (raw(body["Target"]), body["Port"], body["Nack"])
            return IndirectPing(body["SeqNo"], body["Node"], *target, *_source(body))
        case "ack":
            return Ack(body["SeqNo"], raw(body["Payload"]))
        case "nack":
            return Nack(body["SeqNo"])
        case "suspect":
            return Suspect(body["Node"], body["Incarnation"], body["From"])
        case "dead":
            return Dead(body["Node"], body["Incarnation"], body["From"])
        case "alive":
            rest = (raw(body["Addr"]), body["Port"], raw(body["Meta"]), raw(body["Vsn"]))
            return Alive(body["Node"], body["Incarnation"], *rest)
        case "user":
            payload = decoded.get("payload")
            return UserMessage(
                some(payload) if payload else encode_serf(serf_message(decoded["serf"]))
            )
        case _:
            raise AssertionError(f"{kind} is no message of a datagram")


def stream_message(decoded: Decoded) -> StreamMessage:
    """The value that the message of a stream stands for, its wrappers left out."""
    kind, body = decoded["msg"], decoded.get("body", {})
    match kind:
        case "encrypt" | "compress":
            return stream_message(decoded["inner"])
        case "err":
            return ErrorReply(body["Error"])
        case "user":
            return UserMessage(some(decoded["payload"]))
        case "push-pull":
            state = decoded.get("user_state")
            user_state = encode_serf(serf_message(state)) if state else b""
            records = tuple(_node_record(node["body"]) for node in decoded["nodes"])
            return PushPull(decoded["header"]["Join"], records, user_state)
        case _:
            message = packet_message(decoded)
            assert isinstance(message, Ping | Ack)
            return message


def _node_record(body: Decoded) -> NodeRecord:
    rest = (raw(body["Addr"]), body["Port"], raw(body["Meta"]), raw(body["Vsn"]), body["State"])
    return NodeRecord(body["Name"], body["Incarnation"], *rest)


def bare_messages(decoded: Decoded) -> list[Decoded]:
    """The bare messages in a datagram, in order."""
    if "parts" in decoded:
        return [message for part in decoded["parts"] for message in bare_messages(part)]
    return bare_messages(decoded["inner"]) if "inner" in decoded else [decoded]


def layers(decoded: Decoded) -> list[str]:
    """The wrappers around a datagram or stream message, outermost first."""
    return [decoded["msg"], *layers(decoded["inner"])] if "inner" in decoded else []


def build(decoded: Decoded, key: bytes | None) -> bytes:
    """The bytes of a datagram, layer by layer."""
    match decoded["msg"]:
        case "encrypted":
            assert key is not None
            plain = build(decoded["inner"], key)
            return seal(key, some(decoded["nonce"]), plain, b"", decoded["version"])
        case "has-crc":
            return add_crc(build(decoded["inner"], key))
        case "compress":
            return wrap(build(decoded["inner"], key))
        case "compound":
            return make_compound([build(part, key) for part in decoded["parts"]])
        case _:
            return encode(packet_message(decoded))


# --- Serf messages --------------------------------------------------------------------------------


def serf_message(decoded: Decoded) -> SerfMessage:
    """The value that a Serf message stands for."""
    kind, body = decoded["serf"], decoded.get("body")
    if kind == "relay":
        to = decoded["header"]["DestAddr"]
        inner = encode_serf(serf_message(decoded["inner"]))
        name = decoded["header"]["DestName"]
        return Relay(raw(to["IP"]), to["Port"], name, inner, to["Zone"])
    if kind == "conflict-response":
        return ConflictResponse(_conflict_member(body) if body else None)
    assert body is not None
    match kind:
        case "leave":
            return LeaveIntent(body["LTime"], body["Node"], body["Prune"])
        case "join":
            return JoinIntent(body["LTime"], body["Node"])
        case "push-pull":
            return _member_state(body)
        case "user-event":
            return UserEvent(body["LTime"], body["Name"], raw(body["Payload"]), body["CC"])
        case "query":
            return _query(body)
        case "query-response":
            rest = (body["From"], body["Flags"], raw(body["Payload"]))
            return QueryResponse(body["LTime"], body["ID"], *rest)
        case "key-request":
            return KeyRequest(raw(body["Key"]))
        case "key-response":
            keys = None if body["Keys"] is None else tuple(body["Keys"])
            return KeyResponse(body["Result"], body["Message"], keys, body["PrimaryKey"])
        case _:
            raise AssertionError(f"{kind} is no Serf message")


def _member_state(body: Decoded) -> MemberState:
    slots: list[EventSlot | None] = []
    for slot in body["Events"]:
        if slot is None:
            slots.append(None)
        else:
            events = (
                BufferedEvent(event["Name"], raw(event["Payload"])) for event in slot["Events"]
            )
            slots.append(EventSlot(slot["LTime"], tuple(events)))
    return MemberState(
        ltime=body["LTime"],
        status_ltimes=body["StatusLTimes"],
        left_members=tuple(body["LeftMembers"]),
        event_ltime=body["EventLTime"],
        events=tuple(slots),
        query_ltime=body["QueryLTime"],
    )


def _query(body: Decoded) -> Query:
    filters = body["Filters"]
    return Query(
        ltime=body["LTime"],
        id=body["ID"],
        ip=raw(body["Addr"]),
        port=body["Port"],
        source_node=body["SourceNode"],
        filters=None if filters is None else tuple(map(raw, filters)),
        flags=body["Flags"],
        relay_factor=body["RelayFactor"],
        timeout_ns=body["Timeout"],
        name=body["Name"],
        payload=raw(body["Payload"]),
    )


def _conflict_member(body: Decoded) -> ConflictMember:
    return ConflictMember(
        name=body["Name"],
        ip=raw(body["Addr"]),
        port=body["Port"],
        tags=body["Tags"],
        status=body["Status"],
        protocol_min=body["ProtocolMin"],
        protocol_max=body["ProtocolMax"],
        protocol_current=body["ProtocolCur"],
        delegate_min=body["DelegateMin"],
        delegate_max=body["DelegateMax"],
        delegate_current=body["DelegateCur"],
    )


def find_all(decoded: object, key: str) -> list[Decoded]:
    """Every object inside `decoded` that has `key`."""
    found: list[Decoded] = []
    if isinstance(decoded, dict):
        found += [decoded] if key in decoded else []
        for value in decoded.values():
            found += find_all(value, key)
    elif isinstance(decoded, list):
        for value in decoded:
            found += find_all(value, key)
    return found
