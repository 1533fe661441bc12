"""What the Agent facade needs from whoever runs it; `live` provides it, tests fake it."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractContextManager
from typing import Protocol, TypeVar

from swimnomad.faults import LinkFault
from swimnomad.names import Operation
from swimnomad.nomad.host import HostFacts
from swimnomad.nomad.monitor import LogLines
from swimnomad.nomad.remote import Remote
from swimnomad.serf.inputs import SerfInput
from swimnomad.swim.effects import Event

T = TypeVar("T")


class EventsLost(Event, frozen=True):
    """Stands in `Services.events` where `count` events were lost: the reader was too slow."""

    count: int


class FaultPort(Protocol):
    """Access to the fault shim of an agent that was started with fault injection allowed."""

    def list_faults(self) -> dict[str, LinkFault]:
        """Faults in force by name, oldest first."""
        ...

    def set_fault(self, name: str, fault: LinkFault) -> None:
        """Add a fault or replace the one of that name."""
        ...

    def clear_faults(self, name: str | None = None) -> int:
        """Remove one fault, or all; return how many there were."""
        ...


class Services(Protocol):
    """The world as the facade sees it. Everything that waits is async; nothing else blocks."""

    async def execute(self, make_command: Callable[[Operation], SerfInput]) -> Event:
        """Give the core a command under a fresh operation number; wait for its outcome event.

        Raises:
            OperationError: If the core stopped before the outcome was known.
        """
        ...

    async def resolve(self, host: str, port: int) -> list[str]:
        """Addresses (text) of a host name; an IP address is returned as it is.

        Raises:
            OSError: With the resolver's words, if there is none.
        """
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        ...

    async def all_of(self, calls: Sequence[Callable[[], Awaitable[T]]]) -> list[T]:
        """Make calls side by side; their results in the order of the calls."""
        ...

    def now(self) -> float:
        """The clock that the core is given (seconds, monotonic)."""
        ...

    def wall_time(self) -> float:
        """Seconds since the epoch."""
        ...

    def task_count(self) -> int:
        """Tasks alive in this process' event loop."""
        ...

    def events(self) -> AsyncIterator[tuple[float, Event]]:
        """Every event from now on with its wall time.

        A slow reader loses events and never stalls the agent; an `EventsLost` stands where they
        are missing.
        """
        ...

    def log_lines(self, level: str, *, as_json: bool) -> AbstractContextManager[LogLines]:
        """The agent's log from now on, at that level (`monitor.LEVELS`) whatever the agent's is.

        A slow reader loses lines and never stalls the agent.
        """
        ...

    async def host_facts(self) -> HostFacts:
        """What the host says of itself now."""
        ...

    def command_line(self) -> Sequence[str]:
        """The program's arguments, its name first."""
        ...

    def request_stop(self, leave: bool) -> None:
        """Stop the agent soon, after a graceful leave if `leave`."""
        ...

    @property
    def rng(self) -> random.Random:
        """Draws what must not be the same everywhere: pauses, choices among servers."""
        ...

    @property
    def remote(self) -> Remote | None:
        """The way to other agents; None if this one was started without RPC."""
        ...

    @property
    def faults(self) -> FaultPort | None:
        """The fault shim; None unless the agent was started with fault injection allowed."""
        ...
