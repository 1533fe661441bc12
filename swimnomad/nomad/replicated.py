"""Everything that requests need of the replicated state and of Raft, in one place.

Source: nomad rpc.go, raftApply, blockingRPC, setQueryMeta.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from swimnomad.errors import UsageError
from swimnomad.nomad.consensus import Consensus, NoConsensus
from swimnomad.nomad.duties.heartbeats import HeartbeatDeadlines, HeartbeatSettings
from swimnomad.nomad.failures import RequestFailed, coded
from swimnomad.nomad.identifiers import uuid_of
from swimnomad.nomad.node_links import NodeLinks
from swimnomad.nomad.requests import NEVER, Answered, Query, RegionHealth
from swimnomad.nomad.state.commands import Command, encode_command
from swimnomad.nomad.state.outcomes import Refused, Unchanged, Written
from swimnomad.nomad.state.store import StateStore
from swimnomad.nomad.state.tables import Table

if TYPE_CHECKING:
    from swimnomad.nomad.services import Services

WRITE_TIME = 10.0
"""Seconds after which a write is given up that no quorum has confirmed."""
READ_TIME = 5.0
"""Seconds after which a read is given up if no quorum confirms that this server leads."""
BLOCK_MAX = 300.0
"""Seconds that a waiting read waits at most, and unless it says otherwise."""
BLOCK_JITTER = 16
"""A waiting read waits up to a sixteenth longer, or all clients would come back together."""

Found = TypeVar("Found", bound=Answered)


class Watch(Protocol):
    """A way to wait until the state changes."""

    async def changed(self, tables: tuple[Table, ...], index: int, seconds: float) -> None:
        """Return when one of the tables was written after `index`, or the time is up.

        Returns at once if that is so already. May return early.
        """
        ...


class _Sleep:
    """A watch on a state that never changes."""

    def __init__(self, sleep: Callable[[float], Awaitable[None]]) -> None:
        self._sleep = sleep

    async def changed(self, tables: tuple[Table, ...], index: int, seconds: float) -> None:
        await self._sleep(seconds)


def _no_health() -> RegionHealth:
    return RegionHealth()


def _no_reset() -> int:
    return 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Replicated:
    """The replicated state of one server, and how it is written, read and waited for.

    Attributes:
        state: The tables.
        consensus: Raft.
        watch: Waits for changes of the tables.
        heartbeats: Deadlines of client nodes; armed while this server leads.
        links: Connections of client nodes to this server.
        health: What the leader's duties say of the servers.
        new_id: Draws a UUID that nobody can guess; secrets are such.
        acl_enabled: Whether there is access control at all.
        reset_index: The index written into the file that allows a second bootstrap of ACLs; 0 if
            there is none.
    """

    state: StateStore
    consensus: Consensus
    watch: Watch
    heartbeats: HeartbeatDeadlines
    new_id: Callable[[], str]
    links: NodeLinks = dataclasses.field(default_factory=NodeLinks)
    health: Callable[[], RegionHealth] = _no_health
    acl_enabled: bool = False
    reset_index: Callable[[], int] = _no_reset

    @classmethod
    def nothing(cls, services: Services) -> Replicated:
        """What a server has that runs without Raft: an empty state that nobody can write."""
        return cls(
            state=StateStore(),
            consensus=NoConsensus(),
            watch=_Sleep(services.sleep),
            heartbeats=HeartbeatDeadlines(HeartbeatSettings(), services.rng),
            new_id=lambda: uuid_of(services.rng),
        )

    async def write(self, command: Command, now: float) -> Written | Unchanged:
        """Have a command kept and applied.

        Raises:
            OperationError: It was refused, or could not be kept; the error says whether it may be
                in effect.
        """
        try:
            data = encode_command(command)
        except UsageError as error:
            raise RequestFailed(str(error)) from None
        outcome = await self.consensus.propose(data, now + WRITE_TIME)
        if isinstance(outcome, Refused):
            if outcome.code is None:
                raise RequestFailed(outcome.text)
            raise coded(outcome.code, outcome.text)
        return outcome

    async def read(
        self,
        request: Query[Found],
        tables: tuple[Table, ...],
        look: Callable[[], Found],
        services: Services,
    ) -> Found:
        """Answer a read, after a change if it asks for that.

        Args:
            request: If it may not be stale, a quorum confirms the lead before every look.
            tables: Those that `look` looks at.
            look: Reads the state; its `index` is compared with that of the request.
            services: The clock, and what draws.

        Raises:
            OperationError: This server does not lead any more, or `look` refuses.
        """
        asked = min(request.wait, BLOCK_MAX) if request.wait > 0 else BLOCK_MAX
        deadline = services.now() + asked + services.rng.uniform(0.0, asked / BLOCK_JITTER)
        while True:
            if not request.stale:
                await self.consensus.read_index(services.now() + READ_TIME)
            index = self.state.index_of(*tables)
            found = look()
            left = deadline - services.now()
            if not request.min_index or found.index > request.min_index or left <= 0:
                return found
            await self.watch.changed(tables, index, left)

    def about(self, index: int) -> dict[str, Any]:
        """The fields of `Answered` for a read whose latest write was at `index`."""
        status = self.consensus.status
        if self.consensus.leads:
            return {"index": index, "last_contact": 0.0, "known_leader": True}
        contact = NEVER if status.last_contact is None else status.last_contact
        known = self.consensus.leader is not None
        return {"index": index, "last_contact": contact, "known_leader": known}
