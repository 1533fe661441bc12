"""Server agents as processes of their own: started, frozen, killed, and asked over HTTP.

Every run has addresses of its own in 127.0.0.0/8, and ends the processes that it started, whatever
happens. Nothing is announced across processes, so everything is looked at again and again, up to a
deadline.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import trio

LOOK_EVERY = 0.02
"""Seconds between two looks."""
LOOK_TIMEOUT = 0.5
"""Seconds after which a look at one server is given up: it may be frozen."""
_CONFIG = """
name = "{name}"
bind_addr = "{host}"
data_dir = "{directory}/data"
log_level = "INFO"
server {{
  enabled = true
  bootstrap_expect = {expect}
  raft_multiplier = {multiplier}
  server_join {{
    retry_join = {seeds}
    retry_interval = "500ms"
  }}
}}
gossip {{ profile = "local" }}
acl {{ enabled = true }}
limits {{ http_max_conns_per_client = 0 }}
"""


class ServerProcess:
    """One server; its data survive its process."""

    def __init__(self, name: str, host: str, directory: Path, seeds: str, **settings: int) -> None:
        self.name, self.host = name, host
        self.rpc = f"{host}:4647"
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None
        directory.mkdir()
        text = _CONFIG.format(name=name, host=host, directory=directory, seeds=seeds, **settings)
        (directory / "agent.hcl").write_text(text)

    def start(self) -> None:
        command = [sys.executable, "-m", "swimnomad", "agent"]
        command += ["-c", str(self._directory / "agent.hcl")]
        with (self._directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    @property
    def log(self) -> str:
        return (self._directory / "log").read_text(errors="replace")

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def url(self, path: str) -> str:
        return f"http://{self.host}:4646{path}"


class Region:
    """All servers, and a way to ask them."""

    def __init__(self, servers: Sequence[ServerProcess], client: httpx.AsyncClient) -> None:
        self.servers = list(servers)
        self.client = client

    async def look(self, server: ServerProcess, path: str) -> Any:  # noqa: ANN401 - any JSON
        """What one server answers just now; None if that is no good answer, or none at all."""
        with trio.move_on_after(LOOK_TIMEOUT):
            try:
                found = await self.client.get(server.url(path))
            except httpx.HTTPError:
                return None
            return found.json() if found.status_code == 200 else None
        return None

    async def leaders(self, among: Sequence[ServerProcess] | None = None) -> list[str | None]:
        """Whom each of some servers (or all) takes for the leader; None if it does not answer."""
        asked = list(among or self.servers)
        found: dict[str, str | None] = {}

        async def ask(server: ServerProcess) -> None:
            found[server.name] = await self.look(server, "/v1/status/leader?stale")

        async with trio.open_nursery() as nursery:
            for server in asked:
                nursery.start_soon(ask, server)
        return [found[server.name] for server in asked]

    async def leader(
        self,
        among: Sequence[ServerProcess] | None = None,
        *,
        other_than: ServerProcess | None = None,
        seconds: float = 30.0,
    ) -> ServerProcess:
        """The leader, once some servers (or all) agree on it.

        Raises:
            trio.TooSlowError: They did not in time.
        """
        asked = list(among or self.servers)
        with trio.fail_after(seconds):
            while True:
                found = set(await self.leaders(asked))
                for server in asked:
                    if found == {server.rpc} and server is not other_than:
                        return server
                await trio.sleep(LOOK_EVERY)

    async def without_leader(self, among: Sequence[ServerProcess], seconds: float = 30.0) -> None:
        """Return once none of these servers knows a leader.

        Raises:
            trio.TooSlowError: Some did for too long.
        """

        async def is_without() -> bool:
            return set(await self.leaders(among)) == {""}

        await until(is_without, seconds)

    async def put(
        self, server: ServerProcess, path: str, body: object, seconds: float = 30.0
    ) -> tuple[int, str]:
        """Write something: the status, and the answer; 0 and the reason if there was none."""
        try:
            answer = await self.client.put(
                server.url(path), content=json.dumps(body), timeout=seconds
            )
        except httpx.HTTPError as error:
            return 0, type(error).__name__
        return answer.status_code, answer.text

    async def put_token(
        self, server: ServerProcess, name: str, seconds: float = 30.0
    ) -> tuple[int, str]:
        """Write a token, whose accessor and secret the leader draws."""
        body = {"Name": name, "Type": "management"}
        return await self.put(server, "/v1/acl/token", body, seconds)


async def until(condition: Callable[[], Awaitable[bool]], seconds: float = 30.0) -> float:
    """Return once an awaited condition holds, with the seconds that took.

    Raises:
        trio.TooSlowError: It did not in time.
    """
    start = trio.current_time()
    with trio.fail_after(seconds):
        while not await condition():  # noqa: ASYNC110 - other processes announce nothing
            await trio.sleep(LOOK_EVERY)
    return trio.current_time() - start


@asynccontextmanager
async def region_of(count: int, directory: Path, *, multiplier: int = 1) -> AsyncIterator[Region]:
    """So many servers that expect each other, started at once; ended afterwards."""
    block = f"127.{random.randint(160, 249)}.{1 + os.getpid() % 250}"
    hosts = [f"{block}.{number}" for number in range(1, count + 1)]
    seeds = json.dumps(hosts)
    servers = [
        ServerProcess(
            f"s{number}",
            host,
            directory / f"s{number}",
            seeds,
            expect=count,
            multiplier=multiplier,
        )
        for number, host in enumerate(hosts, 1)
    ]
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=64)
    async with httpx.AsyncClient(limits=limits, timeout=30.0, trust_env=False) as client:
        try:
            for server in servers:
                server.start()
            yield Region(servers, client)
        finally:
            for server in servers:
                server.kill()
