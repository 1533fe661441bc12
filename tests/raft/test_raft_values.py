"""Settings, servers, the log in memory, and the driver's mistakes."""

from __future__ import annotations

import random
from typing import Any

import pytest

from swimnomad.errors import UsageError
from swimnomad.raft.config import RaftConfig, timings
from swimnomad.raft.inputs import Shutdown, Start, TimerFired
from swimnomad.raft.log import MemoryLog
from swimnomad.raft.node import RaftNode
from swimnomad.raft.servers import Configuration, Server, Suffrage, problem_of
from swimnomad.raft.stats import State
from swimnomad.raft.timers import Timer
from tests.raft.raft_support import Rig, entry, leading, servers


def test_timings_are_nomads_times_the_multiplier() -> None:
    settings: dict[str, Any] = timings(5)
    config = RaftConfig(id="a", address="a", **settings)
    assert config.heartbeat_timeout == 5.0
    assert config.leader_lease == 2.5
    assert config.commit_interval == 0.25
    config.validate()
    quick: dict[str, Any] = timings(0.2)
    RaftConfig(id="a", address="a", **quick).validate()
    for wrong in (0, -1, 11, float("nan")):
        with pytest.raises(UsageError, match="raft multiplier"):
            timings(wrong)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("id", ""),
        ("address", "x" * 600),
        ("heartbeat_timeout", 0.0),
        ("election_timeout", -1.0),
        ("leader_lease", 2.0),
        ("append_entries_max", 0),
        ("snapshot_threshold", 0),
        ("trailing_entries", -1),
        ("commit_interval", float("nan")),
    ],
)
def test_wrong_settings_are_named(field: str, value: Any) -> None:  # noqa: ANN401
    settings: dict[str, Any] = {"id": "a", "address": "a", field: value}
    with pytest.raises(UsageError, match=field):
        RaftConfig(**settings).validate()


def test_configurations_show_as_nomad_shows_them() -> None:
    assert str(servers("")) == "[]"
    known = Configuration((Server("n1", "10.0.0.1:4647"), Server("b", "b", Suffrage.NONVOTER)))
    assert str(known) == (
        "[{Suffrage:Voter ID:n1 Address:10.0.0.1:4647} {Suffrage:Nonvoter ID:b Address:b}]"
    )


def test_quorums() -> None:
    assert [servers("abcde"[:size]).quorum for size in range(1, 6)] == [1, 2, 2, 3, 3]
    assert servers("ab", "c").quorum == 2
    assert not servers("ab", "c").is_voter("c")
    assert not servers("ab").is_voter("x")


@pytest.mark.parametrize(
    ("configuration", "problem"),
    [
        (servers("abc"), None),
        (servers("", "a"), "need at least one voter"),
        (Configuration((Server("a", "x"), Server("a", "y"))), "share one id"),
        (Configuration((Server("a", "x"), Server("b", "x"))), "share one address"),
        (Configuration((Server("", "x"),)), "of 0 characters"),
        (servers("abcdef"), "6 servers"),
    ],
)
def test_impossible_configurations(configuration: Configuration, problem: str | None) -> None:
    found = problem_of(configuration, servers_max=5)
    assert found is None if problem is None else problem in str(found)


def test_a_log_in_memory_goes_on_behind_what_was_compacted() -> None:
    log = MemoryLog([entry(1, 1), entry(2, 1), entry(3, 2)])
    log.compact(2)
    log.compact(1)
    assert (log.first_index, log.last_index, log.term_at(2)) == (3, 3, None)
    log.compact(9)
    assert (log.first_index, log.last_index) == (10, 9)
    log.append([entry(10, 3)])
    log.truncate(4)
    assert (log.first_index, log.last_index) == (10, 9)


def test_the_driver_is_told_of_its_mistakes() -> None:
    node = RaftNode(RaftConfig(id="a", address="a"), random.Random(1))
    with pytest.raises(UsageError, match="not started"):
        node.handle(Shutdown(), 0.0)
    node.handle(Start(), 0.0)
    with pytest.raises(UsageError, match="starts once"):
        node.handle(Start(), 0.0)
    with pytest.raises(UsageError, match="no timer"):
        node.handle(TimerFired(Timer()), 0.0)


def test_a_node_shows_itself() -> None:
    rig = Rig()
    stats = rig.node.stats(rig.now)
    assert stats.last_contact is None
    assert stats.num_peers == 2
    assert not stats.is_configuration_committed
    rig = leading()
    stats = rig.node.stats(rig.now)
    assert stats.state is State.LEADER
    assert (stats.term, stats.leader) == (2, "a")
    assert (stats.commit_index, stats.applied_index) == (2, 2)
    assert stats.is_configuration_committed
    assert rig.node.config.id == "a"
    assert rig.node.voted_for == "a"
