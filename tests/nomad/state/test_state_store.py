"""The tables: what commands do to them, what readers and listeners see."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
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
)
from swimnomad.nomad.state.outcomes import Refused, Unchanged, Written
from swimnomad.nomad.state.records import (
    EVENTS_MAX,
    KEYS_MAX,
    NODE_BYTES_MAX,
    AutopilotConfig,
    ClusterId,
    KeyringRecord,
    Node,
    NodeEvent,
    computed_class,
)
from swimnomad.nomad.state.tables import Table
from tests.nomad.state.state_support import COMMANDS, Replica, node, policy, token, uuid


def messages(found: Node | None) -> list[str]:
    assert found is not None
    return [event.message for event in found.events or ()]


def test_a_node_is_registered_and_replaced() -> None:
    replica = Replica()
    assert replica.apply(RegisterNode(node())) == Written(1)
    first = replica.state.node(uuid(1))
    assert first is not None
    assert (first.create_index, first.modify_index, first.eligibility) == (1, 1, "eligible")
    assert messages(first) == ["Node registered"]
    again = node(status="ready", eligibility="ineligible", drain=True, events=())
    assert replica.apply(RegisterNode(again)) == Written(2)
    second = replica.state.node(uuid(1).upper())
    assert second is not None
    assert (second.create_index, second.modify_index, second.status) == (1, 2, "ready")
    # What operators decided about it is not the node's to change.
    assert (second.eligibility, second.drain) == ("eligible", False)
    assert messages(second) == ["Node registered"]


def test_another_secret_does_not_replace_a_node() -> None:
    """Two clients may register one id at the same time: the leader's check alone would not do."""
    replica = Replica()
    replica.apply(RegisterNode(node()))
    outcome = replica.apply(RegisterNode(node(secret_id=uuid(9))))
    assert outcome == Refused("node secret ID does not match. Not registering node.")
    assert replica.state.index_of(Table.NODES) == 1


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        (node(id="x"), "node lookup failed: index error: UUID must be 36 characters"),
        (node(secret_id=""), "node secret ID cannot be used: index error: UUID must be"),
        (node(status="odd"), "invalid status for node"),
        (node(name="x" * NODE_BYTES_MAX), "node is too large: no more than"),
        (node(events=(NodeEvent("x", 1),) * (EVENTS_MAX + 1)), "a node has 10 events at most"),
    ],
    ids=["id", "secret", "status", "size", "events"],
)
def test_an_impossible_node_is_refused(wrong: Node, text: str) -> None:
    outcome = Replica().apply(RegisterNode(wrong))
    assert isinstance(outcome, Refused)
    assert outcome.text.startswith(text)


def test_a_node_goes_down_and_comes_back() -> None:
    replica = Replica()
    replica.apply(RegisterNode(node(status="ready")))
    missed = NodeEvent("Node heartbeat missed", 5)
    assert replica.apply(SetNodeStatus(uuid(1), "down", 77, missed)) == Written(2)
    found = replica.state.node(uuid(1))
    assert found is not None
    assert (found.status, found.status_updated_at, found.modify_index) == ("down", 77, 2)
    assert found.events is not None
    assert found.events[-1].create_index == 2
    replica.apply(RegisterNode(node(status="ready")))
    assert messages(replica.state.node(uuid(1))) == [
        "Node registered",
        "Node heartbeat missed",
        "Node re-registered",
    ]
    assert replica.apply(SetNodeStatus(uuid(2), "down", 1)) == Refused("node not found")
    assert replica.apply(SetNodeStatus(uuid(1), "odd", 1)) == Refused("invalid status for node")


def test_only_the_latest_events_are_kept() -> None:
    replica = Replica()
    replica.apply(RegisterNode(node()))
    for number in range(20):
        event = NodeEvent(str(number), number)
        replica.apply(SetNodeStatus(uuid(1), "ready", 1, event))
    assert messages(replica.state.node(uuid(1))) == [str(n) for n in range(10, 20)]


def test_nodes_are_forgotten_all_or_none() -> None:
    replica = Replica()
    for number in (3, 1, 2):
        replica.apply(RegisterNode(node(number)))
    assert [found.name for found in replica.state.nodes()] == ["c1", "c2", "c3"]
    assert [found.name for found in replica.state.nodes("00000002")] == ["c2"]
    assert replica.apply(DeregisterNodes((uuid(1), uuid(9)))) == Refused("node not found")
    assert replica.apply(DeregisterNodes(())) == Refused("node not found")
    assert replica.state.node_count == 3
    assert replica.apply(DeregisterNodes((uuid(1), uuid(1), uuid(3)))) == Written(6)
    assert [found.name for found in replica.state.nodes()] == ["c2"]


def test_policies_are_written_and_deleted() -> None:
    replica = Replica()
    assert replica.apply(UpsertPolicies((policy("b"), policy("a")))) == Written(1)
    replica.apply(UpsertPolicies((policy("a", "other"),)))
    assert [found.name for found in replica.state.policies()] == ["a", "b"]
    found = replica.state.policy("a")
    assert found is not None
    assert (found.rules, found.create_index, found.modify_index) == ("other", 1, 2)
    assert found.hash == policy("a", "other").hashed().hash
    assert replica.apply(DeletePolicies(("a", "nope"))) == Written(3)
    assert replica.state.policy("a") is None
    assert replica.apply(UpsertPolicies(())) == Unchanged()
    outcome = replica.apply(UpsertPolicies((policy("c"), policy("not good"))))
    assert outcome == Refused("invalid name 'not good'", 400)
    assert replica.state.policy("c") is None


def test_a_token_keeps_its_secret_and_time() -> None:
    replica = Replica()
    outcome = replica.apply(UpsertTokens((token(),)))
    assert isinstance(outcome, Written)
    (made,) = outcome.tokens
    assert (made.create_index, made.modify_index) == (1, 1)
    changed = token(secret_id=uuid(77), create_time_ns=1, name="other")
    outcome = replica.apply(UpsertTokens((changed,)))
    assert isinstance(outcome, Written)
    (kept,) = outcome.tokens
    assert kept.name == "other"
    assert (kept.secret_id, kept.create_time_ns) == (made.secret_id, made.create_time_ns)
    assert (kept.create_index, kept.modify_index) == (1, 2)
    assert replica.state.token_of_secret(made.secret_id) == kept
    assert replica.state.token_of_secret(uuid(77)) is None
    assert kept.hash != made.hash


def test_one_secret_stands_for_one_token() -> None:
    replica = Replica()
    replica.apply(UpsertTokens((token(1),)))
    text = "the secret of a token is that of another one"
    thief = token(2, secret_id=token(1).secret_id)
    assert replica.apply(UpsertTokens((thief,))) == Refused(text, 400)
    twins = (token(3, secret_id=uuid(5)), token(4, secret_id=uuid(5)))
    assert replica.apply(UpsertTokens(twins)) == Refused(text, 400)
    assert replica.apply(DeleteTokens((token(1).accessor_id, uuid(0)))) == Written(4)
    assert replica.state.token_of_secret(token(1).secret_id) is None
    assert isinstance(replica.apply(UpsertTokens((thief,))), Written)


def test_the_first_token_is_made_once() -> None:
    replica = Replica()
    first = token(1, type="management", policies=None)
    assert isinstance(replica.apply(BootstrapAcl(first)), Written)
    second = token(2, type="management", policies=None)
    assert replica.apply(BootstrapAcl(second)) == Refused(
        "ACL bootstrap already done (reset index: 1)", 400
    )
    assert replica.apply(BootstrapAcl(second, 7)) == Refused(
        "Invalid bootstrap reset index (specified 7, reset index: 1)", 400
    )
    assert isinstance(replica.apply(BootstrapAcl(second, 1)), Written)
    assert replica.state.bootstrap_index == 4
    assert replica.state.index_of(Table.TOKENS) == 4


def test_autopilot_is_configured_on_condition() -> None:
    replica = Replica()
    cautious = AutopilotConfig(cleanup_dead_servers=False)
    assert replica.apply(SetAutopilot(cautious, cas=True)) == Unchanged()
    assert replica.apply(SetAutopilot(AutopilotConfig(), initial=True)) == Written(2)
    assert replica.apply(SetAutopilot(cautious, initial=True)) == Unchanged()
    wrong = msgspec.structs.replace(cautious, modify_index=1)
    assert replica.apply(SetAutopilot(wrong, cas=True)) == Unchanged()
    right = msgspec.structs.replace(cautious, modify_index=2)
    assert replica.apply(SetAutopilot(right, cas=True)) == Written(5)
    found = replica.state.autopilot
    assert found is not None
    assert (found.cleanup_dead_servers, found.create_index, found.modify_index) == (False, 2, 5)


def test_a_cluster_is_named_once() -> None:
    replica = Replica()
    assert isinstance(replica.apply(SetClusterId(ClusterId("x", 1))), Refused)
    assert replica.apply(SetClusterId(ClusterId(uuid(1), 1))) == Written(2)
    assert replica.apply(SetClusterId(ClusterId(uuid(2), 1))) == Unchanged()
    assert replica.state.cluster == ClusterId(uuid(1), 1)


def test_installed_keys_are_noted() -> None:
    replica = Replica()
    assert replica.apply(SetKeyring(KeyringRecord("a", ("a", "b"), 1))) == Written(1)
    many = tuple(map(str, range(KEYS_MAX + 1)))
    assert isinstance(replica.apply(SetKeyring(KeyringRecord("a", many, 1))), Refused)
    assert replica.state.keyring == KeyringRecord("a", ("a", "b"), 1, 1, 1)


def test_each_table_has_its_index_and_listeners_hear_of_it() -> None:
    replica = Replica()
    told: list[tuple[Table, ...]] = []
    end = replica.state.subscribe(told.append)
    replica.apply(RegisterNode(node()))
    replica.apply(UpsertTokens((token(),)))
    replica.apply(RegisterNode(node(id="bad")))
    first = token(2, type="management", policies=None)
    replica.apply(BootstrapAcl(first))
    assert told == [(Table.NODES,), (Table.TOKENS,), (Table.TOKENS, Table.BOOTSTRAP)]
    state = replica.state
    assert [state.index_of(table) for table in (Table.NODES, Table.TOKENS)] == [1, 4]
    assert state.index_of(Table.NODES, Table.TOKENS) == 4
    assert (state.index_of(Table.POLICIES), state.index_of(), state.last_index) == (0, 0, 4)
    end()
    end()
    replica.apply(RegisterNode(node()))
    assert len(told) == 3


def test_the_class_of_a_node_ignores_what_is_unique() -> None:
    one = node(1, attributes={"kernel.name": "linux", "unique.hostname": "a"})
    other = node(2, attributes={"unique.hostname": "b", "kernel.name": "linux"})
    assert computed_class(one) == computed_class(other)
    assert computed_class(one).startswith("v1:")
    assert computed_class(one) != computed_class(node(1, datacenter="dc2"))


@given(st.lists(COMMANDS, max_size=30))
def test_the_same_commands_make_the_same_state(commands: list[Command]) -> None:
    """Whatever the commands: none raises, and every replica is equal, restored ones too."""
    one, other = Replica(), Replica()
    for number, command in enumerate(commands):
        if number % 7 == 3:
            other = other.restored()
        assert one.apply(command) == other.apply(command)
    assert one.state.snapshot() == other.state.snapshot() == one.restored().state.snapshot()
    for each in one.state.tokens():
        assert one.state.token_of_secret(each.secret_id) == each
