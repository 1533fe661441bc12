"""The whole state as bytes, and back, with a check that nothing was damaged in between.

    magic     16 bytes   says what this is
    version   1 byte
    digest    32 bytes   BLAKE2b of all that follows
    image     MessagePack map

A snapshot is read whole or not at all: what does not fit anywhere in it refuses all of it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from swimnomad.errors import SwimnomadError
from swimnomad.names import Value
from swimnomad.nomad.identifiers import key_of
from swimnomad.nomad.state.limits import node_flaw, policy_flaw, token_flaw
from swimnomad.nomad.state.records import (
    NODES_MAX,
    POLICIES_MAX,
    TOKENS_MAX,
    AutopilotConfig,
    ClusterId,
    Index,
    KeyringRecord,
    Node,
    Policy,
    Token,
    is_plain,
)
from swimnomad.nomad.state.tables import Table

MAGIC: Final = b"swimnomad-state\n"
VERSION: Final = 1
SNAPSHOT_BYTES_MAX: Final = 1 << 30
"""Longest snapshot; Raft takes no longer ones."""

_DIGEST_BYTES: Final = 32
_TABLES: Final = frozenset(table.value for table in Table)
_HEAD_BYTES: Final = len(MAGIC) + 1 + _DIGEST_BYTES


class DamagedSnapshot(SwimnomadError):
    """A snapshot of the state cannot be read; the text is one sentence."""


class Image(Value, frozen=True, kw_only=True):
    """All tables; records in the order of their keys."""

    last_index: Index
    indexes: Mapping[str, Index]
    nodes: tuple[Node, ...] = ()
    policies: tuple[Policy, ...] = ()
    tokens: tuple[Token, ...] = ()
    autopilot: AutopilotConfig | None = None
    cluster: ClusterId | None = None
    keyring: KeyringRecord | None = None


_ENCODER: Final = msgspec.msgpack.Encoder()
_DECODER: Final = msgspec.msgpack.Decoder(Image)


def write_image(image: Image) -> bytes:
    """The image as a snapshot."""
    body = _ENCODER.encode(image)
    return b"".join((MAGIC, bytes((VERSION,)), _digest(body), body))


def read_image(data: bytes) -> Image:
    """The image in a snapshot.

    Raises:
        DamagedSnapshot: Saying what is wrong with it.
    """
    if not data.startswith(MAGIC):
        raise DamagedSnapshot("this is no snapshot of a swimnomad server's state")
    if len(data) < _HEAD_BYTES or len(data) > SNAPSHOT_BYTES_MAX:
        raise _damaged(f"it has {len(data)} bytes")
    if (version := data[len(MAGIC)]) != VERSION:
        raise DamagedSnapshot(
            f"the snapshot of the state has version {version}, and this program reads {VERSION}"
        )
    body = data[_HEAD_BYTES:]
    if data[len(MAGIC) + 1 : _HEAD_BYTES] != _digest(body):
        raise _damaged("its checksum does not fit its contents")
    try:
        image = _DECODER.decode(body)
    except (msgspec.MsgspecError, ValueError, OverflowError, RecursionError) as error:
        raise _damaged(str(error)) from None
    if flaw := _flaw(image):
        raise _damaged(flaw)
    return image


def _damaged(reason: str) -> DamagedSnapshot:
    return DamagedSnapshot(f"the snapshot of the state is damaged: {reason}")


def _digest(body: bytes) -> bytes:
    return hashlib.blake2b(body, digest_size=_DIGEST_BYTES).digest()


def _flaw(image: Image) -> str:
    """What in an image no server can have written."""
    for name, index in image.indexes.items():
        if name not in _TABLES or index > image.last_index:
            return (
                f"table {name!r} was written at {index}, and the last entry is {image.last_index}"
            )
    for node in image.nodes:
        if flaw := node_flaw(node):
            return f"node {node.id!r}: {flaw}"
        if not is_plain(node.details):
            return f"node {node.id!r} has details of no known type"
    for policy in image.policies:
        if flaw := policy_flaw(policy):
            return f"policy {policy.name!r}: {flaw}"
    for token in image.tokens:
        if flaw := token_flaw(token):
            return f"token {token.accessor_id!r}: {flaw}"
    return (
        _count_flaw("nodes", (key_of(node.id) for node in image.nodes), NODES_MAX)
        or _count_flaw("policies", (policy.name for policy in image.policies), POLICIES_MAX)
        or _count_flaw("tokens", (key_of(t.accessor_id) for t in image.tokens), TOKENS_MAX)
        or _count_flaw("secrets", (key_of(t.secret_id) for t in image.tokens), TOKENS_MAX)
    )


def _count_flaw(what: str, keys: Iterable[str], most: int) -> str:
    found = list(keys)
    if len(found) > most:
        return f"{len(found)} {what}; {most} are allowed"
    if any(first >= second for first, second in zip(sorted(found), sorted(found)[1:])):  # noqa: B905
        return f"two of its {what} are one"
    return ""
