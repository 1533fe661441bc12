"""The known ways to go wrong that chance does not find soon: played out, right and broken."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from swimnomad.raft.inputs import TimerFired
from swimnomad.raft.node import RaftNode
from swimnomad.raft.stats import State
from swimnomad.raft.timers import ElectionTimeout
from tests.raft import raft_sabotage as sabotage
from tests.raft.raft_invariants import Broken
from tests.raft.raft_world import Host, RaftWorld

Break = Callable[[RaftNode], None]


def only(world: RaftWorld, *hosts: Host) -> None:
    """Nobody but these reach each other."""
    names = [host.address for host in hosts]
    pairs = ((a, b) for a in world.hosts for b in world.hosts if a != b)
    world.blocked = {(a, b) for a, b in pairs if not (a in names and b in names)}


def core(host: Host) -> RaftNode:
    assert host.node is not None
    return host.node


def stand(world: RaftWorld, host: Host, until: State = State.LEADER) -> None:
    """Have `host` elected at once: nobody hears a leader, and its patience is over."""
    for _ in range(5):
        for other in world.hosts.values():
            if other.node is not None and not other.is_leader:
                other.node._context.leader = None
        elections = core(host)._elections
        elections._patience = 0.0
        host.feed(TimerFired(ElectionTimeout()))
        end = world.now + 0.02
        while core(host).state is not until and world.now < end:
            world.step()
        if core(host).state is until:
            return
    raise AssertionError("it is not elected")


def overwrite_a_counted_entry(broken: Break | None) -> None:
    """The Raft paper's figure 8: an entry of an old term on a majority, and then replaced."""
    world = RaftWorld(8, sabotage=broken, append_entries_max=1)
    world.build(5)
    s1, s2, s3, s4, s5 = world.hosts.values()
    stand(world, s1)
    world.run(0.2)
    base, first_term = core(s1).log.last_index, core(s1).term
    # (a) s1 gets an entry to s2 only.
    only(world, s1, s2)
    world.propose(s1)
    world.run_until(lambda: core(s2).log.last_index > base, 0.2)
    # (b) s5 leads by the votes of s3 and s4, and keeps its first entry to itself.
    s1.crash()
    only(world, s3, s4, s5)
    stand(world, s5, State.CANDIDATE)
    world.blocked |= {(s5.address, other) for other in world.hosts}
    world.run_until(lambda: s5.is_leader, 0.2)
    assert core(s5).log.last_index == base + 1
    # (c) s1 leads again and brings its old entry to a majority, but nothing newer.
    s5.crash()
    s1.start()
    only(world, s1, s2, s3)
    stand(world, s1)
    world.run_until(lambda: core(s3).log.last_index > base, 0.2)
    assert core(s3).log.term_at(base + 1) == first_term
    world.blocked.add((s1.address, s3.address))
    world.run(0.05)
    # (d) s5 leads and replaces it.
    s1.crash()
    s5.start()
    only(world, s3, s4, s5)
    stand(world, s5)
    world.run(0.3)
    assert core(s3).log.term_at(base + 1) != first_term


def test_copies_of_an_old_term_are_not_counted() -> None:
    overwrite_a_counted_entry(None)
    with pytest.raises(Broken, match=r"state machine safety|leader completeness"):
        overwrite_a_counted_entry(sabotage.commits_old_terms_by_counting)


def read_from_a_deposed_leader(broken: Break | None) -> None:
    """Leadership goes over within the lease of a leader who does not hear of it."""
    world = RaftWorld(2, sabotage=broken)
    world.build(3)
    s1, s2, s3 = world.hosts.values()
    stand(world, s1)
    world.run(0.2)
    world.transfer(s1, s2.address)
    world.blocked.add((s2.address, s1.address))
    world.run_until(lambda: core(s2).state is State.CANDIDATE, 0.2)
    only(world, s2, s3)
    world.run_until(lambda: s2.is_leader, 0.2)
    written = world.propose(s2)
    world.run_until(lambda: written in world.outcomes, 0.1)
    assert s1.is_leader
    world.read(s1)
    world.run(2.0)


def test_a_read_is_confirmed_by_a_quorum() -> None:
    read_from_a_deposed_leader(None)
    with pytest.raises(Broken, match="reads are fresh"):
        read_from_a_deposed_leader(sabotage.reads_without_asking)


def change_two_servers_at_once(broken: Break | None) -> None:
    """Two leaders each change the set by one, with disjoint majorities (Ongaro 2015)."""
    world = RaftWorld(5, sabotage=broken)
    world.build(4, spare=1)
    s1, s2, s3, s4, s5 = world.hosts.values()
    stand(world, s1)
    world.run(0.2)
    # s1 adds s5: two of five have that.
    only(world, s1, s5)
    world.add_server(s1, s5.address, patience=30.0)
    world.run_until(lambda: core(s5).log.last_index == core(s1).log.last_index, 0.2)
    # s2 leads by the votes of s3 and s4, and removes s1: two of three have that.
    only(world, s2, s3, s4)
    stand(world, s2, State.CANDIDATE)
    world.blocked.add((s2.address, s4.address))
    world.run_until(lambda: s2.is_leader, 0.2)
    removal = world.remove_server(s2, s1.address)
    world.run(0.1)
    assert (removal in world.outcomes) == (broken is None or core(s2).commit_index > 2)
    # s1 leads by the votes of s4 and s5: three of five.
    only(world, s1, s4, s5)
    world.run(0.6)
    assert not s1.is_leader
    stand(world, s1)
    world.run(0.2)


def test_membership_changes_one_at_a_time() -> None:
    change_two_servers_at_once(None)
    with pytest.raises(Broken, match="leader completeness"):
        change_two_servers_at_once(sabotage.changes_two_servers_at_once)
