"""The life of a server as two others saw it in real Nomad, lived again by ours."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec

from swimnomad.nomad.config import GossipConfig
from swimnomad.serf.inputs import Leave
from tests.agent_world import AgentWorld
from tests.http.http_support import Served, serve, server

VECTORS = Path(__file__).parent.parent / "vectors" / "nomad-transitions.json"

DETECTION = (20.0, 65.0)
"""Seconds after which servers with Nomad's timings declare a killed one failed; recorded: 44."""


def recorded_changes(run: dict[str, Any], watcher: str) -> list[str]:
    """What one server showed of s3, change by change."""
    return [seen["members"]["s3.global"] for seen in run["seen"] if seen["by"] == watcher]


class Watch:
    """Looks at s3 through s1 and s2 twice a second of virtual time, as the recording did."""

    def __init__(self, world: AgentWorld, watchers: dict[str, Served]) -> None:
        self.changes: dict[str, list[str]] = {name: [] for name in watchers}
        self.times: dict[str, float] = {}
        self._world, self._watchers = world, watchers

    async def until(self, time: float) -> None:
        while self._world.world.now < time:
            for name, one in self._watchers.items():
                status = (await one.statuses())["s3.global"]
                if self.changes[name][-1:] != [status]:
                    self.changes[name].append(status)
                    self.times[status] = self._world.world.now
            self._world.world.run_for(0.5)


async def test_kill_force_leave_return_and_leave_look_as_recorded() -> None:
    """agent C08, agent C09, agent G03, agent G06, agent G11, agent P21"""
    (run,) = json.loads(VECTORS.read_text())["runs"]
    configs = [
        msgspec.structs.replace(server(number), gossip=GossipConfig()) for number in (1, 2, 3)
    ]
    world = AgentWorld("transitions")
    agents = await world.cluster(*configs)
    first, second = serve(agents[0]), serve(agents[1])
    third = agents[2]
    watch = Watch(world, {"s1": first, "s2": second})
    start = world.world.now
    at = {step["what"]: start + step["t"] for step in run["steps"]}

    await watch.until(at["force-leave of a live member s3"])
    await first.put("/v1/agent/force-leave?node=s3.global")
    await watch.until(at["SIGKILL s3"])
    world.kill(third)
    await watch.until(at["force-leave s3"])
    failed_after = watch.times["failed"] - at["SIGKILL s3"]
    assert DETECTION[0] < failed_after < DETECTION[1]
    await first.put("/v1/agent/force-leave?node=s3.global")
    await watch.until(at["force-leave again (already left)"])
    await first.put("/v1/agent/force-leave?node=s3.global")
    third = world.start(configs[2])
    assert (await third.agent.join(["127.0.61.1"])).joined == 1
    await watch.until(at["SIGTERM s3 (leave_on_terminate = true)"])
    assert third.services.host is not None
    third.services.host.give(Leave(1))
    await watch.until(at["done"])

    for watcher, changes in watch.changes.items():
        assert changes == recorded_changes(run, watcher)
