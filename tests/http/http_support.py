"""Agents with their HTTP application, in the usual set-ups."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
from starlette.applications import Starlette

from swimnomad.http.app import create_app
from swimnomad.nomad.config import AgentConfig, ClientConfig, GossipConfig, ServerConfig, dev_config
from tests.agent_world import AgentWorld, SimAgent
from tests.http.asgi_client import Response, call

QUICK = GossipConfig(profile="local", allow_faults=True)
"""Timings with which a test sees a failure after a few virtual seconds."""


def server(number: int, region: str = "global", *, expect: int = 3) -> AgentConfig:
    """A server named s<number> at 127.0.61.<number>, one of three."""
    return AgentConfig(
        name=f"s{number}",
        region=region,
        bind_addr=f"127.0.61.{number}",
        server=ServerConfig(enabled=True, bootstrap_expect=expect),
        gossip=QUICK,
    )


def client(*servers: str) -> AgentConfig:
    """An agent that is a client only."""
    return AgentConfig(
        name="c1", bind_addr="127.0.61.11", client=ClientConfig(enabled=True, servers=servers)
    )


def dev() -> AgentConfig:
    """A dev agent."""
    return msgspec.structs.replace(dev_config(), name="dev1", gossip=QUICK)


@dataclass
class Served:
    """An agent and the application that serves it."""

    agent: SimAgent
    app: Starlette

    async def get(self, target: str, **headers: str) -> Response:
        """GET; header names with underscores for dashes."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await call(self.app, "GET", target, headers=named)

    async def put(self, target: str, body: bytes = b"") -> Response:
        """PUT."""
        return await call(self.app, "PUT", target, body=body)

    async def send(self, method: str, target: str) -> Response:
        """Any other method."""
        return await call(self.app, method, target)

    async def statuses(self) -> dict[str, str]:
        """Member name to status, as this agent shows them."""
        members = (await self.get("/v1/agent/members")).json["Members"]
        return {member["Name"]: member["Status"] for member in members}


def serve(agent: SimAgent) -> Served:
    """The application of an agent."""
    return Served(agent, create_app(agent.agent))


def alone(config: AgentConfig) -> Served:
    """One agent in a world of its own."""
    world = AgentWorld()
    agent = world.start(config)
    world.world.run_for(0.1)
    return serve(agent)


async def several(*configs: AgentConfig) -> tuple[AgentWorld, list[Served]]:
    """Agents of one pool."""
    world = AgentWorld()
    return world, [serve(agent) for agent in await world.cluster(*configs)]
