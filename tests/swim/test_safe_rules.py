"""Where we differ from memberlist on purpose: our rule, and theirs under compat `upstream`."""

from __future__ import annotations

import pytest

from swimnomad.swim.events import NodeJoined
from swimnomad.swim.inputs import DatagramReceived
from swimnomad.swim.timers import SuspicionTimeout
from swimnomad.wire.codec import encode
from swimnomad.wire.messages import Dead, NodeState, Suspect
from tests.helpers import Net, address_of
from tests.swim.swim_support import OTHER, PEER, Rig, alive, record, rig_with

# --- a claim that is not newer never revives ------------------------------------------------------


@pytest.mark.parametrize("incarnation", [4, 5])
def test_stale_alive_from_a_new_address_revives_nobody(incarnation: int) -> None:
    rig = rig_with("b")
    rig.hear(Dead("b", 5, "b"))
    rig.drain()
    rig.hear(alive("b", incarnation, host=OTHER.host))
    assert rig.entry("b").state is NodeState.LEFT
    assert rig.entry("b").incarnation == 5
    assert rig.events(NodeJoined) == []
    # It is told what we remember, where it now lives, and can refute.
    assert rig.sent() == [(OTHER, [Dead("b", 5, "b")])]
    rig.hear(alive("b", 6, host=OTHER.host))
    assert rig.entry("b").state is NodeState.ALIVE
    assert rig.entry("b").address == OTHER


def test_upstream_revives_by_a_stale_alive_from_a_new_address() -> None:
    rig = rig_with("b", compat="upstream")
    rig.hear(Dead("b", 5, "b"))
    rig.hear(alive("b", 2, host=OTHER.host))
    assert rig.entry("b").state is NodeState.ALIVE
    assert rig.entry("b").incarnation == 2
    assert len(rig.events(NodeJoined)) == 1


def test_upstream_keeps_a_dead_placeholder_for_incarnation_zero() -> None:
    rig = rig_with(compat="upstream")
    rig.hear(alive("b", 0))
    assert rig.entry("b").state is NodeState.DEAD
    assert rig.entry("b").incarnation == 0
    assert rig.events(NodeJoined) == []


# --- a restarted member learns what the pool remembers --------------------------------------------


@pytest.mark.parametrize(
    ("memory", "answer"),
    [
        (Dead("b", 5, "c"), Dead("b", 5, "a")),
        (Dead("b", 5, "b"), Dead("b", 5, "b")),
        (Suspect("b", 5, "c"), Suspect("b", 5, "a")),
    ],
)
def test_maker_of_a_stale_alive_is_told_what_we_remember(
    memory: Dead | Suspect, answer: Dead | Suspect
) -> None:
    rig = rig_with("b", "c")
    rig.hear(memory)
    rig.drain()
    rig.hear(alive("b", 1), source=OTHER)
    assert rig.sent() == [(PEER, [answer])]
    assert rig.node.counters["reminders"] == 1


def test_one_datagram_draws_one_reminder() -> None:
    rig = rig_with("b", "c")
    rig.hear(Dead("b", 5, "a"), Dead("c", 5, "a"))
    rig.hear(alive("b", 1), alive("c", 1, host=OTHER.host))
    assert rig.sent_first() == [(PEER, Dead("b", 5, "a"))]
    # A push/pull draws none: its answer holds all we remember.
    rig.merge(record("b", 1))
    assert rig.sent() == []


def test_stale_alive_of_a_member_in_good_standing_draws_nothing() -> None:
    rig = rig_with("b")
    rig.hear(alive("b", 5))
    assert rig.hear(alive("b", 1)) == []


def test_upstream_leaves_the_restarted_member_without_a_word() -> None:
    rig = rig_with("b", compat="upstream")
    rig.hear(Dead("b", 5, "c"))
    assert rig.hear(alive("b", 1)) == []


def restart_unnoticed(compat: str) -> Net:
    """n3 dies, and comes back knowing one member; nobody exchanges whole states any more."""
    net = Net()
    net.pool(4, compat=compat, push_pull_interval=0.0)
    net["n3"].crash()
    net.run_until(lambda: all(h.entry("n3").state is NodeState.DEAD for h in net), 30.0)
    net.run(10.0)  # The news of its death is old now: nobody gossips it any more.
    reborn = net.add(
        "n3", address=address_of(3), compat=compat, push_pull_interval=0.0, probe_interval=0.0
    )
    claim = encode(alive("n1", host=address_of(1).host))
    reborn.feed(DatagramReceived(claim, address_of(1)))
    assert reborn.node.own.incarnation == 1
    net.run(10.0)
    return net


def test_restarted_member_comes_back_by_gossip_alone() -> None:
    net = restart_unnoticed("safe")
    for host in net:
        if host.node.own.name != "n3":
            assert host.entry("n3").state is NodeState.ALIVE
    assert net["n3"].node.own.incarnation > 1


def test_upstream_restarted_member_stays_dead_by_gossip_alone() -> None:
    net = restart_unnoticed("upstream")
    assert net["n1"].entry("n3").state is NodeState.DEAD
    assert net["n3"].node.own.incarnation == 1


# --- hearsay is no testimony ----------------------------------------------------------------------


def crowd(compat: str) -> Rig:
    return rig_with(*"bcdefghij", compat=compat)


@pytest.mark.parametrize("state", [NodeState.SUSPECT, NodeState.DEAD])
def test_merged_suspicion_is_hearsay_and_confirms_nothing(state: NodeState) -> None:
    rig = crowd("safe")
    rig.hear(Suspect("b", 1, "c"))
    rig.drain()
    before = rig.at_of(SuspicionTimeout)
    rig.merge(record("b", 1, state))
    assert rig.at_of(SuspicionTimeout) == before
    assert rig.queued() == []
    # Our own probe is testimony, and counts as ours.
    rig.hear(Suspect("b", 1, "a"))
    assert rig.at_of(SuspicionTimeout) < before


@pytest.mark.parametrize("state", [NodeState.SUSPECT, NodeState.DEAD])
def test_merged_suspicion_of_an_alive_member_still_suspects_it(state: NodeState) -> None:
    rig = crowd("safe")
    rig.merge(record("b", 1, state))
    assert rig.entry("b").state is NodeState.SUSPECT
    # Signed with the name of the accused, so that whoever hears it from many hears one thing.
    assert rig.queued() == [Suspect("b", 1, "b")]
    longest = rig.at_of(SuspicionTimeout)
    rig.hear(Suspect("b", 1, "b"))
    rig.hear(Suspect("b", 1, "c"))
    assert rig.at_of(SuspicionTimeout) == longest
    rig.hear(Suspect("b", 1, "d"))
    assert rig.at_of(SuspicionTimeout) < longest


def test_upstream_signs_a_merged_suspicion_itself() -> None:
    rig = crowd("upstream")
    rig.merge(record("b", 1, NodeState.SUSPECT))
    assert rig.queued() == [Suspect("b", 1, "a")]
    rig = crowd("upstream")
    rig.hear(Suspect("b", 1, "c"))
    before = rig.at_of(SuspicionTimeout)
    rig.merge(record("b", 1, NodeState.DEAD))
    assert rig.at_of(SuspicionTimeout) < before
