"""A few nodes on a virtual network: members come, leave, fail, return and are forgotten."""

from __future__ import annotations

import pytest

from swimnomad.names import Address
from swimnomad.serf.events import ForceLeaveFinished, MemberLeft, NameConflict, Status
from swimnomad.serf.lifecycle import Lifecycle
from swimnomad.swim.events import JoinFinished, LeaveFinished
from tests.serf.helpers import Host, Net, all_see, serf_config


def two(gossip: dict[str, object] | None = None, **settings: float) -> tuple[Net, Host, Host]:
    net = Net()
    a, b = net.pool(2, "local", gossip=gossip, **settings)
    return net, a, b


def leave(host: Host) -> None:
    operation = host.leave()
    host.net.until(
        lambda: any(done.operation == operation for done in host.announced(LeaveFinished))
    )


def test_a_join_shows_each_the_other_as_alive() -> None:
    _, a, b = two()
    assert a.statuses() == b.statuses() == {"a": "alive", "b": "alive"}
    assert b.announced(JoinFinished) == [JoinFinished(1, joined=1, failures=())]
    assert a.kinds("b") == b.kinds("a") == ["MemberJoined"]


def test_a_join_leaves_the_newcomer_with_a_status_time_and_moves_the_clock_beyond() -> None:
    """serf 35.40: status ltime 1 for the newcomer and a clock beyond it; a leave advances it."""
    net, a, b = two()
    net.until(lambda: a.node.members["b"].status_ltime == 1)
    before = int(a.node.stats()["member_time"])
    assert before > 1
    leave(b)
    assert int(a.node.stats()["member_time"]) > before


def test_a_node_that_dies_is_seen_failed_and_then_forgotten() -> None:
    """serf 35.2: member-join, then member-failed, then member-reap."""
    net, a, b = two(reconnect_timeout=0.0)
    b.kill()
    net.until(lambda: a.status("b") == "unknown")
    assert a.kinds("b") == ["MemberJoined", "MemberFailed", "MemberReaped"]


def test_a_node_that_says_goodbye_is_seen_left() -> None:
    """serf 35.3: member-join then member-leave; the status becomes left."""
    net, a, b = two()
    leave(b)
    net.until(lambda: a.status("b") == "left")
    assert a.kinds("b") == ["MemberJoined", "MemberLeft"]
    assert a.announced(MemberLeft)[0].forced is False
    assert b.status("b") == "left"
    assert b.announced(LeaveFinished)[-1].heard


def test_two_leaves_with_a_rejoin_that_some_missed_settle_on_left_and_die_out() -> None:
    """serf 35.4: all settle on left and every intent queue drains to 0."""
    net = Net()
    a, b, c = net.pool(3)
    leave(c)
    net.until(lambda: all_see([a, b], "c", Status.LEFT))
    c.shutdown()
    net.partition([b])
    again = net.add(serf_config("c"), address=c.address)
    again.join(a)
    net.until(lambda: a.status("c") == "alive")
    leave(again)
    net.until(lambda: a.status("c") == "left")
    net.heal()
    net.run(60.0)
    assert all_see([a, b, again], "c", Status.LEFT)
    assert [host.node.stats()["intent_queue"] for host in (a, b, again)] == ["0", "0", "0"]


def test_a_failed_node_that_is_force_left_shows_left_everywhere() -> None:
    """serf 35.5: join, failed, leave when a failed node is force-left."""
    net = Net()
    a, b, c = net.pool(3)
    c.kill()
    net.until(lambda: all_see([a, b], "c", Status.FAILED))
    operation = a.force_leave("c")
    assert a.status("c") == "left", "at once where it was asked for"
    net.until(lambda: b.status("c") == "left")
    net.until(lambda: bool(a.announced(ForceLeaveFinished)))
    assert a.announced(ForceLeaveFinished) == [ForceLeaveFinished(operation)]
    assert a.kinds("c") == b.kinds("c") == ["MemberJoined", "MemberFailed", "MemberLeft"]
    assert all(host.announced(MemberLeft)[0].forced for host in (a, b))


def test_a_force_leave_of_an_unknown_name_succeeds() -> None:
    """serf 35.14: of an unknown name succeeds."""
    net, a, b = two()
    operation = a.force_leave("nobody")
    net.until(lambda: bool(a.announced(ForceLeaveFinished)))
    assert a.announced(ForceLeaveFinished) == [ForceLeaveFinished(operation)]
    assert a.statuses() == b.statuses() == {"a": "alive", "b": "alive"}


def test_a_force_leave_of_a_node_that_is_there_does_not_last() -> None:
    net = Net()
    a, b, c = net.pool(3)
    a.force_leave("c")
    assert a.status("c") == "leaving"
    net.until(lambda: all_see([a, b, c], "c", Status.ALIVE))
    net.run(30.0)
    assert all_see([a, b, c], "c", Status.ALIVE)


def test_the_only_other_member_is_leaving_where_it_was_force_left_until_they_exchange() -> None:
    # With nobody else alive the intent is not broadcast: the other hears of it by push/pull only.
    net, a, b = two()
    net.run(2.0)
    operation = a.force_leave("b")
    assert a.announced(ForceLeaveFinished) == [ForceLeaveFinished(operation)]
    net.run(5.0)
    assert (a.status("b"), b.status("b")) == ("leaving", "alive")
    net.until(lambda: a.status("b") == "alive")


def test_a_node_that_force_leaves_itself_stays() -> None:
    net, a, b = two()
    operation = a.force_leave("a")
    assert a.announced(ForceLeaveFinished) == [ForceLeaveFinished(operation)]
    net.run(10.0)
    assert all_see([a, b], "a", Status.ALIVE)


@pytest.mark.parametrize("fate", ["failed", "left"])
def test_force_leave_with_prune_erases_who_is_gone_everywhere(fate: str) -> None:
    """serf 35.11: removes a failed and a left node from all members."""
    net = Net()
    a, b, c = net.pool(3)
    if fate == "left":
        leave(c)
    c.kill()
    net.until(lambda: a.status("c") == b.status("c") == fate)
    a.force_leave("c", prune=True)
    assert a.status("c") == "unknown"
    net.until(lambda: b.status("c") == "unknown")
    net.run(60.0)
    assert a.statuses() == b.statuses() == {"a": "alive", "b": "alive"}


def test_force_leave_with_prune_erases_a_leaving_node_everywhere() -> None:
    """serf 35.11: removes a leaving node from all members."""
    net = Net()
    a, b, c = net.pool(3)
    c.leave()
    net.until(lambda: all_see([a, b], "c", Status.LEAVING))
    c.kill()
    a.force_leave("c", prune=True)
    net.until(lambda: a.status("c") == b.status("c") == "unknown", within=30.0)
    net.run(60.0)
    assert a.statuses() == b.statuses() == {"a": "alive", "b": "alive"}


def test_a_live_node_that_was_pruned_and_never_heard_of_it_is_back_after_a_push_pull() -> None:
    """With nobody else alive the leave is not even sent: only the exchange of states tells."""
    net, a, b = two(gossip={"push_pull_interval": 30.0})
    net.until(lambda: a.node.members["b"].status_ltime == 1)  # Its join intent is there.
    a.force_leave("b", prune=True)
    net.until(lambda: a.status("b") == "unknown", within=10.0)
    assert b.kinds("b") == ["MemberJoined"], "it has heard nothing"
    net.until(lambda: a.status("b") == "alive", within=60.0)
    assert all_see([a, b], "b", Status.ALIVE)
    assert not a.node._context.membership.ghosts


@pytest.mark.parametrize("prune", [False, True])
def test_a_leave_that_has_the_time_of_the_join_it_never_met_is_contradicted(prune: bool) -> None:
    """An exchange of states shows no difference, so the member itself is asked."""
    net = Net()
    a, b = net.add(serf_config("a")), net.add(serf_config("b"))
    net.loss = 1.0  # Of datagrams: neither the join intent nor the leave intent arrives.
    b.join(a)
    net.run(1.0)
    a.force_leave("b", prune=prune)
    gone = "unknown" if prune else "leaving"
    net.until(lambda: a.status("b") == gone, within=10.0)
    leave = a.node._context.membership.find_tied("b", b.node.local_member.status_ltime)
    assert leave is not None, "a tie"
    net.loss = 0.0
    net.until(lambda: a.status("b") == "alive")
    assert a.node.members["b"].status_ltime > leave.status_ltime
    assert not a.node._context.membership.ghosts


def test_a_leave_and_some_reap_intervals_leave_one_member_on_both_sides() -> None:
    """serf 35.9: one member on both sides."""
    _net, a, b = two(tombstone_timeout=0.0, reconnect_timeout=0.0)
    leave(b)
    a.net.until(lambda: list(a.node.members) == ["a"])
    b.net.until(lambda: list(b.node.members) == ["a"])
    assert b.node.local_member.status is Status.LEFT, "the node still knows its own record"


def test_a_node_that_leaves_and_returns_with_another_role_is_shown_with_it() -> None:
    """serf 35.10: shown with the new role."""
    net = Net()
    a = net.add(serf_config("a"))
    b = net.add(serf_config("b", tags={"role": "web"}))
    b.join(a)
    net.until(lambda: a.status("b") == "alive")
    assert a.node.members["b"].tags == {"role": "web"}
    leave(b)
    b.shutdown()
    again = net.add(serf_config("b", tags={"role": "db"}), address=b.address)
    again.join(a)
    net.until(lambda: a.status("b") == "alive")
    assert a.node.members["b"].tags == {"role": "db"}


@pytest.mark.parametrize("port", [7946, 7947])
def test_a_failed_node_that_returns_is_found_again(port: int) -> None:
    """serf 35.12: join, failed, join; the same with two nodes on one IP address."""
    net = Net()
    a = net.add(serf_config("a"), address=Address("10.0.0.1", 7946))
    address = Address("10.0.0.1" if port != 7946 else "10.0.0.2", port)
    b = net.add(serf_config("b"), address=address)
    b.join(a)
    net.until(lambda: a.status("b") == "alive")
    b.kill()
    net.until(lambda: a.status("b") == "failed")
    again = net.add(serf_config("b"), address=address)
    net.until(lambda: a.status("b") == "alive")
    assert a.kinds("b") == ["MemberJoined", "MemberFailed", "MemberJoined"]
    net.until(lambda: again.status("a") == "alive")
    assert a.node.flap_count == 1


def test_a_fast_restart_with_other_tags_and_a_lower_protocol_is_an_update() -> None:
    """serf 35.13: join then update, with new tags and new DelegateCur."""
    net = Net()
    a = net.add(serf_config("a"))
    b = net.add(serf_config("b", tags={"role": "web"}, protocol_version=5))
    b.join(a)
    net.until(lambda: a.status("b") == "alive")
    b.kill()
    again = net.add(serf_config("b", tags={"role": "db"}, protocol_version=3), address=b.address)
    again.join(a)
    net.until(lambda: a.node.members["b"].tags == {"role": "db"})
    assert a.kinds("b") == ["MemberJoined", "MemberUpdated"]
    assert a.node.members["b"].versions == bytes((1, 5, 2, 2, 5, 3))


def test_a_node_goes_from_alive_to_left_to_shut_down_and_repeats_are_harmless() -> None:
    """serf 35.15: life-cycle states; leave and shutdown are idempotent."""
    net, _a, b = two()
    seen = [b.node.lifecycle]
    first, second = b.leave(), b.leave()
    seen.append(b.node.lifecycle)
    net.until(lambda: b.node.lifecycle is Lifecycle.LEFT)
    third = b.leave()
    finished = [event.operation for event in b.announced(LeaveFinished)]
    assert finished == [first, second, third]
    seen.append(b.node.lifecycle)
    b.shutdown()
    b.is_up = True
    b.shutdown()
    assert [*seen, b.node.lifecycle] == list(Lifecycle)
    assert [lifecycle.text for lifecycle in Lifecycle] == ["alive", "leaving", "left", "shutdown"]


def test_a_node_that_left_and_was_shut_down_can_join_again() -> None:
    """serf 35.19: both see two alive members."""
    net, a, b = two()
    leave(b)
    b.shutdown()
    again = net.add(serf_config("b"), address=b.address)
    again.join(a)
    net.until(lambda: a.statuses() == again.statuses() == {"a": "alive", "b": "alive"})


def test_a_lone_node_leaves_at_once_but_for_the_propagation_delay() -> None:
    net = Net()
    a = net.add(serf_config("a"))
    a.leave()
    assert net.until(lambda: a.node.lifecycle is Lifecycle.LEFT) == pytest.approx(1.0)


def test_a_leave_that_nobody_can_hear_ends_all_the_same() -> None:
    net, a, _b = two(gossip={"gossip_interval": 0.0, "probe_interval": 0.0})
    operation = a.leave()
    assert net.until(lambda: a.node.lifecycle is Lifecycle.LEFT) == pytest.approx(11.0)
    assert a.announced(LeaveFinished) == [LeaveFinished(operation, heard=False)]


def test_the_leave_intent_is_out_before_the_gossip_layer_says_goodbye() -> None:
    net, a, b = two(gossip={"push_pull_interval": 0.0})
    b.leave()
    net.until(lambda: a.status("b") == "leaving")
    net.until(lambda: a.status("b") == "left")
    assert a.kinds("b") == ["MemberJoined", "MemberLeft"]


def test_a_node_that_has_left_neither_joins_nor_calls_anybody_back() -> None:
    net, a, b = two(gossip={"push_pull_interval": 0.0})
    leave(b)
    operation = b.join(a)
    (refused,) = [event for event in b.announced(JoinFinished) if event.operation == operation]
    assert (refused.joined, [reason for _, reason in refused.failures]) == (
        0,
        ["this node is left"],
    )
    a.kill()
    net.run(60.0)
    assert b.node.members["a"].status in (Status.ALIVE, Status.FAILED)


def test_two_nodes_that_claim_one_name_are_reported_and_the_second_refused() -> None:
    net = Net()
    a, b, _c = net.pool(3)
    impostor = net.add(serf_config("b"))
    impostor.join(a)
    net.until(lambda: all(host.announced(NameConflict) for host in (a, impostor)))
    existing, other = str(b.address), str(impostor.address)
    assert a.announced(NameConflict)[0] == NameConflict("b", False, existing, other)
    assert impostor.announced(NameConflict)[0] == NameConflict("b", True, other, existing)
    assert a.node.members["b"].ip == b.node.local_member.ip
    assert b.node.lifecycle is impostor.node.lifecycle is Lifecycle.ALIVE
