"""Toy cores for the tests of the simulator: one that does as told, one that gossips a little."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from swimnomad.names import Address, Stream, Value
from swimnomad.sim.host import Host
from swimnomad.sim.world import World
from swimnomad.swim.effects import Effect, Emit, Event, SendDatagram, SetTimer
from swimnomad.swim.inputs import DatagramReceived, Start, Timer, TimerFired

Reaction = Callable[[Any, float], list[Effect]]


class Alarm(Timer, frozen=True):
    """A timer with a number."""

    number: int = 0


class Tick(Timer, frozen=True):
    """The gossiper's round."""


class Noted(Event, frozen=True):
    """Something a toy announces."""

    text: str


class Command(Value, frozen=True):
    """Makes a toy ask for effects at once."""

    effects: tuple[Any, ...]


class Toy:
    """Keeps every input with its time; answers by its table of reactions."""

    def __init__(self, reactions: dict[type, Reaction] | None = None) -> None:
        self.seen: list[tuple[float, Value]] = []
        self._reactions = reactions or {}

    def handle(self, incoming: Value, now: float) -> list[Effect]:
        self.seen.append((now, incoming))
        if isinstance(incoming, Command):
            return list(incoming.effects)
        reaction = self._reactions.get(type(incoming))
        return reaction(incoming, now) if reaction else []

    def inputs(self, *kinds: type) -> list[Value]:
        """What came in so far, of these classes alone if any are named."""
        return [one for _, one in self.seen if not kinds or isinstance(one, kinds)]

    def times(self, *kinds: type) -> list[float]:
        """When it came in."""
        return [now for now, one in self.seen if isinstance(one, kinds)]


class Gossiper:
    """Sends a random byte to a random peer at random times; the journal shows every draw."""

    def __init__(self, rng: random.Random, peers: list[Address]) -> None:
        self._rng, self._peers = rng, peers

    def handle(self, incoming: Value, now: float) -> list[Effect]:
        match incoming:
            case Start() | TimerFired():
                to = self._peers[self._rng.randrange(len(self._peers))]
                return [
                    SendDatagram(to, self._rng.randbytes(8)),
                    SetTimer(Tick(), now + self._rng.uniform(0.1, 0.2)),
                ]
            case DatagramReceived(data, source):
                return [Emit(Noted(f"{data.hex()} from {source}"))]
            case _:
                return []


def two_hosts(
    world: World, first: Toy | None = None, second: Toy | None = None
) -> tuple[Host, Toy, Host, Toy]:
    """Two booted hosts `a` and `b` with their toys."""
    one, other = first or Toy(), second or Toy()
    a, b = world.add_host("a"), world.add_host("b")
    a.boot(one)
    b.boot(other)
    return a, one, b, other


def outbound(number: int) -> Stream:
    """Name of a stream that a toy dials."""
    return Stream(False, number)
