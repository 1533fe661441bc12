"""Answering pings, and probing for others."""

from __future__ import annotations

import pytest

from swimnomad.names import Address, ip_of_host
from swimnomad.swim.effects import SendDatagram
from swimnomad.swim.events import InputDropped
from swimnomad.swim.inputs import TimerFired
from swimnomad.swim.timers import RelayTimeout
from swimnomad.wire.messages import Ack, IndirectPing, Nack, Ping
from tests.swim.swim_support import OTHER, OWN, PEER, Hooks, Rig, alive, rig_with

OWN_IP = ip_of_host(OWN.host)
TARGET_IP = ip_of_host(OTHER.host)
MAPPED_PEER = bytes(10) + b"\xff\xff" + bytes((10, 0, 0, 2))


def indirect(wants_nack: bool = True, **fields: object) -> IndirectPing:
    values: dict[str, object] = {
        "sequence": 70,
        "node": "c",
        "target_ip": TARGET_IP,
        "target_port": OTHER.port,
        "wants_nack": wants_nack,
        "source_ip": ip_of_host(PEER.host),
        "source_port": PEER.port,
        "source_node": "b",
    }
    return IndirectPing(**values | fields)  # type: ignore[arg-type]  # fields by name


def test_compound_of_three_pings_draws_three_acks() -> None:
    """gossip 40.1: three pings in a compound draw three acks of their sequence number."""
    rig = rig_with()
    rig.hear(*[Ping(42, "")] * 3)
    assert rig.sent() == [(PEER, [Ack(42)])] * 3


def test_ping_for_nobody_in_particular_is_answered_for_another_is_not() -> None:
    """gossip 40.2: an empty node name is answered, a different one is not."""
    rig = rig_with()
    rig.hear(Ping(1, ""))
    assert rig.sent() == [(PEER, [Ack(1)])]
    rig.hear(Ping(2, "a"))
    assert rig.sent() == [(PEER, [Ack(2)])]
    rig.hear(Ping(3, "b"))
    assert rig.sent() == []
    assert [event.kind for event in rig.events(InputDropped)] == ["ping"]


@pytest.mark.parametrize(
    ("ip", "port", "to"),
    [
        (ip_of_host(OTHER.host), 99, Address(OTHER.host, 99)),
        (MAPPED_PEER, 99, Address(PEER.host, 99)),
        (ip_of_host(OTHER.host), 0, PEER),
        (None, 99, PEER),
        (b"", 99, PEER),
        (b"\1\2\3", 99, PEER),
    ],
)
def test_ack_goes_to_the_stated_source_if_there_is_one(
    ip: bytes | None, port: int, to: Address
) -> None:
    """gossip 40.3: the ack goes to SourceAddr:SourcePort if present, else to the source."""
    rig = rig_with()
    rig.hear(Ping(5, "a", ip, port, "b"))
    assert rig.sent() == [(to, [Ack(5)])]


def test_ack_carries_what_the_delegate_has_to_say() -> None:
    hooks = Hooks()
    hooks.ack = b"payload"
    rig = rig_with(delegate=hooks)
    rig.hear(Ping(5, "a"))
    assert rig.sent() == [(PEER, [Ack(5, b"payload")])]


def test_queued_broadcast_rides_behind_the_ack() -> None:
    """gossip 40.8: the primary message first, one queued broadcast second."""
    rig = rig_with()
    rig.hear(alive("c", host=OTHER.host))
    rig.hear(Ping(5, ""))
    assert rig.sent() == [(PEER, [Ack(5), alive("c", host=OTHER.host)])]


def test_pings_and_acks_go_without_checksum() -> None:
    """gossip 40.14: no checksum for a destination that is not known by name."""
    rig = rig_with("b")
    rig.hear(Ping(5, ""))
    (effect,) = rig.of(SendDatagram)
    assert effect.data[0] == 2


def test_success_of_an_indirect_ping_is_relayed_without_payload() -> None:
    """gossip 40.4: the ack has the requester's sequence number and a nil payload."""
    rig = rig_with()
    rig.hear(indirect())
    assert rig.sent() == [(OTHER, [Ping(1, "c", OWN_IP, OWN.port, "a")])]
    rig.hear(Ack(1, b"payload"), source=OTHER)
    assert rig.sent() == [(PEER, [Ack(70)])]
    assert not rig.has_timer(RelayTimeout)


def test_unanswered_indirect_ping_draws_a_nack_after_the_probe_timeout() -> None:
    """gossip 40.5: a nack ProbeTimeout later, none after a success."""
    rig = rig_with()
    rig.hear(indirect())
    assert rig.at_of(RelayTimeout) == 0.5
    rig.fire(RelayTimeout)
    assert rig.sent() == [(PEER, [Nack(70)])]
    assert not rig.has_timer(RelayTimeout)
    # The handler is gone: a late ack is nobody's.
    assert rig.hear(Ack(1), source=OTHER) == []
    rig.hear(indirect())
    rig.hear(Ack(2), source=OTHER)
    assert rig.feed(TimerFired(RelayTimeout(2))) == []


def test_no_nack_if_none_was_asked_for() -> None:
    """gossip 40.5: a nack is for those who asked."""
    rig = rig_with()
    rig.hear(indirect(wants_nack=False))
    rig.fire(RelayTimeout)
    assert rig.effects == []


def test_early_nack_still_leaves_time_for_a_late_ack() -> None:
    rig = rig_with(nack_fraction=0.8)
    rig.hear(indirect())
    assert rig.at_of(RelayTimeout) == pytest.approx(0.4)
    rig.fire(RelayTimeout)
    assert rig.sent() == [(PEER, [Nack(70)])]
    assert rig.at_of(RelayTimeout) == pytest.approx(0.1)
    rig.hear(Ack(1), source=OTHER)
    assert rig.sent() == [(PEER, [Ack(70)])]
    rig.hear(indirect())
    rig.fire(RelayTimeout)
    rig.fire(RelayTimeout)
    assert rig.effects == []


def test_requester_without_identity_is_answered_at_its_source() -> None:
    rig = rig_with()
    rig.hear(indirect(source_ip=None, source_port=0), source=Address("10.0.0.9", 5))
    rig.fire(RelayTimeout)
    assert rig.sent() == [(Address("10.0.0.9", 5), [Nack(70)])]


def test_indirect_ping_without_port_means_ours() -> None:
    rig = rig_with()
    rig.hear(indirect(target_port=0))
    assert rig.sent_first()[0][0] == Address(OTHER.host, OWN.port)


@pytest.mark.parametrize(
    "request_", [indirect(target_ip=None), indirect(target_ip=b"\1"), indirect(node="x" * 1025)]
)
def test_unusable_indirect_ping_is_dropped(request_: IndirectPing) -> None:
    rig = rig_with()
    rig.hear(request_)
    assert rig.sent() == []
    assert [event.kind for event in rig.events(InputDropped)] == ["indirect-ping"]


def test_indirect_pings_under_way_are_limited() -> None:
    rig = rig_with(relays_max=1)
    rig.hear(indirect(), indirect())
    assert len(rig.sent()) == 1
    assert rig.node.counters["dropped.full"] == 1


def test_ack_or_nack_of_an_unknown_sequence_is_ignored() -> None:
    assert Rig().hear(Ack(1), Nack(1)) == []
