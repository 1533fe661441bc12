"""The world as an agent's facade sees it (`nomad.services.Services`), made of trio."""

from __future__ import annotations

import random
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractContextManager
from typing import TypeVar

import trio

from swimnomad.errors import OperationError
from swimnomad.live.endpoint import GossipEndpoint
from swimnomad.live.host import read_command_line, read_host
from swimnomad.live.log import AgentLog, LogSubscription, level_of
from swimnomad.live.nurseries import plain_nursery
from swimnomad.live.shim import FaultShim
from swimnomad.live.stopping import StopSwitch
from swimnomad.names import Operation
from swimnomad.nomad.host import HostFacts
from swimnomad.nomad.remote import Remote
from swimnomad.serf.inputs import SerfInput
from swimnomad.swim.effects import Event

T = TypeVar("T")

CALLS_AT_ONCE = 64
"""Calls that `all_of` has under way at one time."""


class LiveServices:
    """Services of one agent."""

    def __init__(
        self,
        endpoint: GossipEndpoint | None,
        shim: FaultShim | None,
        stop: StopSwitch,
        *,
        log: AgentLog | None = None,
        remote: Remote | None = None,
        rng: random.Random | None = None,
    ) -> None:
        """Put the world together.

        Args:
            endpoint: None for an agent that is a client only, and so has nothing to execute.
            shim: None unless fault injection is allowed.
            stop: What a request to stop acts on.
            log: The agent's log; None for one that nobody writes to.
            remote: The way to other agents; None if there is no RPC. It may be set later.
            rng: Draws pauses and servers; None for a fresh one.
        """
        self._endpoint = endpoint
        self._shim = shim
        self._stop = stop
        self._log = log or AgentLog()
        self.remote = remote
        self.rng = rng or random.Random()

    async def execute(self, make_command: Callable[[Operation], SerfInput]) -> Event:
        """See `GossipEndpoint.execute`."""
        if self._endpoint is None:
            raise OperationError("this agent does not gossip", may_have_happened=False)
        return await self._endpoint.execute(make_command)

    async def resolve(self, host: str, port: int) -> list[str]:
        """Addresses of a host name in the order the system prefers, each once.

        Raises:
            OSError: With the resolver's words, if there is none.
        """
        found = await trio.socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        return list(dict.fromkeys(str(entry[4][0]) for entry in found))

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await trio.sleep(seconds)

    async def all_of(self, calls: Sequence[Callable[[], Awaitable[T]]]) -> list[T]:
        """Make calls side by side; their results in the order of the calls."""
        results: dict[int, T] = {}
        limit = trio.CapacityLimiter(CALLS_AT_ONCE)

        async def make(number: int, call: Callable[[], Awaitable[T]]) -> None:
            async with limit:
                results[number] = await call()

        async with plain_nursery() as nursery:
            for number, call in enumerate(calls):
                nursery.start_soon(make, number, call)
        return [results[number] for number in range(len(calls))]

    def now(self) -> float:
        """The clock that the core is given (seconds, monotonic)."""
        return trio.current_time()

    def wall_time(self) -> float:
        """Seconds since the epoch."""
        return time.time()

    def task_count(self) -> int:
        """Tasks alive in this process' event loop."""
        return trio.lowlevel.current_statistics().tasks_living

    async def events(self) -> AsyncIterator[tuple[float, Event]]:
        """Every event from now on with its wall time; `EventsLost` where some are missing."""
        if self._endpoint is None:
            return
        with self._endpoint.hub.subscribe() as subscription:
            async for item in subscription:
                yield item

    def log_lines(self, level: str, *, as_json: bool) -> AbstractContextManager[LogSubscription]:
        """The agent's log from now on, at that level whatever the agent's is."""
        return self._log.subscribe(level_of(level), as_json=as_json)

    async def host_facts(self) -> HostFacts:
        """What the host says of itself now. A file system that hangs delays nobody else."""
        return await trio.to_thread.run_sync(read_host, abandon_on_cancel=True)

    def command_line(self) -> Sequence[str]:
        """The program's arguments, its name first."""
        return read_command_line()

    def request_stop(self, leave: bool) -> None:
        """Stop the agent soon, after a graceful leave if `leave`."""
        self._stop.request(leave=leave, status=0)

    @property
    def faults(self) -> FaultShim | None:
        """The fault shim; None unless the agent was started with fault injection allowed."""
        return self._shim
