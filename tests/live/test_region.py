"""A region over HTTP: who leads, what is written and kept, and who still takes part."""

from __future__ import annotations

import json
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
import trio

from swimnomad.live.agent import LiveAgent, open_agent
from swimnomad.nomad.config import AgentConfig, ServerConfig
from swimnomad.nomad.core import NomadCore
from swimnomad.serf.events import Status
from swimnomad.serf.inputs import SerfInput
from swimnomad.swim.effects import Effect
from tests.live import server_processes
from tests.live.rpc_clusters import server_config
from tests.live.server_processes import until

VECTORS = Path(__file__).parent.parent / "vectors" / "nomad-transitions.json"
EXPECTED = 3
NAMES = ("s1", "s2", "s3")
FOREIGN = {
    "server.raft_multiplier": 0.2,
    "acl.enabled": True,
    "autopilot.cleanup_dead_servers": False,
}


class Place:
    """One server of a region: it may be stopped, and comes back with its data and address."""

    def __init__(self, config: AgentConfig) -> None:
        self.config = config
        self.agent: LiveAgent | None = None
        self._stop = trio.Event()
        self._stopped = trio.Event()

    @property
    def running(self) -> LiveAgent:
        assert self.agent is not None
        return self.agent

    @property
    def rpc(self) -> str:
        return str(self.config.advertised("rpc"))

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        self._stop, self._stopped = trio.Event(), trio.Event()
        try:
            async with open_agent(self.config) as self.agent:
                self.config = msgspec.structs.replace(self.config, ports=self.agent.config.ports)
                task_status.started()
                await self._stop.wait()
        finally:
            self.agent = None
            self._stopped.set()

    async def stop(self) -> None:
        """Stop without a word to the others."""
        self._stop.set()
        await self._stopped.wait()


class Region:
    """Servers, and a way to ask them over HTTP."""

    def __init__(
        self, places: Sequence[Place], client: httpx.AsyncClient, nursery: trio.Nursery
    ) -> None:
        self.places = places
        self._client, self._nursery = client, nursery

    @property
    def running(self) -> list[Place]:
        return [place for place in self.places if place.agent is not None]

    async def start(self, place: Place) -> None:
        """Start a server; it joins those that run."""
        others = self.running
        await self._nursery.start(place.run)
        if others:
            seed = str(others[0].running.config.bind("serf"))
            assert (await place.running.facade.join([seed])).joined == 1

    async def get(self, place: Place, path: str) -> Any:  # noqa: ANN401 - any JSON
        answer = await self._client.get(place.running.http_url + path)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def put(self, place: Place, path: str, body: object = None) -> httpx.Response:
        return await self._client.put(place.running.http_url + path, json=body)

    async def leader(self) -> Place:
        """The leader, once all that run name the same, and it is one of them."""
        while True:
            named = {await self.get(place, "/v1/status/leader?stale") for place in self.running}
            for place in self.running:
                if named == {place.rpc}:
                    return place
            await trio.sleep(0.01)

    async def put_token(self, place: Place, name: str) -> None:
        answer = await self.put(place, "/v1/acl/token", {"Name": name, "Type": "management"})
        assert answer.status_code == 200, answer.text

    async def tokens(self, place: Place) -> list[str]:
        return sorted(token["Name"] for token in await self.get(place, "/v1/acl/tokens?stale"))

    async def until_tokens(self, names: list[str]) -> None:
        """Return once all that run have these tokens."""

        async def all_have() -> bool:
            return all([await self.tokens(place) == names for place in self.running])

        await until(all_have)

    async def peers(self, place: Place) -> set[str]:
        """Raft's addresses, as a server shows them without asking the leader."""
        found = await self.get(place, "/v1/operator/raft/configuration?stale")
        return {server["Address"] for server in found["Servers"]}

    async def until_peers(self, expected: Sequence[Place]) -> None:
        """Return once all that run show these peers."""
        wanted = {place.rpc for place in expected}

        async def all_show() -> bool:
            return all([await self.peers(place) == wanted for place in self.running])

        await until(all_show)


@asynccontextmanager
async def region(data_dir: Path) -> AsyncIterator[Region]:
    """Three servers that expect each other."""
    places = [
        Place(
            server_config(
                name,
                server=ServerConfig(enabled=True, bootstrap_expect=EXPECTED),
                data_dir=str(data_dir / name),
                foreign=FOREIGN,
            )
        )
        for name in NAMES
    ]
    async with (
        httpx.AsyncClient(timeout=20.0, trust_env=False) as client,
        trio.open_nursery() as nursery,
    ):
        made = Region(places, client, nursery)
        with trio.fail_after(60):
            for place in places:
                await made.start(place)
            await made.leader()
            yield made
        nursery.cancel_scope.cancel()


@pytest.mark.live
async def test_what_is_written_anywhere_outlives_its_leader_and_every_process(
    tmp_path: Path,
) -> None:
    async with region(tmp_path) as found:
        leader = await found.leader()
        follower = next(place for place in found.places if place is not leader)
        await found.put_token(follower, "forwarded")
        await leader.stop()
        second = await found.leader()
        assert second is not leader
        await found.put_token(second, "second")
        await found.start(leader)
        await found.leader()
        assert await found.get(leader, "/v1/status/peers?stale") == sorted(
            place.rpc for place in found.places
        )
        for place in found.places:
            await place.stop()
        for place in found.places:
            await found.start(place)
        last = await found.leader()
        await found.put_token(last, "third")
        await found.until_tokens(["forwarded", "second", "third"])


@pytest.mark.live
async def test_one_of_three_refuses_writes(tmp_path: Path) -> None:
    async with region(tmp_path) as found:
        leader = await found.leader()
        for place in found.places:
            if place is not leader:
                await place.stop()

        async def nobody_leads() -> bool:
            return bool(await found.get(leader, "/v1/status/leader?stale") == "")

        await until(nobody_leads)
        answer = await found.put(leader, "/v1/acl/token", {"Name": "x", "Type": "management"})
        assert (answer.status_code, answer.text) == (500, "No cluster leader")
        for place in found.places:
            if place is not leader:
                await found.start(place)
        await found.leader()
        await found.put_token(leader, "healed")
        assert "x" not in await found.tokens(await found.leader())


@pytest.mark.live
async def test_processes_killed_and_frozen_lose_nothing(tmp_path: Path) -> None:
    async with server_processes.region_of(EXPECTED, tmp_path) as found:
        leader = await found.leader()
        assert (await found.put_token(leader, "first"))[0] == 200
        rest = [server for server in found.servers if server is not leader]
        leader.kill()
        second = await found.leader(rest, other_than=leader)
        assert (await found.put_token(second, "second"))[0] == 200
        leader.start()
        await found.leader()
        second.signal(signal.SIGSTOP)
        rest = [server for server in found.servers if server is not second]
        try:
            third = await found.leader(rest, other_than=second)
            assert (await found.put_token(third, "third"))[0] == 200
        finally:
            second.signal(signal.SIGCONT)

        async def all_hold_all() -> bool:
            tokens = [await found.look(each, "/v1/acl/tokens?stale") for each in found.servers]
            return all(
                each is not None
                and {token["Name"] for token in each} == {"first", "second", "third"}
                for each in tokens
            )

        await until(all_hold_all)


class Watch:
    """What two servers hold of the third, change by change: looked at after every single input."""

    def __init__(self, watchers: Sequence[Place]) -> None:
        self.changes: dict[str, list[str]] = {}
        for place in watchers:
            core = place.running.core
            assert core is not None
            changes = self.changes[place.config.name] = []
            self._look_into(core, changes)

    def _look_into(self, core: NomadCore, changes: list[str]) -> None:
        handle = core.handle

        def note() -> None:
            status = core.serf.members["s3.global"].status.text
            if changes[-1:] != [status]:
                changes.append(status)

        def handle_and_note(incoming: SerfInput, now: float) -> list[Effect]:
            effects = handle(incoming, now)
            note()
            return effects

        note()
        setattr(core, "handle", handle_and_note)  # noqa: B010 - a method, as mypy sees it

    async def until(self, status: str) -> None:
        """Return once both hold it so."""

        async def is_held() -> bool:
            return all(changes[-1:] == [status] for changes in self.changes.values())

        await until(is_held)


async def force_live_server_out(found: Region) -> None:
    """Force s3 out, which it contradicts; what shows in between was too short to be recorded."""

    def claims() -> set[tuple[Status, int]]:
        cores = [place.running.core for place in found.running]
        members = [core.serf.members["s3.global"] for core in cores if core is not None]
        return {(member.status, member.status_ltime) for member in members}

    before = max(ltime for _, ltime in claims())
    await found.put(found.places[0], "/v1/agent/force-leave?node=s3.global")

    async def is_contradicted() -> bool:
        (status, ltime), *differing = claims()
        return status is Status.ALIVE and ltime > before and not differing

    await until(is_contradicted)


@pytest.mark.live
async def test_a_server_comes_and_goes_as_recorded_and_raft_goes_with_it(tmp_path: Path) -> None:
    """agent C08, agent C09"""
    (run,) = json.loads(VECTORS.read_text())["runs"]
    async with region(tmp_path) as found:
        *others, third = found.places
        await force_live_server_out(found)
        watch = Watch(others)
        await found.until_peers(found.places)
        await third.stop()
        await watch.until("failed")
        await found.leader()
        await found.until_peers(found.places)
        for _ in range(2):
            await found.put(others[0], "/v1/agent/force-leave?node=s3.global")
            await watch.until("left")
            await found.until_peers(others)
        await found.start(third)
        await watch.until("alive")
        await found.until_peers(found.places)
        await third.running.facade.leave()
        await watch.until("left")
        await third.stop()
        await found.leader()
        await found.until_peers(others)
    for watcher, changes in watch.changes.items():
        assert changes == [
            seen["members"]["s3.global"] for seen in run["seen"] if seen["by"] == watcher
        ]
