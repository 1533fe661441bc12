"""Cores and addresses for tests of the driver: no protocol, only the seam."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from typing import Any

import trio

from swimnomad.names import Address, Operation, Stream, Value
from swimnomad.swim.effects import Effect, Event
from swimnomad.swim.inputs import Timer

_numbers = itertools.count(1)


def fresh_host() -> str:
    """A loopback address that no other test and no other pytest worker uses."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    number = next(_numbers)
    return f"127.{100 + worker}.{number // 250 % 250}.{1 + number % 250}"


def fresh_hosts(count: int) -> str:
    """The first of `count` neighbouring addresses as `fresh_host` gives them."""
    if count > 1:
        # Whole blocks keep neighbours from running over the end of a row.
        while next(_numbers) % 250 > 250 - count - 2:
            pass
    first = fresh_host()
    for _ in range(count - 1):
        fresh_host()
    return first


def fresh_address() -> Address:
    return Address(fresh_host(), 0)


class Ask(Value, frozen=True):
    """A toy command."""

    operation: Operation
    text: str = ""


class Answered(Event, frozen=True):
    """A toy outcome."""

    operation: Operation
    text: str = ""


class Noted(Event, frozen=True):
    """A toy event."""

    number: int


class Alarm(Timer, frozen=True):
    """A toy timer."""

    name: str


class Toy:
    """A core that remembers its inputs and reacts as told.

    `reactions` maps the type of an input to a function of the input and the time.
    """

    def __init__(
        self, reactions: dict[type[Any], Callable[[Any, float], list[Effect]]] | None = None
    ) -> None:
        self.inputs: list[Any] = []
        self.times: list[float] = []
        self.reactions = reactions or {}
        self._changed = trio.Event()

    def handle(self, incoming: Any, now: float) -> list[Effect]:  # noqa: ANN401 - as Core's
        self.inputs.append(incoming)
        self.times.append(now)
        self._changed.set()
        reaction = self.reactions.get(type(incoming))
        return reaction(incoming, now) if reaction is not None else []

    def seen(self, kind: type[Any]) -> list[Any]:
        """Inputs of one type so far."""
        return [one for one in self.inputs if isinstance(one, kind)]

    async def wait_for(self, kind: type[Any], count: int = 1) -> Any:  # noqa: ANN401 - of any kind
        """The `count`-th input of this type; waits for it."""
        await self.wait_until(lambda: len(self.seen(kind)) >= count)
        return self.seen(kind)[count - 1]

    async def wait_until(self, condition: Callable[[], bool]) -> None:
        """Return once the condition holds; it is looked at after every input."""
        while not condition():
            self._changed = trio.Event()
            await self._changed.wait()


def outbound(number: int) -> Stream:
    return Stream(False, number)


async def until(condition: Callable[[], bool]) -> None:
    """Return once a condition holds that nobody announces; the test's own deadline bounds it."""
    while not condition():  # noqa: ASYNC110 - what the system counts has no event
        await trio.sleep(0.005)
