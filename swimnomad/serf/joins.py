"""Joins, one at a time, and the reconnector that joins failed members again.

Source: serf.md §11.2, §21.2.
"""

from __future__ import annotations

import random
from collections import deque

from swimnomad.names import Address, host_of_ip
from swimnomad.serf.context import Context
from swimnomad.serf.intent_traffic import IntentTraffic
from swimnomad.serf.reaper import pick_reconnect
from swimnomad.swim.events import JoinFinished
from swimnomad.swim.inputs import Join, JoinTarget


class Joins:
    """The join under way and those waiting for their turn."""

    def __init__(self, context: Context, intents: IntentTraffic, rng: random.Random) -> None:
        self._context = context
        self._intents = intents
        self._rng = rng
        self._joins: deque[Join] = deque()  # The first is the one under way.

    @property
    def ignores_old_events(self) -> bool:
        """Whether the join under way wants no user events from before it."""
        return bool(self._joins) and self._joins[0].ignore_old

    def join(self, join: Join) -> None:
        """Join when it is this one's turn; `JoinFinished` reports the outcome."""
        if not self._context.is_alive:
            self.refuse(join, f"this node is {self._context.lifecycle.text}")
        elif len(self._joins) > self._context.config.waits_max:
            self.refuse(join, "too many joins are waiting")
        else:
            self._joins.append(join)
            if len(self._joins) == 1:
                self._context.orders.append(join)

    def refuse(self, join: Join, reason: str) -> None:
        """Report that a join does not take place."""
        failures = tuple((target, reason) for target in join.targets)
        self._context.emit(JoinFinished(join.operation, joined=0, failures=failures))

    def on_finished(self, event: JoinFinished, now: float) -> None:
        """The gossip layer has tried all targets."""
        if event.operation < 0:  # A reconnection; if it succeeded, the member has joined.
            return
        self._joins.popleft()
        if event.joined:
            self._intents.broadcast_join(now)
        self._context.emit(event)
        while self._joins and not self._context.is_alive:
            self.refuse(self._joins.popleft(), f"this node is {self._context.lifecycle.text}")
        if self._joins:
            self._context.orders.append(self._joins[0])

    def reconnect(self) -> None:
        """Perhaps try a failed member; who has left himself calls nobody back."""
        context = self._context
        member = pick_reconnect(context.table, self._rng) if context.is_alive else None
        if member is not None:
            target = JoinTarget(Address(host_of_ip(member.ip), member.port), member.name)
            context.orders.append(Join(context.own_operation(), (target,)))
