"""The things that are kept, as values, and the limits of each.

Names are ours; what Nomad calls the fields is for `rpc.schemas` to say. Times are whole nanoseconds
or seconds since the epoch, as the name says, since floats would round them.

Source: rpc.md §9, §10.2; nomad structs/structs.go.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Annotated

import msgspec

from swimnomad.names import Value

Index = Annotated[int, msgspec.Meta(ge=0)]
"""Position of a write in the Raft log; 0 means never."""

Seconds = Annotated[int, msgspec.Meta(ge=0, le=2**33)]
"""Seconds since the epoch, for another 240 years."""
Nanoseconds = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]

NODE_BYTES_MAX = 131_072
"""Longest node record, in the form it has in a command; a real one takes 3 KB."""
NODES_MAX = 20_000
TOKENS_MAX = 100_000
POLICIES_MAX = 10_000
EVENTS_MAX = 10
"""Events that a node keeps: the latest, as Nomad does."""
NAME_BYTES_MAX = 256
RULES_BYTES_MAX = 65_536
DESCRIPTION_BYTES_MAX = 256
TOKEN_POLICIES_MAX = 256
KEYS_MAX = 64
DETAIL_DEPTH_MAX = 12
"""Nesting of what a node says of its resources; a real one needs 6."""

INITIALIZING, READY, DOWN = "initializing", "ready", "down"
NODE_STATUSES = (INITIALIZING, READY, DOWN)
ELIGIBLE = "eligible"

CLIENT, MANAGEMENT = "client", "management"
"""Types of tokens."""


class NodeEvent(Value, frozen=True):
    """Something that happened to a node; `time_ns` since the epoch."""

    message: str
    time_ns: Nanoseconds
    subsystem: str = "Cluster"
    details: Mapping[str, str] | None = None
    create_index: Index = 0


class Node(Value, frozen=True, kw_only=True):
    """A client node: what it said of itself, and what the servers know of it.

    `details` holds Nomad's large maps (resources, drivers, volumes) as they were given, by Nomad's
    names: None, booleans, integers, floats, text, bytes, lists and maps of these. Text and bytes
    are one type in Go; bytes stand where they are not UTF-8.
    """

    id: str = ""
    secret_id: str = ""
    """Proves that a later registration comes from the same node; never shown to anybody."""
    datacenter: str = ""
    name: str = ""
    http_addr: str = ""
    node_class: str = ""
    computed_class: str = ""
    """Digest of what nodes have in common; the servers compute it."""
    attributes: Mapping[str, str] | None = None
    meta: Mapping[str, str] | None = None
    status: str = ""
    status_description: str = ""
    eligibility: str = ""
    drain: bool = False
    tls_enabled: bool = False
    status_updated_at: Seconds = 0
    """Seconds since the epoch."""
    events: tuple[NodeEvent, ...] | None = None
    details: Mapping[str, object] = msgspec.field(default_factory=dict)
    create_index: Index = 0
    modify_index: Index = 0


class Policy(Value, frozen=True, kw_only=True):
    """An ACL policy: rules under a name."""

    name: str = ""
    description: str = ""
    rules: str = ""
    hash: bytes = b""
    create_index: Index = 0
    modify_index: Index = 0

    def hashed(self) -> Policy:
        """The same with the digest of its contents, which is Nomad's."""
        digest = _digest((self.name, self.description, self.rules))
        return msgspec.structs.replace(self, hash=digest)


class Token(Value, frozen=True, kw_only=True):
    """An ACL token: a secret that stands for policies, or for everything (`management`)."""

    accessor_id: str = ""
    secret_id: str = ""
    name: str = ""
    type: str = ""
    policies: tuple[str, ...] | None = None
    is_global: bool = False
    hash: bytes = b""
    create_time_ns: Nanoseconds = 0
    create_index: Index = 0
    modify_index: Index = 0

    def hashed(self) -> Token:
        """The same with the digest of its contents, which is Nomad's."""
        reach = "global" if self.is_global else "local"
        digest = _digest((self.name, self.type, *(self.policies or ()), reach))
        return msgspec.structs.replace(self, hash=digest)


class AutopilotConfig(Value, frozen=True, kw_only=True):
    """What the leader does about servers on its own. Durations are seconds.

    Source: nomad-agent.md §6.2.
    """

    cleanup_dead_servers: bool = True
    last_contact_threshold: float = 0.2
    """A server that has not heard its leader for longer is unhealthy."""
    max_trailing_logs: int = 250
    """So is one whose log is more entries behind."""
    min_quorum: int = 0
    """Voters that a clean-up leaves at least."""
    server_stabilization_time: float = 10.0
    """A new server becomes a voter after being healthy this long."""
    enable_redundancy_zones: bool = False
    disable_upgrade_migration: bool = False
    enable_custom_upgrades: bool = False
    create_index: Index = 0
    modify_index: Index = 0


class ClusterId(Value, frozen=True):
    """The name that a region has for ever."""

    id: str
    time_ns: Nanoseconds


class KeyringRecord(Value, frozen=True):
    """Which gossip keys are installed, by fingerprint; the keys themselves are kept nowhere here.

    `primary` is the fingerprint of the key that encrypts.
    """

    primary: str
    fingerprints: tuple[str, ...]
    time_ns: Nanoseconds
    create_index: Index = 0
    modify_index: Index = 0


def _digest(parts: Iterable[str]) -> bytes:
    digest = hashlib.blake2b(digest_size=32)
    for part in parts:
        digest.update(part.encode("utf-8", "surrogatepass"))
    return digest.digest()


def computed_class(node: Node) -> str:
    """A class that nodes share if they differ in nothing but what is unique to each.

    The digest is our own; only equality of two of them means something.
    """
    digest = hashlib.blake2b(digest_size=8)
    common = [
        ("datacenter", node.datacenter),
        ("class", node.node_class),
        *(("attribute " + key, text) for key, text in sorted((node.attributes or {}).items())),
        *(("meta " + key, text) for key, text in sorted((node.meta or {}).items())),
    ]
    for key, text in common:
        if not key.startswith(("attribute unique.", "meta unique.")):
            digest.update(f"{key}\0{text}\0".encode("utf-8", "surrogatepass"))
    return f"v1:{int.from_bytes(digest.digest(), 'big')}"


def with_event(node: Node, event: NodeEvent) -> Node:
    """The node with one event more, and without the oldest if there are too many."""
    events = (*(node.events or ()), event)[-EVENTS_MAX:]
    return msgspec.structs.replace(node, events=events)


def is_plain(value: object, depth: int = 0) -> bool:
    """Whether a part of `Node.details` consists of what it may consist of."""
    if value is None or type(value) in (str, bytes, bool, float):
        return True
    if type(value) is int:
        return -(2**63) <= value < 2**64
    if depth >= DETAIL_DEPTH_MAX:
        return False
    if type(value) is list:
        return all(is_plain(item, depth + 1) for item in value)
    if type(value) is dict:
        return all(type(key) is str and is_plain(item, depth + 1) for key, item in value.items())
    return False
