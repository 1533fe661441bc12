"""Plays the chapters one after another and records what really happened."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import trio

from swimnomad.cli.story.chapters import Chapter, Stage
from swimnomad.cli.story.views import Expectation, Views
from swimnomad.errors import OperationError, UsageError


class Narrator(Protocol):
    """Who tells the spectator what goes on."""

    def begin(self, number: int, total: int, chapter: Chapter) -> None:
        """A chapter begins."""
        ...

    def deed(self, text: str) -> None:
        """Something was done."""
        ...

    def end(self, record: Record) -> None:
        """A chapter is over."""
        ...


@dataclass(frozen=True)
class Record:
    """What became of one chapter.

    `began` is when its deed began, in seconds since the epoch; `seen` has, for each fulfilled
    expectation, the seconds from then to each status. `problem` is empty or says why the deed
    failed.
    """

    chapter: Chapter
    began: float
    deed: str = ""
    problem: str = ""
    seen: Mapping[Expectation, Mapping[str, float]] = field(default_factory=dict)
    missing: Sequence[Expectation] = ()

    @property
    def happened(self) -> bool:
        """Whether the deed was done and everything expected was seen."""
        return not self.problem and not self.missing

    def delays(self) -> dict[str, float]:
        """Observer -> seconds from the deed until it had seen everything it was to see."""
        last: dict[str, float] = {}
        for expectation, times in self.seen.items():
            done = max(times.values())
            last[expectation.observer] = max(done, last.get(expectation.observer, done))
        return last

    @property
    def median(self) -> float:
        """Median of the delays; only if anything was seen."""
        return statistics.median(self.delays().values())


async def tell(
    chapters: Sequence[Chapter],
    stage: Stage,
    views: Views,
    narrator: Narrator,
    records: list[Record],
    *,
    seconds: float,
    pause: float = 0.0,
) -> None:
    """Play the chapters; stop after the first that did not happen, the others build on it.

    Args:
        chapters: In order.
        stage: Where they are played.
        views: What the agents see; somebody else writes it.
        narrator: Is told what goes on.
        records: Is given what became of each chapter, so that it is known even if cancelled.
        seconds: How long all of it may take.
        pause: Seconds to read a chapter's sentence before anything happens.
    """
    deadline = trio.current_time() + seconds
    for number, chapter in enumerate(chapters, 1):
        narrator.begin(number, len(chapters), chapter)
        await trio.sleep(pause)
        left = max(0.0, deadline - trio.current_time())
        record = await _play(chapter, stage, views, narrator, min(chapter.seconds, left))
        records.append(record)
        narrator.end(record)
        if not record.happened:
            break


async def _play(
    chapter: Chapter, stage: Stage, views: Views, narrator: Narrator, seconds: float
) -> Record:
    since = len(views.sightings)
    began = time.time()
    deed, problem = "", f"it was not done within {seconds:.0f} s"
    with trio.move_on_after(seconds):
        try:
            deed, problem = await chapter.act(stage), ""
            narrator.deed(deed)
            await views.wait_for(chapter.expectations, since)
            problem = await _contradiction(chapter, stage)
        except (OperationError, UsageError) as error:
            problem = str(error)
    missing = views.missing(chapter.expectations, since)
    seen = {}
    for expectation in chapter.expectations:
        if (times := views.fulfilled_at(expectation, since)) is not None:
            seen[expectation] = {status: max(0.0, at - began) for status, at in times.items()}
    return Record(chapter, began, deed, problem, seen, missing)


async def _contradiction(chapter: Chapter, stage: Stage) -> str:
    """What the member lists say against the events; empty if both agree.

    An event is announced when the list has changed already, so this does not wait.
    """
    for observer in chapter.observers:
        listed = await stage.listed(observer)
        for expectation in chapter.expectations:
            status = listed.get(expectation.member, "unknown")
            if expectation.observer == observer and status != expectation.path[-1]:
                return (
                    f"{observer} announced {expectation.member} as {expectation.path[-1]}, "
                    f"but its member list says {status}"
                )
    return ""
