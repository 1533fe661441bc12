"""The gossip tick and what goes into a datagram."""

from __future__ import annotations

import pytest

from swimnomad.errors import UsageError
from swimnomad.names import Address
from swimnomad.swim.effects import OpenStream, SendDatagram
from swimnomad.swim.events import UserMessageReceived
from swimnomad.swim.inputs import Join, JoinTarget, SendUserMessage
from swimnomad.swim.timers import GossipTick
from swimnomad.wire.keyring import Keyring
from swimnomad.wire.messages import MessageType, NodeState, Ping, Suspect, UserMessage
from tests.swim.swim_support import OTHER, PEER, Hooks, Rig, alive, host, rig_with


def gossiping(*others: str, **settings: object) -> Rig:
    """A node that knows others and has one broadcast, about z, to gossip."""
    rig = rig_with(*others, **settings)
    rig.hear(alive("z", host="10.0.0.99"))
    rig.node.table.set_state(rig.entry("z"), NodeState.LEFT, rig.now)
    return rig


def test_tick_gossips_to_a_few_members() -> None:
    rig = gossiping(*"bcdefgh")
    rig.fire(GossipTick)
    assert rig.at_of(GossipTick) == pytest.approx(0.2)
    assert len({to for to, _ in rig.sent()}) == 3
    assert [messages for _, messages in rig.sent()] == [[alive("z", host="10.0.0.99")]] * 3


def test_nothing_to_say_sends_nothing() -> None:
    rig = rig_with("b")
    rig.fire(GossipTick)
    assert rig.sent() == []


def test_left_members_get_no_gossip_and_the_dead_only_for_a_time() -> None:
    """gossip 40.39: gossip reaches dead nodes only within gossip_to_the_dead_time."""
    rig = gossiping("b", "c", "d")
    rig.node.table.set_state(rig.entry("b"), NodeState.DEAD, rig.now)
    rig.node.table.set_state(rig.entry("c"), NodeState.LEFT, rig.now)
    rig.node.table.set_state(rig.entry("d"), NodeState.SUSPECT, rig.now)
    rig.fire(GossipTick)
    assert {to.host for to, _ in rig.sent()} == {host(2), host(4)}
    rig.now += 30.1
    rig.fire(GossipTick)
    assert {to.host for to, _ in rig.sent()} == {host(4)}


def test_gossip_to_a_node_with_protocol_five_has_a_checksum() -> None:
    """gossip 40.14: adds 5 bytes for a destination with PMax of 5 or more."""
    rig = gossiping("b")
    rig.fire(GossipTick)
    (with_crc,) = rig.of(SendDatagram)
    rig.entry("b").versions = bytes((1, 4, 2, 0, 0, 0))
    rig.fire(GossipTick)
    (without,) = rig.of(SendDatagram)
    assert with_crc.data[0] == 12
    assert with_crc.data[5:] == without.data


def test_budget_counts_label_and_encryption() -> None:
    for label, spare in (("", 0), ("pool", 6)):
        rig = Rig(packet_bytes_max=400, gossip_nodes=1, label=label)
        rig.node._membership.hear_alive(alive("b"), PEER)
        rig.drain()
        for number in range(30):
            rig.node._context.queue.queue(bytes((8, *[number] * 15)))
        rig.fire(GossipTick)
        (effect,) = rig.of(SendDatagram)
        # 400 bytes hold a header of 2 and parts of 2 + 16 each; a checksum of 5 is not counted.
        assert len(effect.data) == 2 + 18 * ((398 - spare) // 18) + 5 + spare
    rig = Rig(packet_bytes_max=400, gossip_nodes=1, keyring=Keyring(primary=bytes(16)))
    rig.node._membership.hear_alive(alive("b"), PEER)
    rig.drain()
    for number in range(30):
        rig.node._context.queue.queue(bytes((8, *[number] * 15)))
    rig.fire(GossipTick)
    (effect,) = rig.of(SendDatagram)
    assert len(effect.data) == 2 + 18 * ((398 - 29) // 18) + 5 + 29


def test_membership_goes_before_the_application() -> None:
    hooks = Hooks()
    rig = gossiping("b", delegate=hooks, gossip_nodes=1)
    hooks.limits.clear()
    hooks.payloads = [b"one", b"two"]
    rig.fire(GossipTick)
    claim = alive("z", host="10.0.0.99")
    assert rig.sent() == [(PEER, [claim, UserMessage(b"one"), UserMessage(b"two")])]
    ((overhead, limit),) = hooks.limits
    assert overhead == 3
    assert limit == 1400 - 2 - (len(rig.node._context.queue.fetch(0, 1400, 9)[0]) + 2)


def test_full_datagram_does_not_ask_the_application() -> None:
    hooks = Hooks()
    rig = rig_with("b", delegate=hooks, gossip_nodes=1)
    rig.node._context.queue.queue(b"\x08" + bytes(1400 - 2 - 2 - 3 - 1))
    hooks.limits.clear()
    rig.fire(GossipTick)
    assert hooks.limits == []


def test_crowd_of_tiny_messages_is_split_at_127_parts() -> None:
    hooks = Hooks()
    rig = rig_with("b", delegate=hooks, gossip_nodes=1)
    hooks.payloads = [bytes((n,)) for n in range(200)]
    rig.fire(GossipTick)
    assert [len(messages) for _, messages in rig.sent()] == [127, 73]
    hooks.payloads = [bytes((n,)) for n in range(200)]
    rig.hear(Ping(1, ""))
    sizes = [len(messages) for _, messages in rig.sent()]
    assert sizes == [127, 74]


def test_gossip_can_be_turned_off() -> None:
    assert not Rig(gossip_interval=0.0).has_timer(GossipTick)
    assert not Rig(gossip_nodes=0).has_timer(GossipTick)


def test_broadcast_is_sent_as_often_as_the_limit_says() -> None:
    rig = rig_with("b")
    rig.hear(alive("c", host=OTHER.host))
    sent = 0
    while rig.node.queue_length:
        rig.fire(GossipTick)
        sent += len(rig.sent())
    assert sent == 4


# --- messages of the application ------------------------------------------------------------------


def test_user_message_is_one_datagram_of_its_own() -> None:
    rig = gossiping("b")
    rig.feed(SendUserMessage(PEER, b"hello"))
    (effect,) = rig.of(SendDatagram)
    assert (effect.to, effect.data) == (PEER, b"\x08hello")
    rig.feed(SendUserMessage(PEER, b"hello", "b"))
    (effect,) = rig.of(SendDatagram)
    assert effect.data[0] == 12
    with pytest.raises(UsageError, match="must not be empty"):
        rig.feed(SendUserMessage(PEER, b""))


def test_user_messages_are_announced_with_their_source() -> None:
    rig = rig_with()
    source = Address("10.9.9.9", 9)
    rig.hear(UserMessage(b"x"), UserMessage(b"y"), UserMessage(b"z"), source=source)
    assert rig.events(UserMessageReceived) == [
        UserMessageReceived(payload, source, False) for payload in (b"x", b"y", b"z")
    ]
    rig.hear(UserMessage(b""))
    assert rig.events(UserMessageReceived) == []
    assert rig.node.counters["dropped.message"] == 1


def test_suspicion_is_gossiped_under_the_name_of_the_accused() -> None:
    rig = rig_with("b", "c")
    rig.hear(alive("b", 2))
    rig.hear(Suspect("b", 2, "c"))
    assert rig.queued() == [Suspect("b", 2, "c")]


def first_type(data: bytes) -> int:
    """Type byte below a checksum header."""
    return data[5] if data[0] == MessageType.HAS_CRC else data[0]


def compressing(**settings: object) -> Rig:
    """A node with plenty to gossip, which shrinks when compressed."""
    rig = gossiping(*"bcdef", compression=True, **settings)
    for number in range(8):
        rig.hear(alive(f"member-{number}", host=f"10.0.1.{number}"))
        rig.node.table.set_state(rig.entry(f"member-{number}"), NodeState.LEFT, rig.now)
    return rig


def sent_types(rig: Rig) -> set[int]:
    return {first_type(effect.data) for effect in rig.of(SendDatagram)}


def test_a_node_that_lags_behind_its_ticks_sends_plain_until_it_has_caught_up() -> None:
    rig = compressing()
    rig.fire(GossipTick)
    assert sent_types(rig) == {MessageType.COMPRESS}
    rig.now += 0.2 + 0.11
    rig.fire(GossipTick)
    assert sent_types(rig) == {MessageType.COMPOUND}
    rig.fire(GossipTick)
    assert sent_types(rig) == {MessageType.COMPRESS}


def test_a_late_node_sends_plain_streams() -> None:
    rig = compressing()
    rig.now += 1.0
    rig.fire(GossipTick)
    rig.feed(Join(1, (JoinTarget(PEER),)))
    (opened,) = rig.of(OpenStream)
    assert opened.data[0] == MessageType.PUSH_PULL


def test_a_node_told_to_compress_when_late_does_so() -> None:
    rig = compressing(compress_when_late=True)
    rig.now += 1.0
    rig.fire(GossipTick)
    assert sent_types(rig) == {MessageType.COMPRESS}
