"""Clusters that begin converged: everybody knows everybody, and nothing is left to tell.

Building a large cluster by joins costs far more than most questions asked of it. Here each node
boots and is told the roster (`Converge`) at the same moment; names, addresses, metadata and the
records of the layers above are shared by all, what a node may change is its own.
"""

from __future__ import annotations

import gc
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from swimnomad.sim.cores import gossip_node
from swimnomad.sim.host import Host
from swimnomad.sim.world import World
from swimnomad.swim.config import SwimConfig, profile_settings
from swimnomad.swim.core import Core
from swimnomad.swim.inputs import Converge, KnownNode, Roster
from swimnomad.swim.node import SwimNode


def roster_of(hosts: Iterable[Host]) -> Roster:
    """Everybody on these hosts, as each one's gossip layer describes itself.

    Raises:
        UsageError: If one of them does not run, or runs a core without a gossip layer.
    """
    nodes: list[KnownNode] = []
    for host in hosts:
        own = gossip_node(host.core).own
        nodes.append(KnownNode(own.name, own.ip, own.port, own.meta, own.versions, own.incarnation))
    return Roster(tuple(nodes))


def converge(hosts: Iterable[Host]) -> None:
    """Make everybody know everybody, on hosts that were booted this very moment."""
    hosts = list(hosts)
    with _uncollected():
        known = Converge(roster_of(hosts))
        for host in hosts:
            host.give(known)


def boot_converged(world: World, cores: Mapping[str, Core]) -> None:
    """Add a host for each core, by name, boot it, and make everybody know everybody."""
    hosts = []
    for name, core in cores.items():
        host = world.add_host(name)
        host.boot(core)
        hosts.append(host)
    converge(hosts)


def swim_nodes(world: World, size: int, profile: str = "lan", **settings: object) -> list[SwimNode]:
    """`size` bare gossip nodes `node-1` … on a world, booted and converged.

    Args:
        world: Where they run.
        size: How many.
        profile: Name of a profile.
        settings: Fields of `SwimConfig` that differ from it.
    """
    fields: dict[str, Any] = {**profile_settings(profile), **settings}
    nodes = {
        name: SwimNode(SwimConfig(name=name, **fields), world.rng_for(name))
        for name in (f"node-{number}" for number in range(1, size + 1))
    }
    boot_converged(world, nodes)
    return list(nodes.values())


@contextmanager
def _uncollected() -> Iterator[None]:
    """Millions of objects are made and none is garbage: looking for it would double the time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
