"""How a region gets its first Raft configuration."""

from __future__ import annotations

import msgspec
import pytest

from swimnomad.nomad.consensus import RaftStatus
from swimnomad.nomad.duties.messages import (
    AskPeers,
    BootstrapRaft,
    DutyEffect,
    DutyTimer,
    LeadBegan,
    Log,
    PeersReported,
    Started,
    TimerFired,
)
from swimnomad.serf.events import Member, MemberJoined, Status
from tests.nomad.duties.duty_support import World, member, only, peer, world


def three(**tags: str) -> list[Member]:
    return [member(number, **tags) for number in (1, 2, 3)]


def asked(effects: list[DutyEffect]) -> AskPeers:
    (found,) = only(AskPeers, effects)
    return found


def all_empty(ask: AskPeers) -> PeersReported:
    return PeersReported(ask.number, {server.name: () for server in ask.servers})


def test_a_single_server_bootstraps_itself_at_the_start() -> None:
    found = world(member(1, expect="1", bootstrap="1"), expect=1)
    (bootstrap,) = only(BootstrapRaft, found.feed(Started()))
    assert bootstrap.peers == (peer(1),)
    assert not only(BootstrapRaft, found.feed(Started()))


def test_of_several_each_waits_until_all_are_there() -> None:
    """agent P04"""
    found = world(member(1), member(2))
    assert not found.feed(Started())
    ask = asked(found.announce(MemberJoined(member(3))))
    assert [server.name for server in ask.servers] == ["s1.global", "s2.global", "s3.global"]
    (bootstrap,) = only(BootstrapRaft, found.feed(all_empty(ask)))
    assert bootstrap.peers == (peer(1), peer(2), peer(3))
    # Whoever joins later is for the leader to add.
    assert not found.announce(MemberJoined(member(4)))


def test_all_of_them_come_to_the_same_configuration() -> None:
    configurations = []
    for own in (1, 2, 3):
        order = [member(number, raft_vsn="3") for number in (own, 1, 2, 3)]
        found = world(*order, own_name=f"s{own}.global")
        ask = asked(found.feed(Started()))
        (bootstrap,) = only(BootstrapRaft, found.feed(all_empty(ask)))
        configurations.append(bootstrap.peers)
    assert configurations[0] == configurations[1] == configurations[2]
    assert [each.id for each in configurations[0]] == ["id-1", "id-2", "id-3"]


def test_one_server_of_an_old_protocol_makes_all_ids_addresses() -> None:
    found = world(member(1, raft_vsn="3"), member(2, raft_vsn="2"), member(3, raft_vsn="3"))
    (bootstrap,) = only(BootstrapRaft, found.feed(all_empty(asked(found.feed(Started())))))
    assert bootstrap.peers == (peer(1), peer(2), peer(3))


def test_nonvoters_do_not_count_and_take_part() -> None:
    """agent P06"""
    found = world(member(1), member(2), member(4, nonvoter="1"))
    assert not found.feed(Started())
    ask = asked(found.announce(MemberJoined(member(3))))
    (bootstrap,) = only(BootstrapRaft, found.feed(all_empty(ask)))
    assert [each.is_voter for each in bootstrap.peers] == [True, True, True, False]


@pytest.mark.parametrize(
    ("odd", "text"),
    [
        (member(3, expect="5"), "peer has a conflicting expect value"),
        (member(3, expect="", bootstrap="1"), "peer has bootstrap mode. Expect disabled"),
    ],
)
def test_a_conflict_stops_the_attempt(odd: Member, text: str) -> None:
    """agent P07"""
    found = world(member(1), member(2))
    found.feed(Started())
    (log,) = found.announce(MemberJoined(odd))
    assert isinstance(log, Log)
    assert log.message.startswith(text)
    assert asked(found.announce(MemberJoined(member(3))))


def test_who_expects_nothing_counts_as_a_server() -> None:
    found = world(member(1), member(2), member(3, expect=""))
    assert asked(found.feed(Started()))


def test_existing_peers_end_the_expecting() -> None:
    found = world(*three())
    ask = asked(found.feed(Started()))
    (log,) = found.feed(PeersReported(ask.number, {"s2.global": ("10.0.0.9:4647",)}))
    assert isinstance(log, Log)
    assert log.message.startswith("disabling bootstrap mode because existing Raft peers")
    assert not found.announce(MemberJoined(member(4)))
    assert not found.feed(all_empty(ask))


def test_a_log_that_is_not_empty_ends_the_expecting() -> None:
    for view in ({"raft": RaftStatus(last_log_index=3)}, {"peers": (peer(1),)}):
        found = world(*three(), **view)
        assert not found.feed(Started())
        assert found.node.bootstrapping.expect == 0
    found = world(member(1), member(2))
    found.feed(Started())
    found.view.raft = RaftStatus(last_log_index=1)
    assert not found.announce(MemberJoined(member(3)))
    assert found.node.bootstrapping.expect == 0


def test_a_log_that_came_while_asking_is_kept() -> None:
    found = world(*three())
    ask = asked(found.feed(Started()))
    found.view.peers = (peer(1),)
    assert not only(BootstrapRaft, found.feed(all_empty(ask)))


def silent(found: World, ask: AskPeers) -> list[DutyEffect]:
    answers = {server.name: None for server in ask.servers if server.name == "s3.global"}
    return found.feed(PeersReported(ask.number, answers | {"s1.global": (), "s2.global": ()}))


def test_a_server_that_does_not_answer_is_asked_six_times() -> None:
    found = world(member(1), member(2), member(3, Status.FAILED))
    ask = asked(found.feed(Started()))
    start, tries = found.now, 1
    while only(Log, effects := silent(found, ask))[0].level == "error":
        assert not found.announce(MemberJoined(member(2)))  # one attempt at a time
        (ask,) = only(AskPeers, found.pass_time(60.0)) or [ask]
        tries += 1
        found.now = found.timers.get(DutyTimer.ASK_AGAIN, found.now)
        if tries > 10:
            break
    assert tries == 6
    assert [server.name for server in ask.servers] == ["s3.global"]
    assert only(BootstrapRaft, effects)
    assert found.now > start


def test_the_pauses_double() -> None:
    found = world(*three())
    ask = asked(found.feed(Started()))
    pauses = []
    for _ in range(5):
        silent(found, ask)
        pauses.append(found.timers.pop(DutyTimer.ASK_AGAIN) - found.now)
        ask = asked(found.feed(TimerFired(DutyTimer.ASK_AGAIN)))
    assert pauses == [1, 2, 4, 8, 16]


def test_a_leader_expects_nobody() -> None:
    found = world(member(1), member(2))
    found.feed(Started(), LeadBegan())
    assert not only(AskPeers, found.announce(MemberJoined(member(3))))
    assert not found.feed(TimerFired(DutyTimer.ASK_AGAIN))


def test_other_regions_and_other_members_are_not_counted() -> None:
    found = world(member(1), member(2))
    assert not found.announce(MemberJoined(member(3, region="eu")))
    stranger = msgspec.structs.replace(member(4), tags={})
    assert not found.announce(MemberJoined(stranger))
