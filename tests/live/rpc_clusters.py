"""Agents of several regions in one loop, with and without TLS, and their logs."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import httpx
import msgspec

from swimnomad.live.agent import LiveAgent, open_agent
from swimnomad.live.log import AgentLog, Level, LogLine, text_form
from swimnomad.nomad.config import (
    AgentConfig,
    ClientConfig,
    GossipConfig,
    Ports,
    ServerConfig,
    TlsConfig,
)
from tests.live.live_support import fresh_host, until


class Logged:
    """An agent and the lines that it has logged."""

    def __init__(self, agent: LiveAgent, lines: list[LogLine]) -> None:
        self.agent = agent
        self.lines = lines

    def texts(self, module: str) -> list[str]:
        """Lines of one module, without their time."""
        return [
            text_form(line).split("] ", 1)[1].strip()
            for line in self.lines
            if line.module == module
        ]

    @property
    def rpc(self) -> str:
        """Where a server listens for RPC."""
        return str(self.agent.config.bind("rpc"))


def server_config(name: str, region: str = "global", **changes: object) -> AgentConfig:
    basis = AgentConfig(
        name=name,
        region=region,
        bind_addr=fresh_host(),
        ports=Ports(0, 0, 0),
        server=ServerConfig(enabled=True),
        gossip=GossipConfig(profile="local"),
    )
    return msgspec.structs.replace(basis, **changes)


def client_config(name: str, servers: Sequence[str], tls: TlsConfig | None = None) -> AgentConfig:
    return AgentConfig(
        name=name,
        bind_addr=fresh_host(),
        ports=Ports(0, 0, 0),
        client=ClientConfig(enabled=True, servers=tuple(servers)),
        tls=tls or TlsConfig(),
    )


@asynccontextmanager
async def logged_agent(config: AgentConfig, level: Level = Level.DEBUG) -> AsyncIterator[Logged]:
    lines: list[LogLine] = []
    async with open_agent(config, AgentLog(level, lines.append)) as agent:
        yield Logged(agent, lines)


@asynccontextmanager
async def pool_of(configs: Sequence[AgentConfig]) -> AsyncIterator[list[Logged]]:
    """Servers that have joined the first of them and know each other."""
    async with AsyncExitStack() as stack:
        agents: list[Logged] = []
        for config in configs:
            agents.append(await stack.enter_async_context(logged_agent(config)))
            if len(agents) > 1:
                first = agents[0].agent.endpoint
                assert first is not None
                report = await agents[-1].agent.facade.join([str(first.address)])
                assert not report.error
        for one in agents:
            await until(lambda one=one: known_servers(one) == len(configs))  # type: ignore[misc]
        yield agents


def known_servers(one: Logged) -> int:
    assert one.agent.core is not None
    return sum(len(some) for some in one.agent.core.servers.peers.values())


async def get(one: Logged, path: str, context: ssl.SSLContext | None = None) -> httpx.Response:
    """What the agent answers over HTTP; a held request takes five seconds."""
    verify: ssl.SSLContext | bool = context if context is not None else True
    async with httpx.AsyncClient(verify=verify, timeout=20.0) as client:
        return await client.get(one.agent.http_url + path)
