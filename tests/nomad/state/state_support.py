"""Records, commands and states for tests."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import strategies as st

from swimnomad.nomad.state.commands import (
    BootstrapAcl,
    Command,
    DeletePolicies,
    DeleteTokens,
    DeregisterNodes,
    RegisterNode,
    SetAutopilot,
    SetClusterId,
    SetKeyring,
    SetNodeStatus,
    UpsertPolicies,
    UpsertTokens,
    encode_command,
)
from swimnomad.nomad.state.outcomes import Outcome
from swimnomad.nomad.state.records import (
    AutopilotConfig,
    ClusterId,
    KeyringRecord,
    Node,
    NodeEvent,
    Policy,
    Token,
)
from swimnomad.nomad.state.store import StateStore


def uuid(number: int) -> str:
    """The n-th identifier."""
    return f"{number:08x}-0000-4000-8000-000000000000"


def node(number: int = 1, **fields: Any) -> Node:  # noqa: ANN401
    """The n-th node."""
    given: dict[str, Any] = {
        "id": uuid(number),
        "secret_id": uuid(1000 + number),
        "datacenter": "dc1",
        "name": f"c{number}",
        "attributes": {"nomad.version": "1.0.4"},
        "status": "initializing",
        "status_updated_at": 1_700_000_000,
    }
    return Node(**(given | fields))


def token(number: int = 1, **fields: Any) -> Token:  # noqa: ANN401
    """The n-th token."""
    given: dict[str, Any] = {
        "accessor_id": uuid(2000 + number),
        "secret_id": uuid(3000 + number),
        "name": f"token {number}",
        "type": "client",
        "policies": ("reader",),
        "create_time_ns": 1_700_000_000_000_000_000,
    }
    return Token(**(given | fields))


def policy(name: str = "reader", rules: str = 'node { policy = "read" }') -> Policy:
    """A policy."""
    return Policy(name=name, description=f"{name} policy", rules=rules)


class Replica:
    """A state and the index of the next entry."""

    def __init__(self) -> None:
        self.state = StateStore()

    def apply(self, command: Command) -> Outcome:
        """Apply a command as the next entry."""
        return self.state.apply(self.state.last_index + 1, encode_command(command))

    def restored(self) -> Replica:
        """Another one, made from a snapshot of this."""
        other = Replica()
        other.state.restore(self.state.snapshot())
        return other


_small = st.integers(1, 4)
_text = st.text(max_size=8)
_details = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | _text | st.binary(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_text, inner, max_size=3),
    max_leaves=6,
)
_nodes = st.builds(
    node,
    _small,
    status=st.sampled_from(["initializing", "ready", "down", "odd"]),
    secret_id=st.sampled_from([uuid(1001), uuid(1002), "short"]),
    attributes=st.none() | st.dictionaries(_text, _text, max_size=3),
    details=st.dictionaries(st.sampled_from(["Drivers", "Resources"]), _details, max_size=2),
)
_tokens = st.builds(
    token,
    _small,
    name=_text,
    type=st.sampled_from(["client", "management", "other"]),
    policies=st.none() | st.lists(_text, max_size=2).map(tuple),
    secret_id=st.sampled_from([uuid(3001), uuid(3002), uuid(3003)]),
)
_policies = st.builds(policy, st.sampled_from(["reader", "writer", "bad name"]), _text)
_configs = st.builds(
    AutopilotConfig,
    cleanup_dead_servers=st.booleans(),
    min_quorum=st.integers(0, 9),
    modify_index=st.integers(0, 9),
)
_events = st.builds(NodeEvent, _text, st.integers(0, 2**40))

COMMANDS: st.SearchStrategy[Command] = st.one_of(
    st.builds(RegisterNode, _nodes),
    st.builds(DeregisterNodes, st.lists(_small.map(uuid), max_size=2).map(tuple)),
    st.builds(
        SetNodeStatus,
        _small.map(uuid),
        st.sampled_from(["ready", "down", "odd"]),
        st.integers(0, 2**33),
        st.none() | _events,
    ),
    st.builds(UpsertPolicies, st.lists(_policies, max_size=2).map(tuple)),
    st.builds(DeletePolicies, st.lists(st.sampled_from(["reader", "x"]), max_size=2).map(tuple)),
    st.builds(UpsertTokens, st.lists(_tokens, max_size=2).map(tuple)),
    st.builds(DeleteTokens, st.lists(_small.map(lambda n: uuid(2000 + n)), max_size=2).map(tuple)),
    st.builds(BootstrapAcl, _tokens, st.integers(0, 9)),
    st.builds(SetAutopilot, _configs, st.booleans(), st.booleans()),
    st.builds(SetClusterId, st.builds(ClusterId, _small.map(uuid) | _text, st.just(5))),
    st.builds(
        SetKeyring,
        st.builds(KeyringRecord, _text, st.lists(_text, max_size=2).map(tuple), st.just(7)),
    ),
)
"""Commands of every kind, possible and impossible ones."""


def same(first: object, second: object) -> bool:
    """Whether two records have the same contents."""
    return msgspec.msgpack.encode(first) == msgspec.msgpack.encode(second)
