"""Clusters that begin converged, and nodes that sleep through empty ticks."""

from __future__ import annotations

import gc
import re
from pathlib import Path

import pytest

from swimnomad.errors import UsageError
from swimnomad.faults import Latency, LinkFault
from swimnomad.journal.writer import Journal
from swimnomad.nomad.core import NomadCore
from swimnomad.serf.events import Status
from swimnomad.serf.inputs import ForceLeave, Leave, SendUserEvent
from swimnomad.sim.cluster import SimCluster
from swimnomad.sim.converged import boot_converged, converge, swim_nodes
from swimnomad.sim.world import World
from swimnomad.swim.effects import Event
from swimnomad.swim.events import NodeSuspected
from tests.sim.sim_toys import Toy


def test_bare_gossip_nodes_know_each_other_and_stay_calm() -> None:
    world = World(1)
    told: list[Event] = []
    nodes = swim_nodes(world, 20, probe_timeout=0.3)
    world.observers.append(lambda _, __, event: told.append(event))
    assert {node.node_count for node in nodes} == {20}
    assert nodes[3].own.name == "node-4"
    world.run_for(60)
    assert {node.live_count for node in nodes} == {20}
    assert not any(isinstance(event, NodeSuspected) for event in told)


def test_a_cluster_of_servers_of_several_regions_knows_itself_and_its_servers() -> None:
    cluster = SimCluster(World(1))
    names = cluster.build_converged({"eu": 3, "us": 2}, "local")
    assert names == ["eu-1", "eu-2", "eu-3", "us-1", "us-2"]
    assert cluster.world.now == 0
    for name in names:
        members = cluster.members(name)
        assert len(members) == 5
        assert {member.status for member in members.values()} == {Status.ALIVE}
        core = cluster.core(name)
        assert isinstance(core, NomadCore)
        assert core.servers.regions == ["eu", "us"]
        assert {s.name for s in core.servers.local_peers.values()} == set(
            core.servers.peers[name[:2]]
        )


def test_a_converged_cluster_notices_what_happens_to_it() -> None:
    cluster = SimCluster(World(1))
    cluster.build_converged({"global": 8}, "local")
    cluster.kill("node-3")
    leave = cluster.command("node-5", Leave)
    cluster.world.run_for(30)
    assert cluster.outcome(leave) is not None
    for name in ("node-1", "node-8"):
        members = cluster.members(name)
        assert members["node-3.global"].status is Status.FAILED
        assert members["node-5.global"].status is Status.LEFT
        core = cluster.core(name)
        assert isinstance(core, NomadCore)
        assert len(core.servers.local_peers) == 6


def test_only_what_has_a_gossip_layer_can_converge() -> None:
    world = World(1)
    with pytest.raises(UsageError, match="a Toy has no gossip layer"):
        boot_converged(world, {"a": Toy()})
    with pytest.raises(UsageError, match="a NoneType has no gossip layer"):
        converge([world.add_host("b")])


def test_building_leaves_the_garbage_collector_as_it_was() -> None:
    gc.disable()
    try:
        swim_nodes(World(1), 2)
        assert not gc.isenabled()
    finally:
        gc.enable()
    swim_nodes(World(1), 2)
    assert gc.isenabled()


def eventful_life(rests: bool, path: Path) -> str:
    """The journal of a cluster with joins, faults, a pause, events and a leave; no empty ticks."""
    journal = Journal(3, path)
    world = World(3, journal, rests=rests)
    cluster = SimCluster(world)
    cluster.build({"global": 6}, "local")
    world.run_for(20)
    cluster.command("node-1", lambda operation: SendUserEvent(operation, "deploy", b"1"))
    world.run_for(10)
    cluster.host("node-2").pause()
    world.set_fault("node-4", "weather", LinkFault(loss=0.3))
    world.run_for(7.3)
    cluster.host("node-2").resume()
    world.run_for(10)
    world.heal()
    cluster.host("node-4").starve(Latency("uniform", 0.0, 0.3))
    cluster.host("node-6").set_clock_rate(1.25)
    world.run_for(10)
    cluster.host("node-4").feed()
    cluster.host("node-6").jump_clock(1.7)
    world.run_for(5)
    cluster.host("node-6").jump_clock(-0.7)
    cluster.kill("node-3")
    world.run_for(25)
    cluster.command("node-1", lambda op: ForceLeave(op, "node-3.global"))
    cluster.command("node-5", Leave)
    world.run_for(15)
    cluster.stop("node-5")
    cluster.restart("node-3", same_data=True, new_address=False, join=["node-1"])
    world.run_for(15)
    journal.close()
    ticks = re.compile(r'"type":"GossipTick"|"input":"LetTicksRest"')
    lines = path.read_text().splitlines(keepends=True)
    return "".join(line for line in lines if not ticks.search(line))


def test_sleeping_through_empty_ticks_changes_nothing_but_the_ticks(tmp_path: Path) -> None:
    """Times, draws and all bytes are the same, also where a fault makes ticks late."""
    resting = eventful_life(True, tmp_path / "resting")
    restless = eventful_life(False, tmp_path / "restless")
    assert resting.count("\n") > 5000
    assert resting == restless
    sizes = [(tmp_path / name).stat().st_size for name in ("resting", "restless")]
    assert sizes[0] < 0.8 * sizes[1]
