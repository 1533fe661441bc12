"""What the parts of a Serf node share: settings, clocks, members, queues, and the way out.

A part never does anything to the world: it changes this shared state and asks for effects through
the methods here. `SerfNode.handle` hands the effects out.
"""

from __future__ import annotations

from collections import deque

from swimnomad.names import Operation
from swimnomad.serf.config import SerfConfig
from swimnomad.serf.lamport import Clocks
from swimnomad.serf.lifecycle import Lifecycle
from swimnomad.serf.membership import Membership
from swimnomad.serf.queues import BroadcastQueues
from swimnomad.serf.timers import SerfTimer
from swimnomad.swim.effects import CancelTimer, Effect, Emit, Event, SetTimer
from swimnomad.swim.inputs import SwimInput


class Context:
    """The shared state of one node.

    Attributes:
        name: The node's own name.
        lifecycle: Where the node stands.
        orders: Inputs for the gossip layer, given to it once it has returned from its present one.
        effects: Asked for so far while an input is handled.
    """

    def __init__(self, config: SerfConfig) -> None:
        self.config = config
        self.name = config.swim.name
        self.clocks = Clocks()
        self.membership = Membership(config, self.clocks.member)
        self.table = self.membership.table
        self.queues = BroadcastQueues(config)
        self.lifecycle = Lifecycle.ALIVE
        self.orders: deque[SwimInput] = deque()
        self.effects: list[Effect] = []
        self._armed: dict[SerfTimer, None] = {}
        self._own_operations = 0

    @property
    def is_alive(self) -> bool:
        """Whether the node neither leaves nor has left."""
        return self.lifecycle is Lifecycle.ALIVE

    def own_operation(self) -> Operation:
        """A number for an order of our own; below 0, so that no caller's can be the same."""
        self._own_operations -= 1
        return self._own_operations

    def emit(self, event: Event | None) -> None:
        """Announce an event, if there is one."""
        if event is not None:
            self.effects.append(Emit(event))

    def set_timer(self, timer: SerfTimer, at: float) -> None:
        """Arm a timer, or arm it anew."""
        self._armed[timer] = None
        self.effects.append(SetTimer(timer, at))

    def set_tick(self, timer: SerfTimer, interval: float, now: float) -> None:
        """Arm a timer after an interval; an interval of 0 means never."""
        if interval > 0:
            self.set_timer(timer, now + interval)

    def cancel_timer(self, timer: SerfTimer) -> None:
        """Disarm a timer that may be armed."""
        if timer in self._armed:
            del self._armed[timer]
            self.effects.append(CancelTimer(timer))

    def on_timer_fired(self, timer: SerfTimer) -> None:
        """Note that a timer is not armed any more."""
        self._armed.pop(timer, None)

    def cancel_all_timers(self) -> None:
        """Disarm everything: the node stops."""
        self.effects += [CancelTimer(timer) for timer in self._armed]
        self._armed.clear()
