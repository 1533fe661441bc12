"""Scenarios on real agents: processes on loopback, watched and acted upon over HTTP and signals.

What a node believes comes from its event stream; an agent that was there before the stream was
opened is asked once for its list. Times are those that the agents themselves stamp, all of one
machine's clock.
"""

from __future__ import annotations

import random
import socket  # noqa: TID251 - junk comes from a real socket
import time  # noqa: TID251 - real agents live in real time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import msgspec
import trio  # noqa: TID251 - the live part of this room

from swimnomad.errors import OperationError, UsageError
from swimnomad.faults import Latency, LinkFault, fault_to_json
from swimnomad.live.cluster import ClusterSpec as LocalSpec
from swimnomad.live.cluster import LocalCluster
from swimnomad.live.nurseries import plain_nursery
from swimnomad.names import Address
from swimnomad.scenario.backend import Usage
from swimnomad.scenario.facts import Facts, Seen
from swimnomad.scenario.junk import junk
from swimnomad.scenario.model import ClusterSpec, NetworkSpec, Scenario
from swimnomad.scenario.result import Result
from swimnomad.scenario.runner import Runner

HTTP_TIMEOUT = 10.0
WATCH_TIMEOUT = 10.0
"""Seconds until a new agent must have answered the request for its events."""
STARVED_TURN = 0.01
"""Seconds that a starved process runs between two stops."""
JUNK_PAUSE = 0.005
"""Seconds between two handfuls of junk."""
_SEEN_BY_EVENT: dict[str, Seen] = {
    "member-joined": "alive",
    "member-left": "left",
    "member-failed": "failed",
    "member-reaped": "none",
}
_SEEN_BY_STATUS: dict[str, Seen] = {
    "alive": "alive",
    "leaving": "alive",
    "left": "left",
    "failed": "failed",
}


def run_live(scenario: Scenario, facts: Facts, seed: int) -> Result:
    """Run a scenario on agent processes of this machine; none is left behind.

    Raises:
        OperationError: If the cluster could not be started.
        UsageError: If addresses are in use.
    """

    async def main() -> Result:
        with TemporaryDirectory(prefix="swimnomad-") as directory:
            async with LiveBackend.opened(facts, Path(directory)) as backend:
                return await Runner(scenario, backend, facts, seed).run()

    return trio.run(main)


class LiveBackend:
    """A `LocalCluster` behind the interface of a backend. Made by `opened`."""

    name = "live"

    def __init__(
        self, facts: Facts, directory: Path, nursery: trio.Nursery, client: httpx.AsyncClient
    ) -> None:
        self._facts = facts
        self._directory = directory
        self._nursery = nursery
        self._client = client
        self._cluster: LocalCluster | None = None
        self._zero = time.time()
        self._agents: dict[str, str] = {}
        """Short name of the scenario to that of the local cluster."""
        self._starving: dict[str, trio.CancelScope] = {}
        self._members: dict[str, str] = {}
        """Name in the pool to short name."""

    @staticmethod
    def opened(facts: Facts, directory: Path) -> _Opened:
        """A backend for the length of an `async with` block."""
        return _Opened(facts, directory)

    @property
    def now(self) -> float:
        """Seconds since the cluster stood."""
        return time.time() - self._zero

    async def open(self, cluster: ClusterSpec, network: NetworkSpec) -> None:
        """Start every agent, wait until all of a cluster see each other, and watch them."""
        flags: tuple[str, ...] = ()
        if cluster.scale != 1.0 or cluster.compat != "safe":
            config = self._directory / "gossip.json"
            gossip = {"scale": cluster.scale, "compat": cluster.compat}
            config.write_bytes(msgspec.json.encode({"gossip": gossip}))
            flags = ("--config", str(config))
        names = list(cluster.node_regions)
        # A network of its own on loopback, so that a cluster of the user's may run beside it.
        one, two = random.SystemRandom().sample(range(64, 250), 2)
        spec = LocalSpec(
            count=len(names),
            profile=cluster.profile,
            base=f"127.{one}.{two}.1",
            allow_faults=True,
            flags=flags,
            labels=tuple(map(cluster.label_of, names)),
        )
        self._cluster = await LocalCluster.up(spec, self._directory)
        self._agents = dict(zip(names, self._cluster.nodes, strict=True))
        regions = cluster.node_regions
        self._members = {f"{agent}.{regions[name]}": name for name, agent in self._agents.items()}
        self._zero = time.time()
        for name in names:
            await self._watch(name)

    async def close(self) -> None:
        """End every agent."""
        if self._cluster is not None:
            cluster, self._cluster = self._cluster, None
            for scope in self._starving.values():
                scope.cancel()
            for name, agent in self._agents.items():
                if self._starving.pop(name, None):
                    cluster.resume(agent)
                # A stopped process cannot be asked to end.
                if self._facts.lives.get(name) == "paused":
                    cluster.resume(agent)
            await cluster.down()

    async def wait_until(self, time: float) -> None:
        """Sleep."""
        await trio.sleep(max(0.0, time - self.now))

    async def start(self, name: str, region: str, join: Sequence[str]) -> None:
        """Refused by the loader: a local cluster does not grow."""
        raise UsageError("start is not possible on live")

    async def restart(
        self,
        name: str,
        *,
        same_data: bool,
        new_address: bool,
        join: Sequence[str],
        label: str | None = None,
    ) -> None:
        """Start a dead agent again; it joins whom it was configured to join."""
        assert not new_address, "the loader refuses this"
        await self._up.start(self._agents[name], wipe=not same_data, label=label)
        await self._watch(name)

    async def join(self, names: Sequence[str], to: Sequence[str]) -> None:
        """Let agents join others."""
        addresses = [str(self._up.nodes[self._agents[other]].place.serf) for other in to]
        for name in names:
            answer = await self._request("PUT", name, "/v1/agent/join", {"address": addresses})
            if not answer.get("num_joined"):
                raise OperationError(
                    f"{name} could not join: {answer.get('error')}", may_have_happened=False
                )

    async def leave(self, names: Sequence[str]) -> None:
        """Let agents leave, all at once, and wait until they have stopped."""
        for name in names:
            await self.feed(name)
        async with plain_nursery() as nursery:
            for name in names:
                nursery.start_soon(self._up.leave, self._agents[name])

    async def force_leave(self, by: str, name: str, *, prune: bool) -> None:
        """Let an agent declare another left, or erase it."""
        member = next(pool for pool, short in self._members.items() if short == name)
        query = {"node": [member], "prune": ["true"]} if prune else {"node": [member]}
        await self._request("PUT", by, "/v1/agent/force-leave", query)

    async def kill(self, name: str) -> None:
        """SIGKILL."""
        await self.feed(name)
        await self._up.kill(self._agents[name])

    async def pause(self, name: str) -> None:
        """SIGSTOP."""
        await self.feed(name)
        self._up.pause(self._agents[name])

    async def resume(self, name: str) -> None:
        """SIGCONT."""
        self._up.resume(self._agents[name])

    async def set_tags(self, name: str, changes: Mapping[str, str], remove: Sequence[str]) -> None:
        """Refused by the loader."""
        raise UsageError("tags is not possible on live")

    async def send_event(self, name: str, event: str, payload: bytes) -> None:
        """Refused by the loader."""
        raise UsageError("event is not possible on live")

    async def starve(self, name: str, delay: Latency) -> None:
        """Stop the process again and again, each time for a delay, with a moment in between."""
        await self.feed(name)
        scope = self._starving[name] = trio.CancelScope()
        rng = random.Random(f"starve {name}")

        async def stop_and_go() -> None:
            turn = 0
            with scope:
                while True:
                    self._up.pause(self._agents[name])
                    await trio.sleep(delay.sample(rng, turn))
                    self._up.resume(self._agents[name])
                    await trio.sleep(STARVED_TURN)
                    turn += 1

        self._nursery.start_soon(stop_and_go)

    async def feed(self, name: str) -> None:
        """Let it run again."""
        if scope := self._starving.pop(name, None):
            scope.cancel()
            self._up.resume(self._agents[name])

    async def skew(
        self, name: str, *, rate: float | None, jump: float, drift: float, every: float
    ) -> None:
        """Refused by the loader."""
        raise UsageError("skew is not possible on live")

    async def start_twin(self, name: str, join: Sequence[str]) -> None:
        """Refused by the loader."""
        raise UsageError("conflict is not possible on live")

    async def kill_twin(self, name: str) -> None:
        """Refused by the loader."""
        raise UsageError("conflict is not possible on live")

    async def flood(
        self, name: str, rate: int, size: int, duration: float, rng: random.Random
    ) -> None:
        """Send junk from a socket of this process."""
        place = self._up.nodes[self._agents[name]].place.serf
        self._nursery.start_soon(send_junk, place, rate, size, duration, rng)

    async def set_fault(self, name: str, fault_name: str, fault: LinkFault) -> None:
        """Put a fault into the agent's shim."""
        path = f"/v1/swimnomad/faults/{fault_name}"
        await self._request("PUT", name, path, content=fault_to_json(fault))

    async def clear_fault(self, name: str, fault_name: str) -> None:
        """Remove it."""
        await self._request("DELETE", name, f"/v1/swimnomad/faults/{fault_name}")

    def host_of(self, name: str) -> str:
        """An agent's IP address."""
        return self._up.nodes[self._agents[name]].place.host

    async def checksum(self, name: str) -> str:
        """Digest of an agent's member list."""
        gossip = await self._request("GET", name, "/v1/swimnomad/gossip")
        return str(gossip["Checksum"])

    async def health_score(self, name: str) -> int:
        """An agent's local health."""
        gossip = await self._request("GET", name, "/v1/swimnomad/gossip")
        return int(gossip["HealthScore"])

    async def usage(self) -> dict[str, Usage]:
        """Bytes that running agents have sent since they were started; they count no messages."""
        found: dict[str, Usage] = {}
        for name in self._facts.running:
            counters = (await self._request("GET", name, "/v1/swimnomad/gossip"))["Counters"]
            sent = counters.get("udp.sent", 0) + counters.get("tcp.sent", 0)
            found[name] = Usage(None, int(sent))
        return found

    async def total_usage(self) -> Usage | None:
        """Not known: what a killed agent had sent is lost with it."""
        return None

    def violations(self) -> Sequence[str]:
        """None: nobody looks into real agents."""
        return ()

    def journal_sha256(self) -> str | None:
        """None: real agents are not deterministic."""
        return None

    @property
    def _up(self) -> LocalCluster:
        assert self._cluster is not None, "open() comes first"
        return self._cluster

    def _url(self, name: str, path: str) -> str:
        return f"http://{self._up.nodes[self._agents[name]].place.http}{path}"

    async def _request(
        self,
        method: str,
        name: str,
        path: str,
        query: Mapping[str, Sequence[str]] | None = None,
        content: bytes | None = None,
    ) -> Any:  # noqa: ANN401 - JSON
        """What an agent answers, decoded; None if it answers nothing.

        Raises:
            OperationError: If it does not answer, or not with success.
        """
        try:
            answer = await self._client.request(
                method, self._url(name, path), params=query or {}, content=content
            )
        except httpx.HTTPError as error:
            text = f"{method} {path} at {name}: {error or type(error).__name__}"
            raise OperationError(text, may_have_happened=method != "GET") from None
        if answer.status_code != 200:
            text = f"{method} {path} at {name}: {answer.status_code} {answer.text[:200]}"
            raise OperationError(text, may_have_happened=False)
        return msgspec.json.decode(answer.content) if answer.content.strip() else None

    async def _watch(self, name: str) -> None:
        """Follow the agent's events from now on, then note what it knew before.

        Raises:
            OperationError: If it does not answer in time.
        """
        with trio.move_on_after(WATCH_TIMEOUT) as scope:
            await self._nursery.start(self._follow, name)
        if scope.cancelled_caught:
            raise OperationError(f"{name} does not show its events", may_have_happened=True)
        answer = await self._request("GET", name, "/v1/agent/members")
        now = self.now
        for member in answer["Members"]:
            subject = self._members.get(f"{member['Name']}")
            seen = _SEEN_BY_STATUS.get(member["Status"])
            if subject and seen:
                self._facts.saw(now, name, subject, seen)

    async def _follow(
        self, name: str, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Read one process' events until it ends."""
        url = self._url(name, "/v1/swimnomad/events")
        is_started = False
        try:
            async with self._client.stream("GET", url, timeout=None) as answer:
                async for line in answer.aiter_lines():
                    if not is_started:
                        is_started = True
                        task_status.started()
                    if line:
                        self._note(name, msgspec.json.decode(line))
        except httpx.HTTPError:
            pass  # the process died: that is what scenarios are about
        if not is_started:
            raise OperationError(f"{name} does not show its events", may_have_happened=True)

    def _note(self, observer: str, event: Mapping[str, Any]) -> None:
        seen = _SEEN_BY_EVENT.get(event["event"])
        subject = self._members.get(event["node"])
        if seen and subject:
            self._facts.saw(event["time"] - self._zero, observer, subject, seen)


async def send_junk(to: Address, rate: int, size: int, duration: float, rng: random.Random) -> None:
    """Send `rate` datagrams of `size` bytes a second for `duration` seconds, as fast as it goes.

    What the system does not take at once is lost, as in a full network.
    """
    family = socket.AF_INET6 if ":" in to.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sender:
        sender.setblocking(False)
        start = trio.current_time()
        sent = 0
        while (elapsed := trio.current_time() - start) < duration:
            for _ in range(int(elapsed * rate) - sent):
                sent += 1
                with suppress(OSError):
                    sender.sendto(junk(rng, size), to)
            await trio.sleep(JUNK_PAUSE)


class _Opened:
    """The nursery and the HTTP client around a `LiveBackend`."""

    def __init__(self, facts: Facts, directory: Path) -> None:
        self._facts = facts
        self._directory = directory
        self._stack = AsyncExitStack()
        self._nursery: trio.Nursery | None = None

    async def __aenter__(self) -> LiveBackend:
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
        client = await self._stack.enter_async_context(
            httpx.AsyncClient(timeout=HTTP_TIMEOUT, limits=limits, trust_env=False)
        )
        self._nursery = await self._stack.enter_async_context(plain_nursery())
        return LiveBackend(self._facts, self._directory, self._nursery, client)

    async def __aexit__(self, *details: Any) -> bool | None:  # noqa: ANN401 - as the protocol has it
        assert self._nursery is not None
        self._nursery.cancel_scope.cancel()
        return await self._stack.__aexit__(*details)
