"""Joins: push/pulls with a list of addresses, one after the other, and their outcome.

Source: gossip.md §29.
"""

from __future__ import annotations

from swimnomad.swim.context import Context
from swimnomad.swim.events import JoinFinished
from swimnomad.swim.inputs import Join, JoinTarget
from swimnomad.swim.pushpull import Exchanger

SHUT_DOWN = "this node is shut down"


class Joins:
    """The joins under way. Each target is tried, also after a success."""

    def __init__(self, context: Context, exchanger: Exchanger) -> None:
        self._context = context
        self._exchanger = exchanger

    def start(self, join: Join) -> None:
        """Try the targets of a join in order; `JoinFinished` reports the outcome."""
        self._go_on(join, 0, [])

    def _go_on(self, join: Join, place: int, failures: list[tuple[JoinTarget, str]]) -> None:
        if self._context.is_stopped:
            failures += [(target, SHUT_DOWN) for target in join.targets[place:]]
            place = len(join.targets)
        if place == len(join.targets):
            joined = place - len(failures)
            self._context.emit(JoinFinished(join.operation, joined, tuple(failures)))
            return
        target = join.targets[place]

        def on_done(problem: str) -> None:
            if problem:
                failures.append((target, problem))
            self._go_on(join, place + 1, failures)

        self._exchanger.exchange(target.address, True, on_done)
