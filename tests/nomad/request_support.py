"""A region of servers whose Raft is a fake, and how requests fail there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec
import pytest

from swimnomad.errors import OperationError
from swimnomad.names import Address
from swimnomad.nomad.consensus import RaftStatus
from swimnomad.nomad.replicated import Replicated
from swimnomad.nomad.requests import Request
from swimnomad.nomad.state.store import StateStore
from tests.agent_world import AgentWorld, SimAgent
from tests.http.http_support import server
from tests.nomad.consensus_fakes import LoneRaft, WatchedState, replicated

ADDRESSES = tuple(Address(f"127.0.61.{number}", 4647) for number in (1, 2, 3))


@dataclass
class Region:
    """Servers s1 (which leads), s2, … with one state."""

    world: AgentWorld
    agents: list[SimAgent]
    rafts: list[LoneRaft]
    kept: list[Replicated]

    @property
    def state(self) -> StateStore:
        """The state of all."""
        return self.rafts[0].state

    @property
    def watch(self) -> WatchedState:
        """The leader's watch."""
        watch = self.kept[0].watch
        assert isinstance(watch, WatchedState)
        return watch

    async def ask(self, request: Request[Any], at: int = 1) -> Any:  # noqa: ANN401
        """Ask the n-th server."""
        return await self.agents[at - 1].agent.ask(request)

    async def refusal(self, request: Request[Any], at: int = 1) -> str:
        """The words with which the n-th server refuses."""
        with pytest.raises(OperationError) as caught:
            await self.ask(request, at)
        return str(caught.value)


async def region(count: int = 1, *, raft_protocol: int = 2, **fields: Any) -> Region:  # noqa: ANN401
    """So many servers that know each other; `fields` are those of `Replicated`."""

    world, state = AgentWorld(), StateStore()
    addresses = ADDRESSES[:count]
    agents, rafts, kept = [], [], []
    for number in range(1, count + 1):
        raft = LoneRaft.at(*addresses, state=state)
        if number > 1:
            raft.leads, raft.status = False, RaftStatus(last_contact=0.02, last_log_index=5)
        watch = WatchedState(state, world.world.run_for)
        each = replicated(raft, watch, **fields)
        config = server(number, expect=count)
        block = msgspec.structs.replace(config.server, raft_protocol=raft_protocol)
        agent = world.start(msgspec.structs.replace(config, server=block), None, each)
        watch.sleep = agent.services.sleep
        agents.append(agent)
        rafts.append(raft)
        kept.append(each)
    if count > 1:
        await world.join(*agents)
    else:
        world.world.run_for(0.1)
    return Region(world, agents, rafts, kept)
