"""The story as data: five agents; a crash, a removal, a leave and a return."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from swimnomad.cli.story.views import Expectation

START_SECONDS = 25.0
FAIL_SECONDS = 30.0
"""A probe round and a suspicion take about 3 s; much longer if gossip passes an agent by."""
SPREAD_SECONDS = 30.0
"""Gossip takes a fraction of a second. An agent it has passed by learns from push/pull, which at
the demo's pace comes every 15 s, the first time within 30 s."""


class Stage(Protocol):
    """What a chapter may do to the agents. Each deed returns who did what, as text.

    Agents are named by their gossip names. A deed that fails raises `OperationError`.
    """

    async def listed(self, observer: str) -> Mapping[str, str]:
        """The agent's member list: status by name; empty if it does not answer."""
        ...

    async def start(self) -> str:
        """Start every agent as a process of its own that is told the addresses of some others."""
        ...

    async def kill(self, agent: str) -> str:
        """End the agent's process without a word."""
        ...

    async def force_leave(self, agent: str, by: str) -> str:
        """Tell `by` over HTTP that `agent` will not come back."""
        ...

    async def leave(self, agent: str) -> str:
        """Tell the agent over HTTP to leave; wait until its process has ended."""
        ...

    async def restart(self, agent: str) -> str:
        """Start the agent's process again as it was started first."""
        ...


@dataclass(frozen=True)
class Chapter:
    """One deed and what must be seen because of it, within `seconds` of the deed's begin.

    `sentence` explains it to a newcomer; `hero` is the member it is about, empty if all are.
    """

    title: str
    sentence: str
    hero: str
    act: Callable[[Stage], Awaitable[str]]
    expectations: tuple[Expectation, ...]
    seconds: float

    @property
    def observers(self) -> list[str]:
        """Those who must see something, in order."""
        return list(dict.fromkeys(expectation.observer for expectation in self.expectations))


def everyone_sees(
    observers: Sequence[str], members: Sequence[str], *path: str
) -> tuple[Expectation, ...]:
    """Each observer shall see each member but itself take the statuses of `path`."""
    return tuple(
        Expectation(observer, member, path)
        for observer in observers
        for member in members
        if observer != member
    )


def write_story(agents: Sequence[str]) -> list[Chapter]:
    """The chapters, for five agents of these gossip names."""
    first, second, victim, fourth, leaver = agents
    survivors = [first, second, fourth, leaver]
    stayers = [first, second, fourth]
    return [
        Chapter(
            "Start",
            "Five agents start, each told where a few of the others are; gossip tells everybody "
            "about everybody.",
            "",
            lambda stage: stage.start(),
            everyone_sees(agents, agents, "alive"),
            START_SECONDS,
        ),
        Chapter(
            "Crash",
            f"{short(victim)} is killed without a word: probes go unanswered, so it becomes a "
            "suspect, and failed when nobody hears it object.",
            victim,
            lambda stage: stage.kill(victim),
            everyone_sees(survivors, [victim], "suspect", "failed"),
            FAIL_SECONDS,
        ),
        Chapter(
            "Removal",
            f"An operator tells one agent that {short(victim)} will not come back; the word "
            "spreads, and failed becomes left everywhere.",
            victim,
            lambda stage: stage.force_leave(victim, first),
            everyone_sees(survivors, [victim], "left"),
            SPREAD_SECONDS,
        ),
        Chapter(
            "Leave",
            f"{short(leaver)} leaves by itself: it says goodbye, so it is left at once and never "
            "suspect.",
            leaver,
            lambda stage: stage.leave(leaver),
            everyone_sees(stayers, [leaver], "left"),
            SPREAD_SECONDS,
        ),
        Chapter(
            "Return",
            f"{short(victim)} starts again at its old address: it learns that it counts as left, "
            "contradicts with a higher incarnation, and is alive again.",
            victim,
            lambda stage: stage.restart(victim),
            everyone_sees(stayers, [victim], "alive") + everyone_sees([victim], stayers, "alive"),
            SPREAD_SECONDS,
        ),
    ]


def short(agent: str) -> str:
    """The node name of a gossip name: `a1` of `a1.global`."""
    return agent.partition(".")[0]
