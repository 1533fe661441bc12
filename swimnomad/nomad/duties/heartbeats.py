"""When the leader takes a client node for down.

Every registration and heartbeat of a node sets its deadline anew: the TTL that it was told, and
a grace. The deadlines are the leader's alone and die with its lead; a new leader gives every node
a long time, since a node may have heard another one just before.

Time in which this server itself stood still does not count: it could not have heard anybody. A gap
between two signs of life of its own moves every deadline by as much. And nobody is taken for down
before a quorum has confirmed that this server still leads: that is for whoever calls `expire`.

Source: rpc.md §10.4; nomad heartbeat.go.
"""

from __future__ import annotations

import random
from collections.abc import Iterable

from swimnomad.names import Value
from swimnomad.nomad.failures import RequestFailed
from swimnomad.nomad.identifiers import key_of

TICK_INTERVAL = 1.0
"""Seconds between two looks at the deadlines."""
STANDSTILL_MIN = 2.5 * TICK_INTERVAL
"""Shortest gap that counts as this server's own standstill."""
RETRY_INTERVAL = 10.0
"""Seconds until a node is looked at again whose status could not be written."""


class HeartbeatSettings(Value, frozen=True, kw_only=True):
    """Nomad's settings; seconds, and heartbeats a second.

    The shortest TTL is `ttl_min`; with many nodes it grows, so that all of them together send no
    more than `per_second_max`. A new leader gives `failover_ttl`.
    """

    ttl_min: float = 10.0
    grace: float = 10.0
    per_second_max: float = 50.0
    failover_ttl: float = 300.0


class HeartbeatDeadlines:
    """The deadlines of all nodes that are not down, while this server leads."""

    def __init__(self, settings: HeartbeatSettings, rng: random.Random) -> None:
        self._settings = settings
        self._rng = rng
        self._deadlines: dict[str, float] = {}  # by key of the node, without `_stood_still`
        self._stood_still = 0.0
        self._seen_at: float | None = None

    @property
    def is_armed(self) -> bool:
        """Whether this server leads, so that nodes are watched."""
        return self._seen_at is not None

    def arm(self, node_ids: Iterable[str], now: float) -> None:
        """Begin to watch, as a new leader; `node_ids` are the nodes that are not down."""
        self._stood_still, self._seen_at = 0.0, now
        deadline = now + self._settings.failover_ttl
        self._deadlines = {key_of(node_id): deadline for node_id in node_ids}

    def disarm(self) -> None:
        """Watch no more."""
        self._deadlines.clear()
        self._seen_at = None

    def reset(self, node_id: str, now: float) -> float:
        """A node was heard; return the seconds after which it has to send its next heartbeat.

        Raises:
            RequestFailed: This server does not lead any more. What the node said was done.
        """
        if not self.is_armed:
            raise RequestFailed(
                "failed to reset heartbeat since server is not leader", may_have_happened=True
            )
        self._note_time(now)
        key = key_of(node_id)
        count = len(self._deadlines) + (key not in self._deadlines)
        settings = self._settings
        base = max(settings.ttl_min, count / settings.per_second_max)
        ttl = base + self._rng.uniform(0.0, base)  # or all would come at once, for ever
        self._deadlines[key] = now + ttl + settings.grace - self._stood_still
        return ttl

    def forget(self, node_id: str) -> None:
        """Watch a node no longer: it is down, or gone."""
        self._deadlines.pop(key_of(node_id), None)

    def overdue(self, now: float) -> tuple[str, ...]:
        """Keys of the nodes whose time is up. Has to be called every `TICK_INTERVAL`."""
        if not self.is_armed:
            return ()
        self._note_time(now)
        shown = now - self._stood_still
        return tuple(key for key, deadline in self._deadlines.items() if deadline <= shown)

    def expire(self, keys: Iterable[str], now: float) -> tuple[str, ...]:
        """Those of the nodes that were not heard meanwhile; they are watched no longer."""
        late = set(self.overdue(now))
        expired = tuple(key for key in keys if key in late)
        for key in expired:
            del self._deadlines[key]
        return expired

    def try_again(self, key: str, now: float) -> None:
        """The status of a node could not be written: look at it again after a while."""
        if self.is_armed:
            later = now + RETRY_INTERVAL - self._stood_still
            self._deadlines.setdefault(key, later)

    def _note_time(self, now: float) -> None:
        assert self._seen_at is not None
        gap = now - self._seen_at
        if gap > STANDSTILL_MIN:
            self._stood_still += gap
        self._seen_at = now
