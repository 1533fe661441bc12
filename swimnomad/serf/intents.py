"""Intents about names that are not members yet, kept until the member appears.

A join or leave intent travels by gossip and may overtake the alive message that introduces its
node. Without this buffer such an intent would be lost, and a node that has long said goodbye would
show up as alive.
"""

from __future__ import annotations

import enum
from typing import NamedTuple


class IntentKind(enum.Enum):
    """What an intent announces."""

    JOIN = "join"
    LEAVE = "leave"


class BufferedIntent(NamedTuple):
    """The newest intent about one name; `arrived` is the node's clock in seconds."""

    kind: IntentKind
    ltime: int
    arrived: float


class IntentBuffer:
    """At most one intent a name, the one with the highest Lamport time, whichever its kind.

    Holds at most `limit` names: an unknown name beyond that is refused, so that a flood of
    invented names neither grows the buffer nor is passed on by us.

    Source: serf.md §10.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._intents: dict[str, BufferedIntent] = {}

    def __len__(self) -> int:
        """Number of names with an intent."""
        return len(self._intents)

    def upsert(self, name: str, kind: IntentKind, ltime: int, now: float) -> bool:
        """Remember an intent if it is news; tell whether it was stored."""
        known = self._intents.get(name)
        if known is None:
            if len(self._intents) >= self._limit:
                return False
        elif ltime <= known.ltime:
            return False
        self._intents[name] = BufferedIntent(kind, ltime, now)
        return True

    def find(self, name: str, kind: IntentKind) -> int | None:
        """Lamport time of the intent of this kind about `name`; None if there is none."""
        known = self._intents.get(name)
        return known.ltime if known is not None and known.kind is kind else None

    def reap(self, now: float, timeout: float) -> int:
        """Forget every intent that is older than `timeout` seconds; return how many went."""
        expired = [name for name, intent in self._intents.items() if now - intent.arrived > timeout]
        for name in expired:
            del self._intents[name]
        return len(expired)
