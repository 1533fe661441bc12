"""A pool of gossip nodes in a simulated world that all know each other from the beginning."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Any

from reproduce.stalling import Stalling
from swimnomad.serf.config import SerfConfig
from swimnomad.serf.events import MemberFailed
from swimnomad.serf.node import SerfNode
from swimnomad.sim.converged import boot_converged
from swimnomad.sim.network import Link
from swimnomad.sim.world import World
from swimnomad.swim.config import SwimConfig, profile_settings
from swimnomad.swim.core import Core
from swimnomad.swim.effects import Effect, Event, SetTimer
from swimnomad.swim.events import NodeLeft
from swimnomad.swim.inputs import Timer
from swimnomad.swim.node import SwimNode
from swimnomad.swim.timers import GossipTick, ProbeTick

Settings = Mapping[str, object]

BARE: Settings = {
    "gossip_nodes": 0,
    "push_pull_interval": 0.0,
    "stream_pings": False,
    "lha_probe": False,
    "lha_probe_timeout": False,
    "lha_suspicion": False,
    "buddy": False,
    # Nobody is ever declared dead: the trials of one world must not disturb each other.
    "suspicion_min_fixed": 1e6,
}
"""The failure detector of the first SWIM analysis alone: no gossip, no suspicion that ends."""


def settings_of(profile: str, **changes: object) -> dict[str, object]:
    """The fields of a profile with changes.

    Datagrams are sent plain unless `compression` is given: it saves bytes, costs most of the time
    of a simulation, and no quantity here but bytes depends on it.
    """
    return {**profile_settings(profile), "compression": False, **changes}


class Pool:
    """Nodes `n0` … in one world, each with every other in its table; nothing is left to gossip.

    Args:
        size: How many.
        settings: Fields of `SwimConfig`, the same for all.
        seed: Of the world.
        link: What every way is like; None for the world's own quiet local network.
        in_step: Whether probe and gossip rounds of all nodes begin at the same moments.
        reading: Nodes take `Stall` and `GoOn`, and so long to read what waited; None: they do not.
        with_serf: Whether each runs Serf on top of the gossip layer.
    """

    def __init__(
        self,
        size: int,
        settings: Settings,
        seed: str,
        *,
        link: Link | None = None,
        in_step: bool = False,
        reading: float | None = None,
        with_serf: bool = False,
    ) -> None:
        self.world = World(seed)
        if link is not None:
            self.world.network.default_link = link
        self.names = [f"n{number}" for number in range(size)]
        self.nodes: dict[str, SwimNode] = {}
        self.rng = random.Random(f"{seed}/reproduce")
        """For what the experiment itself draws: victims and moments."""
        cores: dict[str, Core] = {}
        for name in self.names:
            fields: Any = {**settings, "name": name}
            config = SwimConfig(**fields)
            rng = self.world.rng_for(name)
            core: Core
            if with_serf:
                core = serf = SerfNode(SerfConfig(swim=config), rng)
                self.nodes[name] = serf.swim
            else:
                core = self.nodes[name] = SwimNode(config, rng)
            if in_step:
                core = InStep(core, self.nodes[name], config)
            if reading is not None:
                core = Stalling(core, self.nodes[name], reading)
            cores[name] = core
        boot_converged(self.world, cores)

    def watch(self, kind: type[Event], tell: Callable[[float, str, Any], object]) -> None:
        """Call `tell(time, node, event)` for every event of a kind."""

        def observe(now: float, node: str, event: Event) -> None:
            if isinstance(event, kind):
                tell(now, node, event)

        self.world.observers.append(observe)

    def watch_failures(self, tell: Callable[[float, str, str], None]) -> None:
        """Call `tell(time, who says so, about whom)` whenever a node reports another as failed."""

        def observe(now: float, node: str, event: Event) -> None:
            if isinstance(event, NodeLeft):
                if not event.on_purpose:
                    tell(now, node, event.name)
            elif isinstance(event, MemberFailed):
                tell(now, node, event.member.name)

        self.world.observers.append(observe)

    def total(self, counter: str) -> int:
        """Sum of one of the nodes' counters."""
        return sum(node.counters.get(counter, 0) for node in self.nodes.values())

    def kill(self, name: str) -> None:
        """End a node's process at once."""
        self.world.hosts[name].kill()
        del self.nodes[name]


class InStep:
    """A core whose probe and gossip rounds begin at whole multiples of their intervals.

    The papers reckon in rounds that all nodes begin together; memberlist gives each its own phase.
    A driver may deliver a timer late, so this needs nothing of the core.
    """

    def __init__(self, core: Core, swim: SwimNode, config: SwimConfig) -> None:
        self._core = core
        self.swim = swim
        self._intervals: dict[Timer, float] = {
            ProbeTick(): config.probe_interval,
            GossipTick(): config.gossip_interval,
        }

    def handle(self, incoming: Any, now: float) -> list[Effect]:  # noqa: ANN401 - as `Core`
        """Pass on; ticks asked for are put off to the next common round."""
        return [self._align(effect) for effect in self._core.handle(incoming, now)]

    def _align(self, effect: Effect) -> Effect:
        if isinstance(effect, SetTimer) and effect.timer in self._intervals:
            return SetTimer(effect.timer, self._next_round(effect.timer, effect.at))
        return effect

    def _next_round(self, timer: Timer, at: float) -> float:
        interval = self._intervals[timer]
        # A hair of tolerance: 0.6 / 0.2 is a little more than 3.
        return -(-(at - 1e-9) // interval) * interval
