"""What the parts of a node share: its settings, its state, and the effects they ask for.

A part never makes I/O and never keeps time: it reads `now`, changes the shared state, and asks for
effects through the methods here. `SwimNode.handle` hands the effects out.
"""

from __future__ import annotations

import random

from swimnomad.names import Address
from swimnomad.swim.addresses import AllowedNetworks
from swimnomad.swim.awareness import Awareness
from swimnomad.swim.broadcasts import TransmitLimitedQueue
from swimnomad.swim.config import SwimConfig
from swimnomad.swim.delegate import Delegate
from swimnomad.swim.effects import CancelTimer, Effect, Emit, Event, SetTimer
from swimnomad.swim.events import HealthChanged, InputDropped
from swimnomad.swim.inputs import Timer
from swimnomad.swim.members import MemberTable, NodeEntry, Rules

SEQUENCE_MASK = 0xFFFF_FFFF
REASON_CHARS_MAX = 400
"""A reason may quote what a peer sent; logs must not grow with it."""


class Context:
    """The shared state of one node.

    Attributes:
        now: The node's clock (seconds) while an input is handled.
        own: Our own entry in the table; set by `Start`.
        effects: Asked for so far while an input is handled.
        counters: Name to number, for observers.
        timers: Those armed, in the order of their arming.
        is_stopped: Whether the node was shut down.
        is_compressing: Whether what is sent now is worth the time that compression takes.
    """

    own: NodeEntry

    def __init__(self, config: SwimConfig, rng: random.Random, delegate: Delegate) -> None:
        self.config = config
        self.rng = rng
        self.delegate = delegate
        self.rules = Rules(
            config.name,
            is_safe=config.compat == "safe",
            dead_node_reclaim_time=config.dead_node_reclaim_time,
        )
        self.table = MemberTable(rng)
        self.queue = TransmitLimitedQueue(config.retransmit_mult, config.broadcasts_max)
        self.awareness = Awareness(config.awareness_max_multiplier)
        self.allowed = AllowedNetworks(config.cidrs_allowed)
        self.protocol = config.versions[2]
        self.effects: list[Effect] = []
        self.counters: dict[str, int] = {}
        self.timers: dict[Timer, None] = {}
        self.is_stopped = False
        self.is_compressing = config.compression
        self.now = 0.0
        self._sequence = 0

    def emit(self, event: Event) -> None:
        """Announce an event."""
        self.effects.append(Emit(event))

    def set_timer(self, timer: Timer, at: float) -> None:
        """Arm a timer."""
        self.timers[timer] = None
        self.effects.append(SetTimer(timer, at))

    def cancel_timer(self, timer: Timer) -> None:
        """Disarm a timer."""
        if timer in self.timers:
            del self.timers[timer]
            self.effects.append(CancelTimer(timer))

    def count(self, counter: str, by: int = 1) -> None:
        """Add to a counter."""
        self.counters[counter] = self.counters.get(counter, 0) + by

    def drop(self, source: Address, kind: str, reason: str) -> None:
        """Announce and count that something a peer sent was thrown away.

        Args:
            source: Where it came from.
            kind: A word or two; there is one counter for each.
            reason: What exactly was wrong, for people.
        """
        self.count(f"dropped.{kind}")
        self.emit(InputDropped(source, reason[:REASON_CHARS_MAX], kind))

    def apply_health(self, delta: int) -> None:
        """Move the health score and announce a change."""
        if self.awareness.apply_delta(delta):
            self.emit(HealthChanged(self.awareness.score))

    def next_sequence(self) -> int:
        """A fresh sequence number; the first is 1."""
        self._sequence = (self._sequence + 1) & SEQUENCE_MASK
        return self._sequence

    def port_of(self, port: int) -> int:
        """The port to believe: before protocol 2 messages carried none, so all shared one."""
        return port if port and self.protocol >= 2 else self.own.port

    def has_others(self) -> bool:
        """Whether any other member is alive or suspect."""
        return self.table.live_count > (1 if self.own.is_live else 0)
