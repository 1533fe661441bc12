"""Whole pools on a fake link: what the parts do together."""

from __future__ import annotations

import itertools

import pytest

from swimnomad.names import Address
from swimnomad.swim.events import (
    ExchangeFailed,
    JoinFinished,
    LeaveFinished,
    NodeJoined,
    NodeLeft,
    UserMessageReceived,
    UserStateReceived,
)
from swimnomad.swim.inputs import Leave, SendUserMessage, Shutdown, UpdateMeta
from swimnomad.wire.keyring import Keyring
from swimnomad.wire.messages import NodeState
from tests.helpers import Net, address_of
from tests.swim.swim_support import Hooks

KEY_1, KEY_2 = bytes(16), bytes(range(32))


def outcome(net: Net, name: str) -> JoinFinished:
    """How the first join of a node ended."""
    net.run_until(lambda: bool(net[name].announced(JoinFinished)), 30.0)
    return net[name].announced(JoinFinished)[0]


def all_see(net: Net, name: str, state: NodeState) -> bool:
    return all(host.states().get(name) is state for host in net)


def test_joined_nodes_all_know_each_other() -> None:
    net = Net()
    hosts = net.pool(8)
    for host in hosts:
        assert set(host.states().values()) == {NodeState.ALIVE}
        assert {event.name for event in host.announced(NodeJoined)} == set(net.hosts)
    assert outcome(net, "n2").joined == 1


def test_advertised_address_is_what_others_see() -> None:
    """gossip 40.51: the advertised address and port reach the others."""
    net = Net()
    net.add("n1")
    net.add("n2", address=Address("10.7.7.7", 4648))
    net.join("n2", "n1")
    outcome(net, "n2")
    assert net["n1"].entry("n2").address == Address("10.7.7.7", 4648)


def test_join_of_ourselves_succeeds() -> None:
    net = Net()
    net.add("n1")
    net.join("n1", "n1")
    assert outcome(net, "n1").joined == 1


def test_joining_a_silent_listener_times_out_and_a_second_target_still_counts() -> None:
    """gossip 40.45: a silent listener fails within tcp_timeout, another target still counts."""
    net = Net()
    for name in ("n1", "n2", "n3"):
        net.add(name, tcp_timeout=3.0)
    net.blocks = lambda a, b, _: net["n1"] in (a, b)
    started = net.now
    net.join("n3", "n1", "n2")
    finished = outcome(net, "n3")
    assert finished.joined == 1
    assert [reason for _, reason in finished.failures] == ["i/o timeout"]
    assert 3.0 <= net.now - started < 3.1


def test_crashed_node_is_found_dead_by_all() -> None:
    """gossip 40.49: shutdown without leave is detected as a failure."""
    net = Net()
    net.pool(8)
    net["n3"].feed(Shutdown())
    net["n3"].crash()
    net.run_until(lambda: all_see(net, "n3", NodeState.DEAD), 30.0)
    for host in net:
        assert [event.on_purpose for event in host.announced(NodeLeft)] == [False]


def test_node_that_leaves_is_seen_as_left_not_dead() -> None:
    """gossip 40.49: others show the leaver as left and drop it from the member list."""
    net = Net()
    net.pool(6)
    net["n3"].feed(Leave(9))
    net.run_until(lambda: bool(net["n3"].announced(LeaveFinished)), 10.0)
    assert net["n3"].announced(LeaveFinished) == [LeaveFinished(9, True)]
    net.run_until(lambda: all_see(net, "n3", NodeState.LEFT), 5.0)
    for host in net:
        assert [event.on_purpose for event in host.announced(NodeLeft)] == [True]
        assert host.node.live_count == 5


def test_metadata_reaches_everybody() -> None:
    net = Net()
    net.pool(6)
    net["n3"].feed(UpdateMeta(1, b"new"))
    net.run_until(lambda: all(host.entry("n3").meta == b"new" for host in net), 5.0)


def test_partition_is_declared_and_heals() -> None:
    net = Net()
    net.pool(6, push_pull_interval=10.0)
    net.partition("n1", "n2")
    net.run(10.0)
    assert net["n1"].entry("n5").state is not NodeState.ALIVE
    net.heal()
    net.run_until(lambda: all(all_see(net, name, NodeState.ALIVE) for name in net.hosts), 120.0)


def test_heavy_loss_kills_nobody_while_streams_work() -> None:
    net = Net(seed=3)
    net.pool(10)
    net.loss = 0.2
    net.run(120.0)
    net.loss = 0.0
    assert not [event for host in net for event in host.announced(NodeLeft)]


# --- encryption and labels ------------------------------------------------------------------------


@pytest.mark.parametrize("label", ["", "pool"])
def test_pool_with_keys_lives(label: str) -> None:
    """gossip 40.17: the identical label joins, with and without encryption."""
    net = Net()
    for name in ("n1", "n2", "n3"):
        net.add(name, keyring=Keyring(primary=KEY_1), label=label)
    net.join("n2", "n1")
    net.join("n3", "n1")
    net.run(30.0)
    for host in net:
        assert host.states() == dict.fromkeys(sorted(host.states()), NodeState.ALIVE)
        assert host.node.live_count == 3
        assert not [name for name in host.node.counters if name.startswith("dropped")]


def test_join_fails_between_different_keys() -> None:
    """gossip 40.12: a join fails, with an error at the joining side, when the keys differ."""
    net = Net()
    net.add("n1", keyring=Keyring(primary=KEY_1))
    net.add("n2", keyring=Keyring(primary=KEY_2))
    net.join("n2", "n1")
    finished = outcome(net, "n2")
    assert finished.joined == 0
    assert finished.failures[0][1]
    assert net["n1"].node.node_count == 1


def test_encryption_can_be_rolled_out_in_three_steps() -> None:
    """gossip 40.13: nodes one step apart join."""
    steps = [
        (False, False, False),
        (True, False, False),
        (True, False, True),
        (True, True, True),
    ]
    for (key_1, in_1, out_1), (key_2, in_2, out_2) in itertools.pairwise(steps):
        net = Net()
        rings = [Keyring(primary=KEY_1) if key else Keyring() for key in (key_1, key_2)]
        net.add("n1", keyring=rings[0], verify_incoming=in_1, verify_outgoing=out_1)
        net.add("n2", keyring=rings[1], verify_incoming=in_2, verify_outgoing=out_2)
        net.join("n2", "n1")
        assert outcome(net, "n2").joined == 1
        net.run(10.0)
        assert net["n1"].node.live_count == net["n2"].node.live_count == 2


@pytest.mark.parametrize("labels", [("a", "b"), ("a", ""), ("", "a")])
def test_different_labels_never_meet(labels: tuple[str, str]) -> None:
    """gossip 40.17: another label joins nothing."""
    net = Net()
    net.add("n1", label=labels[0])
    net.add("n2", label=labels[1])
    net.join("n2", "n1")
    assert outcome(net, "n2").joined == 0
    assert net["n1"].node.node_count == net["n2"].node.node_count == 1


# --- protocol versions ----------------------------------------------------------------------------


@pytest.mark.parametrize("ours", [1, 2, 3, 5])
@pytest.mark.parametrize("theirs", [1, 2, 3, 5])
def test_protocol_versions_can_be_mixed(ours: int, theirs: int) -> None:
    """gossip 40.48: versions 1, 2, 3 and 5 can be mixed pairwise and still join."""
    net = Net()
    for name, speaks in (("n1", ours), ("n2", theirs)):
        net.add(name, versions=bytes((1, 5, speaks, 0, 0, 0)), keyring=Keyring(primary=KEY_1))
    net.join("n2", "n1")
    assert outcome(net, "n2").joined == 1
    net.run(5.0)
    for host in net:
        assert host.node.live_count == 2
        assert not host.announced(ExchangeFailed)


# --- the application ------------------------------------------------------------------------------


def test_application_broadcasts_states_and_messages_all_arrive() -> None:
    """gossip 40.50: 256 broadcasts, both user states, direct messages exactly once."""
    hooks = {name: Hooks() for name in ("n1", "n2")}
    net = Net()
    for name, hook in hooks.items():
        hook.state = f"state of {name}".encode()
        net.add(name, delegate=hook)
    net.join("n2", "n1")
    outcome(net, "n2")
    for name, other in (("n1", "n2"), ("n2", "n1")):
        (received,) = net[name].announced(UserStateReceived)
        assert (received.state, received.is_join) == (hooks[other].state, True)
    sent = [bytes((8, number, *b"payload")) for number in range(256)]
    hooks["n1"].payloads = list(sent)
    net.run(30.0)
    assert [event.payload for event in net["n2"].announced(UserMessageReceived)] == sent
    net["n2"].feed(SendUserMessage(address_of(1), b"direct", "n1"))
    net.run(1.0)
    (message,) = net["n1"].announced(UserMessageReceived)
    assert (message.payload, message.by_stream) == (b"direct", False)


def test_refusing_merge_hook_on_either_side_prevents_the_join() -> None:
    """gossip 40.46: a refusing merge hook on either side prevents the join."""
    for refusing in ("n1", "n2"):
        hooks = Hooks()
        hooks.merge_refusal = "no"
        net = Net()
        net.add("n1", delegate=hooks if refusing == "n1" else None, gossip_interval=0.0)
        net.add("n2", delegate=hooks if refusing == "n2" else None, gossip_interval=0.0)
        net.join("n2", "n1")
        joined = outcome(net, "n2").joined
        assert joined == (1 if refusing == "n1" else 0)
        assert net[refusing].node.node_count == 1


def test_node_outside_the_networks_sees_the_pool_but_is_not_seen() -> None:
    """gossip 40.47: an outsider may see the pool, nobody sees the outsider."""
    net = Net()
    net.add("n1", cidrs_allowed=("10.0.0.0/24",))
    net.add("n2", cidrs_allowed=("10.0.0.0/24",))
    net.add("outsider", address=Address("192.0.2.9", 7946))
    net.join("n2", "n1")
    net.join("outsider", "n1")
    net.run(20.0)
    assert net["outsider"].node.live_count == 3
    for name in ("n1", "n2"):
        assert sorted(net[name].states()) == ["n1", "n2"]


# --- determinism ----------------------------------------------------------------------------------


def run_of(seed: int) -> list[object]:
    net = Net(seed=seed)
    net.loss = 0.1
    net.pool(6)
    net["n2"].crash()
    net.run(20.0)
    return [(host.address, when, event) for host in net for when, event in host.events]


def test_same_seed_same_events() -> None:
    assert run_of(1) == run_of(1)
    assert run_of(1) != run_of(2)
