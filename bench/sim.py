"""The simulator's speed: member-seconds (members times seconds of virtual time) a CPU second.

    python -m bench sim          all in less than a minute
    python -m bench sim --full   longer runs, and a cluster of 5,000

Clusters begin converged and send real encoded bytes. CPU time of one core is counted, building
apart. Memory is what this process holds after building, so each cluster gets a process of its own.
"""

from __future__ import annotations

import argparse
import gc
import math
import multiprocessing
import random
import time
from collections.abc import Callable
from typing import NamedTuple

import psutil
from rich.console import Console
from rich.table import Table

from swimnomad.faults import Latency
from swimnomad.serf.config import SerfConfig
from swimnomad.serf.node import SerfNode
from swimnomad.sim.cluster import SimCluster
from swimnomad.sim.converged import boot_converged, swim_nodes
from swimnomad.sim.world import World
from swimnomad.swim.config import SwimConfig, profile_settings
from swimnomad.wire.tags import encode_tags

META = encode_tags({"role": "nomad", "region": "global", "dc": "dc1", "build": "1.0.4"})
STARVED_SHARE = 0.1
ANOMALY_MEMBERS = 128
ANOMALY_SECONDS = 300.0
MEMORY_LIMIT_BYTES = 20e9


class Run(NamedTuple):
    """What one run took: CPU seconds to build and to run, bytes of memory after building."""

    build: float
    run: float
    memory_bytes: float


def serf_nodes(world: World, size: int) -> None:
    """Serf nodes without tags, LAN profile."""
    cores = {}
    for name in (f"node-{number}" for number in range(1, size + 1)):
        swim = SwimConfig(name=name, **profile_settings("lan"))  # type: ignore[arg-type]  # by name
        cores[name] = SerfNode(SerfConfig(swim), world.rng_for(name))
    boot_converged(world, cores)


def nomad_servers(world: World, size: int) -> None:
    """The stack of Nomad servers, LAN profile."""
    SimCluster(world).build_converged({"global": size}, "lan")


def gossip_nodes(world: World, size: int) -> None:
    """Bare gossip nodes with the metadata of a small server."""
    swim_nodes(world, size, meta=META)


def plain_nodes(world: World, size: int) -> None:
    """Bare gossip nodes without metadata: each writes its own record in a form of its own."""
    swim_nodes(world, size)


Build = Callable[[World, int], None]
Scene = Callable[[World, float], None]


def quiet(world: World, seconds: float) -> None:
    """Nothing happens."""
    world.run_for(seconds)


def measure(build: Build, size: int, scene: Scene, seconds: float) -> Run:
    """Build a cluster in a process of its own and let time pass."""
    context = multiprocessing.get_context("fork")
    inner, outer = context.Pipe(duplex=False)
    worker = context.Process(
        target=lambda: outer.send(tuple(_measure_here(build, size, scene, seconds))), daemon=True
    )
    worker.start()
    outer.close()
    try:
        run = Run(*inner.recv())
    finally:
        worker.join()
    return run


def _measure_here(build: Build, size: int, scene: Scene, seconds: float) -> Run:
    process = psutil.Process()
    held = process.memory_info().rss
    start = time.process_time()
    world = World(1)
    build(world, size)
    # What stands now stands to the end: the collector need not walk through it again and again.
    gc.collect()
    gc.freeze()
    built = time.process_time()
    memory = process.memory_info().rss - held
    scene(world, seconds)
    return Run(built - start, time.process_time() - built, memory)


def starved(world: World, seconds: float) -> None:
    """A tenth of the members reads up to a second late."""
    hosts = list(world.hosts.values())
    for host in hosts[:: round(1 / STARVED_SHARE)]:
        host.starve(Latency("uniform", 0.0, 1.0))
    world.run_for(seconds)


def anomalies(world: World, seconds: float) -> None:
    """Every ten seconds four members stop for six, and four others read late."""
    rng = random.Random(1)
    hosts = list(world.hosts.values())
    for _ in range(round(seconds / 10)):
        chosen = rng.sample(hosts, 8)
        for host in chosen[:4]:
            host.pause()
        for host in chosen[4:]:
            host.starve(Latency("uniform", 0.0, 2.0))
        world.run_for(6.0)
        for host in chosen[:4]:
            host.resume()
        for host in chosen[4:]:
            host.feed()
        world.run_for(4.0)


def speed_row(
    table: Table,
    label: str,
    build: Build,
    size: int,
    scene: Scene,
    seconds: float,
    wanted: float | None,
) -> Run:
    """Measure one line of the table of speeds."""
    run = measure(build, size, scene, seconds)
    rate = size * seconds / run.run
    cells = (f"{wanted:,.0f}", f"{rate / wanted:.2f}") if wanted else ("", "")
    table.add_row(label, f"{run.run:.1f}", f"{rate:,.0f}", *cells)
    return run


def memory_rows(table: Table, label: str, run: Run, size: int) -> None:
    """What a cluster takes, and the largest that would fit, by bytes a table entry."""
    entry_bytes = run.memory_bytes / size**2
    largest = math.isqrt(int(MEMORY_LIMIT_BYTES / entry_bytes))
    table.add_row(
        label,
        f"{run.build:.1f}",
        f"{run.memory_bytes / 1e9:.2f}",
        f"{entry_bytes:.0f}",
        f"{largest:,}",
    )


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(prog="python -m bench sim")
    parser.add_argument("--full", action="store_true", help="longer runs, and 5,000 members")
    full = parser.parse_args().full
    seconds = 120.0 if full else 20.0
    speed = Table(title="speed of the simulator, LAN profile", title_justify="left")
    for column in ("", "CPU s", "member-s a CPU s", "wanted", "ratio"):
        speed.add_column(column, justify="right" if column else "left")
    rows: tuple[tuple[str, Build, int, Scene, float, float | None], ...] = (
        ("1,000 gossip nodes, quiet", gossip_nodes, 1000, quiet, seconds, 6700.0),
        ("1,000 gossip nodes without metadata, quiet", plain_nodes, 1000, quiet, seconds, 6700.0),
        ("1,000 Serf nodes, quiet", serf_nodes, 1000, quiet, seconds, None),
        ("300 Nomad servers, quiet", nomad_servers, 300, quiet, seconds, None),
        ("1,000 gossip nodes, a tenth starved", gossip_nodes, 1000, starved, seconds / 4, 1500.0),
    )
    runs = {row[0]: speed_row(speed, *row) for row in rows}
    label = f"{ANOMALY_MEMBERS} gossip nodes, {ANOMALY_SECONDS:.0f} s with anomalies (15 s wanted)"
    wanted = ANOMALY_MEMBERS * ANOMALY_SECONDS / 15.0
    speed_row(speed, label, gossip_nodes, ANOMALY_MEMBERS, anomalies, ANOMALY_SECONDS, wanted)
    memory = Table(title="memory of converged clusters", title_justify="left")
    for column in ("", "build CPU s", "GB", "bytes a known member", "largest in 20 GB"):
        memory.add_column(column, justify="right" if column else "left")
    memory_rows(memory, "1,000 gossip nodes", runs[rows[0][0]], 1000)
    memory_rows(memory, "1,000 Serf nodes", runs[rows[2][0]], 1000)
    if full:
        for build, name in ((gossip_nodes, "gossip nodes"), (serf_nodes, "Serf nodes")):
            memory_rows(
                memory, f"5,000 {name}, 8 GB wanted", measure(build, 5000, quiet, 1.0), 5000
            )
    Console().print(speed)
    Console().print(memory)
    Console().print(
        "The largest cluster is extrapolated: its memory taken as bytes a known member, times "
        "members squared."
    )


if __name__ == "__main__":
    main()
