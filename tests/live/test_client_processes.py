"""Three servers and two clients as processes: a server freezes and dies, a client dies."""

from __future__ import annotations

import json
import os
import random
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import psutil
import pytest

from tests.live.server_processes import Region, ServerProcess, until

TTL_MAX, GRACE, TICK = 2.0, 10.0, 1.0
"""Seconds: servers give TTLs from half of this on, and look once a tick for whose time is up."""
PATIENCE = 30.0

pytestmark = pytest.mark.live


class AgentProcess(ServerProcess):
    """An agent of either role."""

    def __init__(self, name: str, host: str, directory: Path, role: str) -> None:
        super().__init__(name, host, directory, "[]", expect=3, multiplier=1)
        text = f'name = "{name}"\nbind_addr = "{host}"\ndata_dir = "{directory}/data"\n{role}\n'
        (directory / "agent.hcl").write_text(text)

    @property
    def peers(self) -> set[str]:
        """The servers that a client is connected to."""
        assert self._process is not None
        found = psutil.Process(self._process.pid).net_connections("tcp4")
        return {
            one.raddr.ip
            for one in found
            if one.status == psutil.CONN_ESTABLISHED and one.raddr and one.raddr.port == 4647
        }


class Scene:
    """What servers say of clients."""

    def __init__(self, servers: Sequence[AgentProcess], region: Region) -> None:
        self.servers = list(servers)
        self._region = region

    async def show(self, client: AgentProcess, status: str) -> bool:
        """Whether all servers show a client so."""
        for server in self.servers:
            nodes = await self._region.look(server, "/v1/nodes?stale") or []
            if [node["Status"] for node in nodes if node["Name"] == client.name] != [status]:
                return False
        return True

    async def heard_elsewhere(self, client: AgentProcess, than: str) -> float:
        """Return when a client has moved; with the seconds that took. It must stay ready."""

        async def has_moved() -> bool:
            assert await self.show(client, "ready")
            found = await self._region.look(client, "/v1/agent/self")
            stats = found["stats"]["client"]
            return bool(client.peers - {than}) and stats["last_heartbeat"].endswith("ms")

        return await until(has_moved, TTL_MAX + GRACE)


@asynccontextmanager
async def scene(directory: Path) -> AsyncIterator[tuple[Scene, list[AgentProcess]]]:
    block = f"127.{random.randint(160, 249)}.{1 + os.getpid() % 250}"
    hosts = [f"{block}.{number}" for number in range(1, 4)]
    server = f"""
        server {{
          enabled = true
          bootstrap_expect = 3
          min_heartbeat_ttl = "{TTL_MAX / 2}s"
          heartbeat_grace = "{GRACE}s"
          server_join {{
            retry_join = {json.dumps(hosts)}
            retry_interval = "500ms"
          }}
        }}
        gossip {{ profile = "local" }}
        limits {{ http_max_conns_per_client = 0 }}
    """
    client = f"""
        client {{
          enabled = true
          servers = {json.dumps(hosts)}
        }}
    """
    servers = [
        AgentProcess(f"s{number}", host, directory / f"s{number}", server)
        for number, host in enumerate(hosts, 1)
    ]
    clients = [
        AgentProcess(f"c{number}", f"{block}.{10 + number}", directory / f"c{number}", client)
        for number in (1, 2)
    ]
    try:
        async with httpx.AsyncClient(timeout=5.0, trust_env=False) as asking:
            region = Region(servers, asking)
            for process in servers:
                process.start()
            await region.leader()
            for process in clients:
                process.start()
            yield Scene(servers, region), clients
    finally:
        for process in (*servers, *clients):
            process.kill()


async def test_a_client_outlives_its_servers_and_is_missed_itself(tmp_path: Path) -> None:
    async with scene(tmp_path) as (seen, (first, second)):
        await until(lambda: seen.show(first, "ready"), PATIENCE)
        await until(lambda: seen.show(second, "ready"), PATIENCE)
        # First, since a new leader would give it five minutes.
        second.kill()
        took = await until(lambda: seen.show(second, "down"), PATIENCE)
        assert took < TTL_MAX + GRACE + TICK + 2.0
        # While nothing has failed, a client asks one server only.
        (address,) = first.peers
        frozen = next(server for server in seen.servers if server.host == address)
        seen.servers.remove(frozen)
        frozen.signal(signal.SIGSTOP)
        assert await seen.heard_elsewhere(first, frozen.host) < TTL_MAX + GRACE
        frozen.signal(signal.SIGCONT)
        others = first.peers - {frozen.host}
        killed = next(server for server in seen.servers if server.host in others)
        seen.servers.remove(killed)
        seen.servers.append(frozen)
        await until(lambda: seen.show(first, "ready"), PATIENCE)
        killed.kill()
        await until(lambda: seen.show(first, "ready"), PATIENCE)
        assert await seen.heard_elsewhere(first, killed.host) < TTL_MAX + GRACE
