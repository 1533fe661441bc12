"""A core whose sends and receives block for a while, as Lifeguard's authors made members slow.

Their members block just before a message is sent and just after one was received; clocks run on.
memberlist has one task that probes and one that gossips, and each stops at its first send; what a
round waits for is looked at only once that send is through, and then its time is long over. The
timers of suspicions belong to no such task: they strike while the member is deaf to refutations.

What came in meanwhile is not read in no time, either: one message takes `reading`, and a member
that is free only for moments falls behind. How long it took theirs is not known.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from swimnomad.names import Value
from swimnomad.swim.core import Core
from swimnomad.swim.effects import CancelTimer, Effect, Emit, SetTimer
from swimnomad.swim.inputs import Timer, TimerFired
from swimnomad.swim.node import SwimNode
from swimnomad.swim.timers import (
    GossipTick,
    ProbeDeadline,
    ProbeTick,
    ProbeTimeout,
)


class Stall(Value, frozen=True):
    """From now on sends and receives block."""


class GoOn(Value, frozen=True):
    """All goes on: first what was to be sent, then what came due, then what came in."""


_TICKS = (ProbeTick, GossipTick)
"""Their tasks get as far as the first send of the stall; later ticks wait."""
_ROUND = (ProbeTimeout, ProbeDeadline)
"""What a probe round waits for; its task does not look while it stands at a send."""


class Read(Timer, frozen=True):
    """The next message of those that wait has been read."""


class Stalling:
    """Wraps a core. While it stalls, effects other than timers and events wait as well.

    Args:
        core: What is wrapped.
        swim: Its gossip layer.
        reading: Seconds that reading a message takes while others wait; 0: none.
    """

    def __init__(self, core: Core, swim: SwimNode, reading: float = 0.0) -> None:
        self._core = core
        self.swim = swim
        self._reading = reading
        self._is_stalled = False
        self._held: list[Effect] = []
        self._overdue: dict[Timer, None] = {}
        self._inbox: deque[Any] = deque()
        self._blocked: dict[type[Timer], None] = {}

    def handle(self, incoming: Any, now: float) -> list[Effect]:  # noqa: ANN401 - as `Core`
        """Pass on, or keep for later."""
        if isinstance(incoming, Stall):
            self._is_stalled = True
            return []
        if isinstance(incoming, GoOn):
            return self._go_on(now)
        if not isinstance(incoming, TimerFired):
            if self._is_stalled or self._inbox:
                self._inbox.append(incoming)
                return []
            return self._core.handle(incoming, now)
        if isinstance(incoming.timer, Read):
            return [] if self._is_stalled else self._read(now)
        if not self._is_stalled:
            return self._core.handle(incoming, now)
        kind = type(incoming.timer)
        if kind in _ROUND or kind in self._blocked:
            self._overdue[incoming.timer] = None
            return []
        effects = self._core.handle(incoming, now)
        held = [effect for effect in effects if _blocks(effect)]
        if held and kind in _TICKS:
            self._blocked[kind] = None
        self._held += held
        return [effect for effect in effects if not _blocks(effect)]

    def _go_on(self, now: float) -> list[Effect]:
        self._is_stalled = False
        self._blocked.clear()
        effects, self._held = self._held, []
        while self._overdue:
            timer = next(iter(self._overdue))
            del self._overdue[timer]
            effects += self._take(TimerFired(timer), now)
        if self._reading and self._inbox:
            return [*effects, SetTimer(Read(), now + self._reading)]
        while self._inbox:
            effects += self._read(now)
        return effects

    def _read(self, now: float) -> list[Effect]:
        effects = self._core.handle(self._inbox.popleft(), now)
        if self._reading and self._inbox:
            effects.append(SetTimer(Read(), now + self._reading))
        return effects

    def _take(self, incoming: TimerFired, now: float) -> list[Effect]:
        effects = self._core.handle(incoming, now)
        for effect in effects:
            # What is cancelled or set anew while it waits must not strike for its old reason.
            if isinstance(effect, CancelTimer | SetTimer):
                self._overdue.pop(effect.timer, None)
        return effects


def _blocks(effect: Effect) -> bool:
    return not isinstance(effect, SetTimer | CancelTimer | Emit)
