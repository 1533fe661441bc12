"""The real stage: agents as processes on this machine, acted upon by signals and over HTTP."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import httpx
import msgspec

from swimnomad.cli.answers import MemberList
from swimnomad.cli.client import one_line
from swimnomad.cli.story.chapters import short
from swimnomad.cli.story.views import Views
from swimnomad.errors import OperationError, UsageError
from swimnomad.live.cluster import ClusterSpec, LocalCluster
from swimnomad.live.places import check_free, plan_places

BASES = ("127.0.0.1", "127.0.90.1", "127.0.91.1", "127.0.92.1")
"""Where the agents may stand; the first block with every port free is taken."""
ANSWER_SECONDS = 10.0


def agent_names(count: int) -> list[str]:
    """The gossip names of a local cluster's agents."""
    return [f"s{number}.global" for number in range(1, count + 1)]


def choose_base(count: int, wanted: str | None = None) -> str:
    """The first base address from which on `count` agents can listen.

    Raises:
        UsageError: If `wanted` is no address.
        OperationError: If there is none; says what stands in the way at the first.
    """
    problems: list[str] = []
    for base in (wanted,) if wanted else BASES:
        places = plan_places(base, count)
        try:
            for number, place in enumerate(places, 1):
                check_free(place, f"s{number}")
        except UsageError as error:
            problems.append(str(error))
        else:
            return base
    raise OperationError(problems[0], may_have_happened=False)


class ProcessStage:
    """A local cluster as the story wants it.

    Args:
        spec: What to start; nodes are `s1` … in region `global`.
        directory: For the cluster's state, data and logs.
        views: Forgets what a process saw when it ends.

    Attributes:
        addresses: Gossip name -> root of the HTTP API.
    """

    def __init__(self, spec: ClusterSpec, directory: Path, views: Views) -> None:
        self._spec = spec
        self._directory = directory
        self._views = views
        self._cluster: LocalCluster | None = None
        places = plan_places(spec.base, spec.count, spec.ports)
        self.addresses = {
            name: f"http://{place.http}"
            for name, place in zip(agent_names(spec.count), places, strict=True)
        }

    @property
    def agents(self) -> Sequence[str]:
        """Gossip names, in order."""
        return list(self.addresses)

    async def start(self) -> str:
        """Start every agent; returns when each sees all the others."""
        self._cluster = await LocalCluster.up(self._spec, self._directory)
        pids = ", ".join(str(self._pid(agent)) for agent in self.agents)
        return f"{len(self.agents)} processes started: {pids}"

    async def kill(self, agent: str) -> str:
        """SIGKILL."""
        pid = self._pid(agent)
        await self._up.kill(short(agent))
        self._views.forget(agent)
        return f"SIGKILL to process {pid} ({short(agent)})"

    async def force_leave(self, agent: str, by: str) -> str:
        """PUT /v1/agent/force-leave."""
        await self._put(by, "/v1/agent/force-leave", {"node": agent})
        return f"PUT /v1/agent/force-leave?node={agent} at {short(by)}"

    async def leave(self, agent: str) -> str:
        """PUT /v1/swimnomad/leave, then wait for the process to end."""
        await self._up.leave(short(agent))
        self._views.forget(agent)
        return f"PUT /v1/swimnomad/leave at {short(agent)}; its process has ended"

    async def restart(self, agent: str) -> str:
        """Start it as it was started first."""
        await self._up.start(short(agent))
        return f"process {self._pid(agent)} started for {short(agent)}"

    async def listed(self, observer: str) -> Mapping[str, str]:
        """GET /v1/agent/members."""
        async with self._client(observer) as http:
            try:
                answer = await http.get("/v1/agent/members")
                listed = msgspec.json.decode(answer.content, type=MemberList)
            except (httpx.HTTPError, msgspec.DecodeError):
                return {}
        return {member.name: member.status for member in listed.members}

    async def close(self) -> None:
        """End every process."""
        if self._cluster is not None:
            await self._cluster.down()

    @property
    def _up(self) -> LocalCluster:
        assert self._cluster is not None, "the story begins with start"
        return self._cluster

    def _pid(self, agent: str) -> int:
        mark = self._up.nodes[short(agent)].process
        assert mark is not None
        return mark.pid

    def _client(self, agent: str) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            base_url=self.addresses[agent], timeout=ANSWER_SECONDS, trust_env=False
        )

    async def _put(self, agent: str, path: str, params: Mapping[str, str]) -> None:
        async with self._client(agent) as http:
            try:
                answer = await http.put(path, params=dict(params))
            except httpx.HTTPError as error:
                text = f"{short(agent)} gave no answer to PUT {path}: {error!r}"
                raise OperationError(text, may_have_happened=True) from None
        if answer.status_code != 200:
            text = f"{short(agent)} answered PUT {path} with {one_line(answer.text)}"
            raise OperationError(text, may_have_happened=answer.status_code >= 500)
