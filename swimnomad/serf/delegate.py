"""The Serf layer's answers to what the gossip layer asks while it works."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from swimnomad.serf.filter import AdmissionControl
from swimnomad.serf.members import MemberTable
from swimnomad.serf.queues import BroadcastQueues
from swimnomad.swim.events import NodeView


class SerfDelegate:
    """A `Delegate`: reads the state of the Serf layer, changes nothing but the queues."""

    def __init__(
        self,
        table: MemberTable,
        queues: BroadcastQueues,
        write_state: Callable[[], bytes],
        admission: AdmissionControl,
    ) -> None:
        self._table = table
        self._queues = queues
        self._write_state = write_state
        self._admission = admission

    def broadcasts(self, overhead: int, limit: int, now: float) -> list[bytes]:
        """Intents, queries and events for a datagram, in this order of importance."""
        return self._queues.fetch(overhead, limit, len(self._table))

    def has_broadcasts(self) -> bool:
        """Whether any intent, query or event waits."""
        return self._queues.is_waiting

    def local_state(self, is_join: bool) -> bytes:
        """Clocks, statuses and recent events for a push/pull, whatever its occasion."""
        return self._write_state()

    def ack_payload(self) -> bytes:
        """Nothing: there is no network coordinate to tell."""
        return b""

    def refuse_alive(self, node: NodeView) -> str:
        """Why an alive message must be ignored; empty to accept."""
        return self._admission.refuse_alive(node)

    def refuse_merge(self, nodes: Sequence[NodeView], states: Sequence[int]) -> str:
        """Why a join exchange must be refused; empty to accept."""
        return self._admission.refuse_merge(nodes, states)
