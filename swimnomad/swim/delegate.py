"""What the gossip layer asks of the layer above while it works (memberlist's hooks)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from swimnomad.swim.events import NodeView


class Delegate(Protocol):
    """Questions with an immediate answer. None may raise or call back into the node.

    What needs no answer (joins, leaves, user messages) is announced by events instead.
    """

    def broadcasts(self, overhead: int, limit: int, now: float) -> list[bytes]:
        """Application messages for a datagram with `limit` bytes left, each `overhead` longer.

        Called for each datagram with room left, after the membership broadcasts.
        """
        ...

    def has_broadcasts(self) -> bool:
        """Whether any application message waits to be gossiped."""
        ...

    def local_state(self, is_join: bool) -> bytes:
        """The application part of an outgoing push/pull; may be empty."""
        ...

    def ack_payload(self) -> bytes:
        """Payload for the ack of a direct UDP ping; empty for none."""
        ...

    def refuse_alive(self, node: NodeView) -> str:
        """Why this alive message must be ignored; empty to accept. Asked about ourselves, too."""
        ...

    def refuse_merge(self, nodes: Sequence[NodeView], states: Sequence[int]) -> str:
        """Why a join exchange with these records must be refused; empty to accept.

        `states` are the wire states (0 alive, 1 suspect, 2 dead, 3 left), one for each node.
        """
        ...


class NoDelegate:
    """The delegate of a node without an application: nothing to say, everything accepted."""

    def broadcasts(self, overhead: int, limit: int, now: float) -> list[bytes]:
        """Return nothing to gossip."""
        return []

    def has_broadcasts(self) -> bool:
        """Have nothing to gossip."""
        return False

    def local_state(self, is_join: bool) -> bytes:
        """Return an empty state."""
        return b""

    def ack_payload(self) -> bytes:
        """Return no payload."""
        return b""

    def refuse_alive(self, node: NodeView) -> str:
        """Accept every node."""
        return ""

    def refuse_merge(self, nodes: Sequence[NodeView], states: Sequence[int]) -> str:
        """Accept every merge."""
        return ""
