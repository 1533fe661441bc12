"""A leader looks after its region: peers, the dead, the new, and nodes that fell silent."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swimnomad.nomad.consensus import RaftPeer
from swimnomad.nomad.duties.heartbeats import TICK_INTERVAL
from swimnomad.nomad.duties.messages import (
    AskStats,
    CancelTimer,
    ChangePeer,
    ConfirmLead,
    DutyEffect,
    DutyTimer,
    Finished,
    ForceLeave,
    LeadBegan,
    LeadEnded,
    Log,
    MemberChanged,
    Propose,
    StatsReported,
    TimerFired,
)
from swimnomad.nomad.duties.node import (
    AUTOPILOT_INTERVAL,
    EXPIRIES_MAX,
    HEALTH_INTERVAL,
    QUEUE_MAX,
    SWEEP_INTERVAL,
)
from swimnomad.nomad.requests import RaftStats
from swimnomad.nomad.state.commands import RegisterNode, SetAutopilot, SetClusterId, SetNodeStatus
from swimnomad.nomad.state.records import AutopilotConfig
from swimnomad.serf.events import (
    Member,
    MemberFailed,
    MemberJoined,
    MemberLeft,
    MemberReaped,
    MemberUpdated,
    Status,
)
from tests.nomad.consensus_fakes import apply
from tests.nomad.duties.duty_support import EPOCH, World, address, member, only, peer, world
from tests.nomad.state.state_support import node, uuid


def three(**tags: str) -> list[Member]:
    return [member(number, **tags) for number in (1, 2, 3)]


VOTERS = (peer(1), peer(2), peer(3))
UUIDS = tuple(peer(number, name=f"id-{number}") for number in (1, 2, 3))


def changes(effects: list[DutyEffect]) -> list[tuple[str, RaftPeer]]:
    return [(change.action, change.peer) for change in only(ChangePeer, effects)]


def answer_stats(found: World, ask: AskStats, **odd: RaftStats | None) -> None:
    answers: dict[str, RaftStats | None] = {
        server.name: RaftStats("10ms", 10, 2) for server in ask.servers
    }
    answers["s1.global"] = RaftStats("0", 10, 2)
    answers |= {f"{name}.global": stats for name, stats in odd.items()}
    found.feed(StatsReported(ask.number, answers, EPOCH + found.now))


def stay_healthy(found: World, seconds: float, **odd: RaftStats | None) -> list[DutyEffect]:
    """Let time pass while all servers but the odd ones answer well."""
    new: list[DutyEffect] = []
    end = found.now + seconds
    while found.now < end:
        for ask in only(AskStats, step := found.pass_time(1.0)):
            answer_stats(found, ask, **odd)
        new += step
    return new


# --- leading ------------------------------------------------------------------------------------


def test_a_first_leader_writes_down_what_the_region_needs() -> None:
    found = world(*three(), peers=VOTERS)
    effects = found.feed(LeadBegan())
    kinds = [type(each.command) for each in only(Propose, effects)]
    assert kinds == [SetAutopilot, SetClusterId]
    assert found.view.state.cluster is not None
    assert not only(Propose, found.feed(LeadEnded(), LeadBegan()))
    assert not changes(effects)


def test_a_leader_is_done_when_its_lead_is() -> None:
    found = world(*three(), peers=VOTERS, leads=True)
    cancelled = only(CancelTimer, found.feed(LeadEnded()))
    assert {each.timer for each in cancelled} == set(DutyTimer) - {DutyTimer.ASK_AGAIN}
    assert not found.heartbeats.is_armed
    assert not found.node.leads
    found.view.peers = ()
    assert not found.pass_time(200.0)
    assert not found.announce(MemberLeft(member(2, Status.LEFT)))
    assert not found.feed(LeadEnded())


def test_reports_about_an_earlier_lead_are_ignored() -> None:
    found = world(*three(), peers=VOTERS, leads=True)
    (ask,) = only(AskStats, found.effects)
    found.feed(LeadEnded(), LeadBegan())
    answer_stats(found, ask)
    assert found.node.health().servers == ()
    assert not found.feed(Finished(ask.number, "late"))


# --- reconciliation -----------------------------------------------------------------------------


def test_a_new_leader_compares_gossip_with_the_peers() -> None:
    found = world(
        member(1),
        member(2),
        member(3, Status.LEFT),
        member(4, Status.FAILED),
        member(5, Status.LEAVING),
        peers=(peer(1), peer(3), peer(4), peer(5)),
        leads=True,
    )
    assert changes(found.effects) == [("add", peer(2)), ("remove", peer(3))]


def test_a_server_that_joins_is_added_and_one_that_left_removed() -> None:
    found = world(*three(), peers=VOTERS, leads=True)
    assert changes(found.announce(MemberJoined(member(4)))) == [("add", peer(4))]
    assert not changes(found.announce(MemberFailed(member(4, Status.FAILED))))
    assert changes(found.announce(MemberLeft(member(4, Status.LEFT)))) == [("remove", peer(4))]
    assert not changes(found.announce(MemberUpdated(member(2))))
    assert not changes(found.announce(MemberJoined(member(9, region="eu"))))


def test_a_reaped_server_is_removed_although_gossip_knows_it_no_more() -> None:
    """agent P03"""
    found = world(*three(), peers=VOTERS, leads=True)
    gone = found.view.members.pop("s3.global")
    assert changes(found.feed(MemberChanged(MemberReaped(gone)))) == [("remove", peer(3))]


def test_a_leader_does_not_remove_itself() -> None:
    found = world(*three(), peers=VOTERS, leads=True)
    assert not changes(found.announce(MemberLeft(member(1, Status.LEFT))))


def test_whoever_took_the_place_of_one_that_left_stays() -> None:
    """A server started again under another name, at the same address."""
    found = world(*three(), peers=VOTERS, leads=True)
    heir = msgspec.structs.replace(member(2), name="new.global")
    found.view.put(heir)
    assert not changes(found.announce(MemberLeft(member(2, Status.LEFT))))


def test_one_change_at_a_time_and_each_decided_anew() -> None:
    found = world(*three(), peers=VOTERS, leads=True)
    found.view.put(member(4), member(5))
    first = found.node.handle(MemberChanged(MemberJoined(member(4))), found.now)
    (change,) = only(ChangePeer, first)
    assert not only(
        ChangePeer, found.node.handle(MemberChanged(MemberJoined(member(5))), found.now)
    )
    # Meanwhile the second one left: nothing is left to do about it.
    found.view.put(member(5, Status.LEFT))
    found.node.handle(MemberChanged(MemberLeft(member(5, Status.LEFT))), found.now)
    assert not only(ChangePeer, found.node.handle(Finished(change.number), found.now))


def test_a_change_that_failed_is_made_up_for_by_the_sweep() -> None:
    found = world(*three(), peers=VOTERS, leads=True)
    found.changes_fail = "busy"
    logs = only(Log, found.announce(MemberJoined(member(4))))
    assert logs[-1].message == "failed to change Raft's peers: busy"
    found.changes_fail = ""
    assert not changes(found.pass_time(SWEEP_INTERVAL - 1))
    assert changes(found.pass_time(2.0)) == [("add", peer(4))]


def test_too_many_announcements_wait_for_the_sweep() -> None:
    found = world(*three(), peers=VOTERS, leads=True)
    found.view.put(*[member(number) for number in range(4, 50)])
    for number in range(4, 50):
        found.node.handle(MemberChanged(MemberJoined(member(number))), found.now)
    assert found.node.dropped == 45 - QUEUE_MAX


def test_two_servers_in_bootstrap_mode_do_not_join_each_other() -> None:
    """agent P09"""
    found = world(member(1, bootstrap="1"), peers=(peer(1),), leads=True)
    effects = found.announce(MemberJoined(member(2, bootstrap="1")))
    assert not changes(effects)
    (log,) = only(Log, effects)
    assert "only one server should be in bootstrap mode" in log.message


def test_with_protocol_3_a_server_comes_in_without_a_vote() -> None:
    """agent P17"""
    found = world(*three(raft_vsn="3"), peers=UUIDS, leads=True)
    effects = found.announce(MemberJoined(member(4, raft_vsn="3")))
    assert changes(effects) == [("add", RaftPeer("id-4", address(4), is_voter=False))]


def test_a_server_that_came_back_as_another_is_exchanged() -> None:
    found = world(*three(raft_vsn="3"), peers=UUIDS, leads=True)
    new = RaftPeer("new", address(2), is_voter=False)
    assert changes(found.announce(MemberJoined(member(2, raft_vsn="3", id="new")))) == [
        ("remove", peer(2, name="id-2")),
        ("add", new),
    ]
    assert new in found.view.peers
    # With addresses for ids it is the same server to Raft.
    old = world(*three(), peers=VOTERS, leads=True)
    assert not changes(old.announce(MemberJoined(member(2, id="new"))))


# --- autopilot ----------------------------------------------------------------------------------


def test_a_failed_server_of_three_is_forced_out_within_ten_seconds() -> None:
    """agent P12"""
    found = world(*three(), peers=VOTERS, leads=True)
    found.announce(MemberFailed(member(2, Status.FAILED)))
    effects = found.pass_time(AUTOPILOT_INTERVAL)
    assert only(ForceLeave, effects) == [ForceLeave("s2.global")]
    assert changes(found.announce(MemberLeft(member(2, Status.LEFT)))) == [("remove", peer(2))]


@pytest.mark.parametrize(
    ("dead", "voters"), [((2,), (1, 2)), ((2, 3), (1, 2, 3)), ((2, 3), (1, 2, 3, 4))]
)
def test_the_quorum_is_never_endangered(dead: tuple[int, ...], voters: tuple[int, ...]) -> None:
    """agent P14"""
    found = world(*map(member, voters), peers=tuple(map(peer, voters)), leads=True)
    for number in dead:
        found.announce(MemberFailed(member(number, Status.FAILED)))
    effects = found.pass_time(3 * AUTOPILOT_INTERVAL)
    assert not only(ForceLeave, effects)
    assert any("Failed to remove dead servers" in log.message for log in only(Log, effects))


def test_two_dead_of_five_may_go() -> None:
    found = world(*map(member, range(1, 6)), peers=tuple(map(peer, range(1, 6))), leads=True)
    for number in (4, 5):
        found.announce(MemberFailed(member(number, Status.FAILED)))
    effects = found.pass_time(AUTOPILOT_INTERVAL)
    assert {each.name for each in only(ForceLeave, effects)} == {"s4.global", "s5.global"}


def test_peers_that_gossip_does_not_know_are_removed() -> None:
    """agent P16"""
    found = world(*three(), peers=(*VOTERS, peer(9)), leads=True)
    assert not changes(found.effects)
    assert changes(found.pass_time(AUTOPILOT_INTERVAL)) == [("remove", peer(9))]


def test_what_operators_forbid_is_left_alone() -> None:
    """agent P13"""
    found = world(*three(), peers=VOTERS, leads=True)
    found.announce(MemberFailed(member(2, Status.FAILED)))
    for config in (AutopilotConfig(cleanup_dead_servers=False), AutopilotConfig(min_quorum=3)):
        apply(found.view.state, SetAutopilot(config))
        assert not only(ForceLeave, found.pass_time(AUTOPILOT_INTERVAL))
    apply(found.view.state, SetAutopilot(AutopilotConfig(min_quorum=2)))
    assert only(ForceLeave, found.pass_time(AUTOPILOT_INTERVAL))


def test_a_failed_nonvoter_may_always_go() -> None:
    found = world(
        member(1),
        member(2, Status.FAILED),
        peers=(peer(1), peer(2, is_voter=False)),
        leads=True,
    )
    assert only(ForceLeave, found.pass_time(AUTOPILOT_INTERVAL)) == [ForceLeave("s2.global")]
    both = world(
        member(1),
        member(2, Status.FAILED),
        member(3, Status.FAILED),
        peers=(peer(1), peer(2), peer(3, is_voter=False)),
        leads=True,
    )
    assert only(ForceLeave, both.pass_time(AUTOPILOT_INTERVAL)) == [ForceLeave("s3.global")]


def test_a_server_is_healthy_that_is_near_its_leader() -> None:
    found = world(*three(raft_vsn="3"), peers=UUIDS, leads=True)
    assert not found.node.health().is_healthy
    (ask,) = only(AskStats, found.effects)
    answer_stats(found, ask)
    health = found.node.health()
    assert (health.is_healthy, health.failure_tolerance) == (True, 1)
    assert health.servers is not None
    first, second, _ = health.servers
    assert (first.leads, first.id, first.name) == (True, "id-1", "s1.global")
    assert (second.last_contact, second.is_voter, second.serf_status) == (0.01, True, "alive")
    assert first.stable_since == EPOCH + found.now


@pytest.mark.parametrize(
    "stats",
    [
        None,
        RaftStats("201ms", 10, 2),
        RaftStats("never", 10, 2),
        RaftStats("odd", 10, 2),
        RaftStats("-1s", 10, 2),
        RaftStats("1ms", 10, 1),
    ],
)
def test_a_server_is_not_healthy_that_is_not(stats: RaftStats | None) -> None:
    found = world(*three(raft_vsn="3"), peers=UUIDS, leads=True)
    (ask,) = only(AskStats, found.effects)
    answer_stats(found, ask, s2=stats)
    health = found.node.health()
    assert (health.is_healthy, health.failure_tolerance) == (False, 0)


def test_a_server_far_behind_is_not_healthy() -> None:
    found = world(*three(raft_vsn="3"), peers=UUIDS, leads=True)
    found.view.raft = msgspec.structs.replace(found.view.raft, last_log_index=261)
    (ask,) = only(AskStats, found.effects)
    answer_stats(found, ask, s2=RaftStats("1ms", 11, 2), s3=RaftStats("1ms", 10, 2))
    servers = found.node.health().servers
    assert servers is not None
    assert [server.is_healthy for server in servers] == [False, True, False]


def test_a_healthy_server_gets_its_vote_after_ten_seconds() -> None:
    """agent P17"""
    found = world(*three(raft_vsn="3"), peers=UUIDS, leads=True)
    (ask,) = only(AskStats, found.effects)
    answer_stats(found, ask)
    found.announce(MemberJoined(member(4, raft_vsn="3")))
    found.announce(MemberJoined(member(5, raft_vsn="3", nonvoter="1")))
    early = stay_healthy(found, 9.0)
    assert not changes(early)
    promoted = [("add", RaftPeer("id-4", address(4), is_voter=True))]
    assert changes(stay_healthy(found, 2 * AUTOPILOT_INTERVAL)) == promoted
    assert not changes(stay_healthy(found, 20.0))


def test_a_server_that_was_unhealthy_in_between_waits_again() -> None:
    found = world(*three(raft_vsn="3"), peers=UUIDS, leads=True)
    (ask,) = only(AskStats, found.effects)
    answer_stats(found, ask)
    found.announce(MemberJoined(member(4, raft_vsn="3")))
    stay_healthy(found, 8.0)
    stay_healthy(found, 2 * HEALTH_INTERVAL, s4=None)
    assert not changes(stay_healthy(found, 9.0))
    assert changes(stay_healthy(found, 21.0))


def test_servers_are_asked_once_at_a_time() -> None:
    found = world(*three(), peers=VOTERS, leads=True)
    assert not only(AskStats, found.pass_time(10 * HEALTH_INTERVAL))


# --- heartbeats ---------------------------------------------------------------------------------


def with_nodes(count: int) -> World:
    found = world(member(1), expect=1, peers=(peer(1),))
    for number in range(1, count + 1):
        apply(found.view.state, RegisterNode(node(number, status="ready")))
    found.feed(LeadBegan())
    return found


def confirm(found: World, effects: list[DutyEffect], error: str = "") -> list[DutyEffect]:
    (ask,) = only(ConfirmLead, effects)
    return found.feed(Finished(ask.number, error))


def statuses(found: World) -> set[str]:
    return {each.status for each in found.view.state.nodes()}


def test_a_silent_node_is_set_down_once_the_lead_is_confirmed() -> None:
    """agent O07"""
    found = with_nodes(1)
    apply(found.view.state, RegisterNode(node(2, status="down")))
    assert not only(ConfirmLead, found.pass_time(299.0))
    effects = confirm(found, found.pass_time(2.0))
    (proposal,) = only(Propose, effects)
    assert isinstance(proposal.command, SetNodeStatus)
    assert (proposal.command.node_id, proposal.command.status) == (uuid(1), "down")
    assert only(Log, effects)[0].message == f"node TTL expired: node_id={uuid(1)}"
    down = found.view.state.node(uuid(1))
    assert down is not None
    assert down.events is not None
    assert down.events[-1].message == "Node heartbeat missed"
    assert not only(ConfirmLead, found.pass_time(500.0))


def test_a_lead_that_is_not_confirmed_takes_nobody_down() -> None:
    """A leader that was cut off, or frozen while another was elected."""
    found = with_nodes(3)
    effects = confirm(found, found.pass_time(301.0), "No cluster leader")
    assert not only(Propose, effects)
    assert statuses(found) == {"ready"}
    # It asks again as long as it believes to lead, but only one question at a time.
    asked = only(ConfirmLead, found.pass_time(5.0))
    assert len(asked) == 1
    found.feed(LeadEnded())
    assert not found.feed(Finished(asked[0].number))
    assert statuses(found) == {"ready"}


def test_who_is_heard_while_the_lead_is_confirmed_stays() -> None:
    found = with_nodes(2)
    effects = found.pass_time(301.0)
    found.heartbeats.reset(uuid(1), found.now)
    confirm(found, effects)
    assert [each.status for each in found.view.state.nodes()] == ["ready", "down"]


def test_a_frozen_leader_takes_nobody_down_on_waking() -> None:
    """nomad#4666: nor if it still leads, as the only server of its region does."""
    found = with_nodes(10)
    for number in range(1, 11):
        found.heartbeats.reset(uuid(number), found.now)
    found.pass_time(5.0)
    found.now += 3600.0  # the process stood still; its timers come late
    for timer in list(found.timers):
        found.timers[timer] = found.now
    assert not only(ConfirmLead, found.pass_time(8.0))
    for number in range(1, 11):
        found.heartbeats.reset(uuid(number), found.now)
    assert not only(ConfirmLead, found.pass_time(10.0))
    assert statuses(found) == {"ready"}


def test_a_status_that_could_not_be_written_is_written_later() -> None:
    found = with_nodes(1)
    (ask,) = only(ConfirmLead, found.pass_time(301.0))
    (proposal,) = only(Propose, found.node.handle(Finished(ask.number), found.now))
    logs = only(Log, found.feed(Finished(proposal.number, "timed out")))
    assert logs[0].message == "failed to set a node down: timed out"
    assert statuses(found) == {"ready"}
    confirm(found, found.pass_time(12.0))
    assert statuses(found) == {"down"}


def test_many_silent_nodes_are_set_down_by_and_by() -> None:
    found = with_nodes(EXPIRIES_MAX + 5)
    first = confirm(found, found.pass_time(300.5))
    assert len(only(Propose, first)) == EXPIRIES_MAX
    second = confirm(found, found.pass_time(TICK_INTERVAL))
    assert len(only(Propose, second)) == 5


def test_nodes_that_are_gone_or_down_meanwhile_are_left_alone() -> None:
    found = with_nodes(2)
    (ask,) = only(ConfirmLead, found.pass_time(301.0))
    apply(found.view.state, SetNodeStatus(uuid(1), "down", 5))
    found.view.state.restore(found.view.state.snapshot())
    effects = found.feed(Finished(ask.number))
    assert [each.command.node_id for each in only(Propose, effects)] == [  # type: ignore[attr-defined]
        uuid(2)
    ]


# --- anything -----------------------------------------------------------------------------------

_EVENTS = {
    Status.ALIVE: MemberJoined,
    Status.FAILED: MemberFailed,
    Status.LEFT: MemberLeft,
}
_STEPS = st.one_of(
    st.tuples(st.just("member"), st.integers(1, 5), st.sampled_from(sorted(_EVENTS))),
    st.tuples(st.just("lead"), st.booleans(), st.just(0)),
    st.tuples(st.just("time"), st.floats(0.0, 70.0), st.just(0)),
    st.tuples(st.just("finish"), st.integers(0, 30), st.booleans()),
    st.tuples(st.just("timer"), st.sampled_from(list(DutyTimer)), st.just(0)),
)


@settings(max_examples=150)
@given(st.lists(_STEPS, max_size=40))
def test_whatever_comes_the_quorum_of_the_living_is_kept(steps: list[tuple[object, ...]]) -> None:
    """Nothing raises, changes go one by one, and autopilot forces out a minority at most."""
    found = world(*map(member, range(1, 6)), peers=tuple(map(peer, range(1, 6))))
    for kind, one, two in steps:
        effects: list[DutyEffect] = []
        if kind == "member":
            assert isinstance(one, int)
            assert isinstance(two, Status)
            effects = found.announce(_EVENTS[two](member(one, two)))
        elif kind == "lead":
            effects = found.feed(LeadBegan() if one else LeadEnded())
        elif kind == "time":
            assert isinstance(one, float)
            effects = found.pass_time(one)
        elif kind == "finish":
            assert isinstance(one, int)
            effects = found.feed(Finished(one, "x" if two else ""))
        else:
            assert isinstance(one, DutyTimer)
            effects = found.feed(TimerFired(one))
        forced = {each.name for each in only(ForceLeave, effects)}
        voters = [each for each in found.view.peers if each.is_voter]
        if forced:
            assert len(forced) <= (len(voters) - 1) // 2 or kind == "time"
    if found.node.leads and found.view.servers["s1.global"].status is not Status.LEFT:
        found.pass_time(2 * SWEEP_INTERVAL)
        raft = {each.address for each in found.view.peers}
        for server in found.view.servers.values():
            if server.name != "s1.global":
                assert (server.address in raft) or server.status is not Status.ALIVE
                assert server.address not in raft or server.status is not Status.LEFT
