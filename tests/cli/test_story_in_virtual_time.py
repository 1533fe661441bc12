"""The demo's story in the simulator: what its timings and deadlines rest on."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping

import pytest

from swimnomad.cli.story.chapters import Chapter, short, write_story
from swimnomad.cli.story.pace import AGENTS, PROFILE, SCALE, STORY_SECONDS
from swimnomad.cli.story.views import Views
from swimnomad.scenario.backend import run_to_end
from swimnomad.scenario.facts import Facts
from swimnomad.scenario.model import ClusterSpec, NetworkSpec
from swimnomad.scenario.sim_backend import SimBackend
from swimnomad.serf.events import MemberFailed, MemberJoined, MemberLeft
from swimnomad.swim.effects import Event
from swimnomad.swim.events import NodeRecovered, NodeSuspected

NAMES = [f"node-{number}" for number in range(1, AGENTS + 1)]
STEP = 0.05
SEEDS = range(1, 41)
LONG_STORY = 15.0
"""Seconds; a story in which gossip passes nobody by takes a third of this."""


class VirtualStage:
    """Simulated agents that the same chapters act upon; what they announce goes into `views`."""

    def __init__(self, profile: str, scale: float, seed: int) -> None:
        self.views = Views()
        self._spec = ClusterSpec(AGENTS, profile=profile, scale=scale)  # type: ignore[arg-type] # a profile's name
        self._backend = SimBackend(Facts(0.0), seed)
        self._backend.world.observers.append(self._note)

    async def start(self) -> str:
        await self._backend.open(self._spec, NetworkSpec())
        return "booted"

    async def kill(self, agent: str) -> str:
        await self._backend.kill(short(agent))
        self.views.forget(agent)
        return "killed"

    async def force_leave(self, agent: str, by: str) -> str:
        await self._backend.force_leave(short(by), short(agent), prune=False)
        return "forced out"

    async def leave(self, agent: str) -> str:
        await self._backend.leave([short(agent)])
        return "left"

    async def restart(self, agent: str) -> str:
        await self._backend.restart(
            short(agent), same_data=True, new_address=False, join=[NAMES[0], NAMES[1]]
        )
        return "booted again"

    async def listed(self, observer: str) -> Mapping[str, str]:
        return {}

    def seconds_of(self, chapter: Chapter) -> float | None:
        """Play a chapter; how long it took, None if not all was seen within its deadline."""
        world, since = self._backend.world, len(self.views.sightings)
        begin = world.now
        run_to_end(chapter.act(self))  # type: ignore[arg-type] # chapters act in coroutines
        while self.views.missing(chapter.expectations, since):
            if world.now - begin > chapter.seconds:
                return None
            world.run_until(world.now + STEP)
        return world.now - begin

    def _note(self, time: float, node: str, event: Event) -> None:
        observer = f"{node}.global"
        match event:
            case MemberJoined(member=member):
                self.views.note(observer, member.name, "alive", time)
            case MemberFailed(member=member):
                self.views.note(observer, member.name, "failed", time)
            case MemberLeft(member=member):
                self.views.note(observer, member.name, "left", time)
            case NodeSuspected(name=name):
                self.views.note(observer, name, "suspect", time)
            case NodeRecovered(name=name):
                self.views.note(observer, name, "alive", time)
            case _:
                pass


def story_seconds(profile: str, scale: float, seed: int) -> float | None:
    """How long the whole story takes; None if a chapter did not happen."""
    stage = VirtualStage(profile, scale, seed)
    total = 0.0
    for chapter in write_story([f"{name}.global" for name in NAMES]):
        seconds = stage.seconds_of(chapter)
        if seconds is None:
            return None
        total += seconds
    return total


@pytest.fixture(scope="module")
def durations() -> dict[int, float | None]:
    return {seed: story_seconds(PROFILE, SCALE, seed) for seed in SEEDS}


def test_the_story_happens_within_its_deadlines(durations: Mapping[int, float | None]) -> None:
    late = {seed: s for seed, s in durations.items() if s is None or s > STORY_SECONDS}
    assert late == {}


def test_most_stories_are_short(durations: Mapping[int, float | None]) -> None:
    assert median(durations.values()) < 6.0


def test_with_the_profile_local_gossip_passes_agents_by_more_often(
    durations: Mapping[int, float | None],
) -> None:
    local = [story_seconds("local", SCALE, seed) for seed in SEEDS]
    assert count_long(local) > 2 * count_long(durations.values())
    assert median(local) > 2 * median(durations.values())


def count_long(durations: Iterable[float | None]) -> int:
    return sum(seconds is None or seconds > LONG_STORY for seconds in durations)


def median(durations: Iterable[float | None]) -> float:
    return statistics.median(math.inf if seconds is None else seconds for seconds in durations)
