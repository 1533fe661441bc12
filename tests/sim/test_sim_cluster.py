from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from swimnomad.errors import UsageError
from swimnomad.faults import Bandwidth, Burst, Latency, LinkFault
from swimnomad.journal.writer import Journal
from swimnomad.serf.events import MemberFailed, Status
from swimnomad.serf.inputs import ForceLeave, Join, Leave
from swimnomad.sim.cluster import NodeSpec, SimCluster, node_names
from swimnomad.sim.network import Link
from swimnomad.sim.world import World
from swimnomad.swim.effects import Event
from swimnomad.swim.events import JoinFinished, LeaveFinished


def cluster_of(size: int, seed: int = 1, journal: Journal | None = None) -> SimCluster:
    """A converged cluster of the profile `local`."""
    cluster = SimCluster(World(seed, journal))
    cluster.build({"global": size}, "local")
    assert cluster.world.run_while(lambda: not everybody_sees(cluster, size), until=30)
    return cluster


def everybody_sees(cluster: SimCluster, alive: int) -> bool:
    running = [name for name in cluster.specs if cluster.core(name)]
    return all(statuses(cluster, name).count(Status.ALIVE) == alive for name in running)


def statuses(cluster: SimCluster, name: str) -> list[Status]:
    return [member.status for member in cluster.members(name).values()]


def status_of(cluster: SimCluster, observer: str, name: str) -> Status | None:
    member = cluster.members(observer).get(cluster.specs[name].member_name)
    return member.status if member else None


def journal_hash(seed: int) -> str:
    journal = Journal(seed)
    cluster = cluster_of(4, seed, journal)
    world = cluster.world
    world.set_fault("node-2", "weather", LinkFault(loss=0.2, corrupt=0.05))
    world.set_link(
        "global",
        "node-3",
        Link(
            Latency("trace", values=(0.001, 0.02, 0.005), shuffled=True),
            burst=Burst(0.05, 0.3),
            bandwidth=Bandwidth(20_000.0),
            mtu=1200,
        ),
    )
    world.set_fault("node-1", "uplink", LinkFault(bandwidth=Bandwidth(9_000.0), shared=True))
    cluster.host("node-3").starve(Latency("lognormal", 0.05, 1.0))
    cluster.host("node-1").drift_clock(0.2, 0.5)
    world.run_for(10)
    cluster.host("node-3").pause()
    cluster.host("node-2").jump_clock(2.5)
    cluster.host("node-1").jump_clock(-1.0)
    cluster.kill("node-4")
    world.run_for(5)
    cluster.host("node-3").resume()
    cluster.host("node-3").feed()
    world.run_for(10)
    return journal.sha256()


def test_nodes_that_boot_from_nothing_join_into_one_pool() -> None:
    cluster = cluster_of(5)
    assert list(cluster.specs) == [f"node-{number}" for number in range(1, 6)]
    assert everybody_sees(cluster, 5)


def test_names_tell_the_region_where_there_are_several() -> None:
    assert node_names({"global": 2}) == {"node-1": "global", "node-2": "global"}
    assert node_names({"eu": 1, "us": 2}) == {"eu-1": "eu", "us-1": "us", "us-2": "us"}


def test_regions_are_one_pool() -> None:
    cluster = SimCluster(World(1))
    cluster.build({"eu": 2, "us": 2}, "local")
    assert cluster.world.run_while(lambda: not everybody_sees(cluster, 4), until=30)
    assert set(cluster.members("eu-1")) == {"eu-1.eu", "eu-2.eu", "us-1.us", "us-2.us"}


def test_a_killed_node_is_seen_as_failed_by_all_others() -> None:
    cluster = cluster_of(5)
    told: list[tuple[str, Event]] = []
    cluster.world.observers.append(lambda _, node, event: told.append((node, event)))
    cluster.kill("node-3")
    cluster.world.run_for(20)
    failed = [(node, event.member.name) for node, event in told if isinstance(event, MemberFailed)]
    assert sorted(failed) == [
        (f"node-{number}", "node-3.global") for number in range(1, 6) if number != 3
    ]


def test_a_restarted_node_with_its_data_finds_the_others_by_itself() -> None:
    cluster = cluster_of(4)
    cluster.kill("node-4")
    cluster.world.run_for(20)
    cluster.restart("node-4", same_data=True, new_address=False, join=())
    assert cluster.world.run_while(lambda: not everybody_sees(cluster, 4), cluster.world.now + 30)


def test_a_restarted_node_without_data_or_join_stays_alone() -> None:
    cluster = cluster_of(3)
    for other in ("node-1", "node-2", "node-3"):
        cluster.kill(other)
    cluster.restart("node-3", same_data=False, new_address=False, join=())
    cluster.restart("node-2", same_data=False, new_address=True, join=())
    cluster.world.run_for(60)
    assert statuses(cluster, "node-3") == statuses(cluster, "node-2") == [Status.ALIVE]


def test_a_node_restarted_at_a_new_address_is_refused_while_its_name_is_failed() -> None:
    """As memberlist does with a dead-node reclaim time of 0, which Serf and Nomad run."""
    cluster = cluster_of(4)
    before = cluster.host("node-4").address
    cluster.kill("node-4")
    cluster.world.run_for(20)
    cluster.restart("node-4", same_data=False, new_address=True, join=["node-1"])
    assert cluster.host("node-4").address != before
    cluster.world.run_for(20)
    assert status_of(cluster, "node-4", "node-1") is Status.ALIVE
    assert status_of(cluster, "node-1", "node-4") is Status.FAILED


def test_a_node_that_left_may_come_back_at_a_new_address() -> None:
    cluster = cluster_of(4)
    world = cluster.world
    leave = cluster.command("node-4", Leave)
    assert world.run_while(lambda: cluster.outcome(leave) is None, world.now + 30)
    cluster.stop("node-4")
    cluster.restart("node-4", same_data=False, new_address=True, join=["node-1"])
    assert world.run_while(lambda: not everybody_sees(cluster, 4), world.now + 20)


def test_a_node_keeps_trying_to_join_until_somebody_answers() -> None:
    cluster = cluster_of(1)
    cluster.kill("node-1")
    cluster.start(NodeSpec("late", profile="local"), join=["node-1"])
    cluster.world.run_for(5)
    assert statuses(cluster, "late") == [Status.ALIVE]
    cluster.restart("node-1", same_data=False, new_address=False, join=())
    assert cluster.world.run_while(lambda: not everybody_sees(cluster, 2), cluster.world.now + 10)


def test_commands_report_their_outcome_by_operation() -> None:
    cluster = cluster_of(3)
    world = cluster.world
    targets = cluster.join_targets(["node-2"])
    join = cluster.command("node-1", lambda operation: Join(operation, targets))
    leave = cluster.command("node-3", Leave)
    assert cluster.outcome(join) is None
    assert world.run_while(lambda: cluster.outcome(leave) is None, world.now + 30)
    done = cluster.outcome(join)
    assert isinstance(done, JoinFinished)
    assert done.joined == 1
    assert isinstance(cluster.outcome(leave), LeaveFinished)
    cluster.stop("node-3")
    assert status_of(cluster, "node-1", "node-3") is Status.LEFT
    assert cluster.members("node-3") == {}


def test_force_leave_turns_a_failed_node_into_a_left_one_everywhere() -> None:
    cluster = cluster_of(4)
    cluster.kill("node-4")
    cluster.world.run_for(20)
    cluster.command("node-1", lambda operation: ForceLeave(operation, "node-4.global"))
    cluster.world.run_for(10)
    assert status_of(cluster, "node-1", "node-4") is Status.LEFT
    assert status_of(cluster, "node-3", "node-4") is Status.LEFT


def test_an_unknown_node_is_refused() -> None:
    with pytest.raises(UsageError, match="no node 'node-9'"):
        cluster_of(1).host("node-9")


def test_real_cores_write_the_same_journal_in_another_process_with_another_hash_seed() -> None:
    program = "import test_sim_cluster; print(test_sim_cluster.journal_hash(11))"
    path = str(Path(__file__).parent)
    environment = {**os.environ, "PYTHONHASHSEED": "77", "PYTHONPATH": path}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=True
    )
    assert done.stdout.strip() == journal_hash(11)
    assert journal_hash(12) != journal_hash(11)
