"""The world as an agent's facade sees it (`nomad.services.Services`), made of trio."""

from __future__ import annotations

import socket
import time
from collections.abc import AsyncIterator, Callable

import trio

from swimnomad.errors import OperationError
from swimnomad.live.endpoint import GossipEndpoint
from swimnomad.live.shim import FaultShim
from swimnomad.live.stopping import StopSwitch
from swimnomad.names import Operation
from swimnomad.serf.inputs import SerfInput
from swimnomad.swim.effects import Event


class LiveServices:
    """Services of one agent. A client-only agent has no endpoint, and so nothing to execute."""

    def __init__(
        self, endpoint: GossipEndpoint | None, shim: FaultShim | None, stop: StopSwitch
    ) -> None:
        self._endpoint = endpoint
        self._shim = shim
        self._stop = stop

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

    def request_stop(self, leave: bool) -> None:
        """Stop the agent soon, after a graceful leave if `leave`."""
        self._stop.request(leave=leave, status=0)

    @property
    def faults(self) -> FaultShim | None:
        """The fault shim; None unless the agent was started with fault injection allowed."""
        return self._shim
