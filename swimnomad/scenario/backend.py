"""Where a scenario runs, as the runner sees it: nodes by short name, actions, a clock.

The methods are async because real nodes make one wait. Those of the simulator never suspend, which
lets `run_to_end` carry the same runner through virtual time without an event loop.
"""

from __future__ import annotations

import random
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from swimnomad.faults import Latency, LinkFault
from swimnomad.names import Value
from swimnomad.scenario.model import ClusterSpec, NetworkSpec

T = TypeVar("T")

OPERATION_TIMEOUT = 120.0
"""Seconds of cluster time until a join or leave that reports nothing counts as unknown."""


class Usage(Value, frozen=True):
    """What has been sent: datagrams and connections (None: not known), and their bytes."""

    messages: int | None
    bytes: int


class Backend(Protocol):
    """A cluster that can be acted upon; it reports what its nodes see to the `Facts` it was given.

    Actions raise `OperationError` if they fail and `UsageError` if they make no sense at present.
    """

    name: str

    @property
    def now(self) -> float:
        """Seconds since the cluster stood; before that negative or 0."""
        ...

    async def open(self, cluster: ClusterSpec, network: NetworkSpec) -> None:
        """Start every node; when this returns the cluster stands: all run and are joining."""
        ...

    async def close(self) -> None:
        """End every node."""
        ...

    async def wait_until(self, time: float) -> None:
        """Let time pass; what nodes report meanwhile is in the facts afterwards."""
        ...

    async def start(self, name: str, region: str, join: Sequence[str]) -> None:
        """Boot a new node."""
        ...

    async def restart(
        self,
        name: str,
        *,
        same_data: bool,
        new_address: bool,
        join: Sequence[str],
        label: str | None = None,
    ) -> None:
        """Boot a dead node again, with another label if one is given."""
        ...

    async def join(self, names: Sequence[str], to: Sequence[str]) -> None:
        """Let nodes join others, and wait for the outcome."""
        ...

    async def leave(self, names: Sequence[str]) -> None:
        """Let nodes leave, and wait until they are gone."""
        ...

    async def force_leave(self, by: str, name: str, *, prune: bool) -> None:
        """Let a node declare another left, or erase it."""
        ...

    async def kill(self, name: str) -> None:
        """End a node's process at once."""
        ...

    async def pause(self, name: str) -> None:
        """Stop a node's process by a signal."""
        ...

    async def resume(self, name: str) -> None:
        """Let it go on."""
        ...

    async def set_tags(self, name: str, changes: Mapping[str, str], remove: Sequence[str]) -> None:
        """Change a node's tags."""
        ...

    async def send_event(self, name: str, event: str, payload: bytes) -> None:
        """Broadcast a user event."""
        ...

    async def starve(self, name: str, delay: Latency) -> None:
        """Let a running node read late; each thing after a delay drawn anew."""
        ...

    async def feed(self, name: str) -> None:
        """Let it read in time again; one that is not starved does so already."""
        ...

    async def skew(
        self, name: str, *, rate: float | None, jump: float, drift: float, every: float
    ) -> None:
        """Let a node's clock run wrong: as `SkewArgs`."""
        ...

    async def start_twin(self, name: str, join: Sequence[str]) -> None:
        """Boot another node of the same name at another address."""
        ...

    async def kill_twin(self, name: str) -> None:
        """End it at once."""
        ...

    async def flood(
        self, name: str, rate: int, size: int, duration: float, rng: random.Random
    ) -> None:
        """Begin to send junk datagrams: so many a second, of so many bytes, for so long."""
        ...

    async def set_fault(self, name: str, fault_name: str, fault: LinkFault) -> None:
        """Add a fault to a node's links, or replace the one of that name."""
        ...

    async def clear_fault(self, name: str, fault_name: str) -> None:
        """Remove a fault; unknown ones do not matter."""
        ...

    def host_of(self, name: str) -> str:
        """A node's IP address."""
        ...

    async def checksum(self, name: str) -> str:
        """Digest of a running node's member list: names and statuses."""
        ...

    async def health_score(self, name: str) -> int:
        """A running node's local health; 0 is healthy."""
        ...

    async def usage(self) -> dict[str, Usage]:
        """What each node has sent so far; those that do not run may be missing."""
        ...

    async def total_usage(self) -> Usage | None:
        """What all nodes have sent, the dead included; None if that is not known here."""
        ...

    def violations(self) -> Sequence[str]:
        """Invariants broken so far, a line each, the first ones first; empty if nobody looks."""
        ...

    def journal_sha256(self) -> str | None:
        """Hash of the run's journal; None where there is none."""
        ...


def run_to_end(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that never suspends, as those on the simulator do, and return its result."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        value: T = stop.value
        return value
    coroutine.close()
    raise AssertionError("the simulator's backend suspended")
