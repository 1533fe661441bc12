"""The demo's story on a stage without processes: what counts as having happened."""

from __future__ import annotations

import io
import time
from collections.abc import Mapping, Sequence

import pytest
import trio
from rich.console import Console

from swimnomad.cli.story.chapters import Chapter, everyone_sees, write_story
from swimnomad.cli.story.screens import LiveScreen, PlainScreen
from swimnomad.cli.story.tell import Record, tell
from swimnomad.cli.story.timeline import summary, timeline
from swimnomad.cli.story.views import UNKNOWN, Expectation, Views
from swimnomad.errors import OperationError

AGENTS = [f"a{number}.global" for number in range(1, 6)]
ADDRESSES = {name: f"http://127.0.0.{number}:4646" for number, name in enumerate(AGENTS, 1)}
SUSPECT_THEN_FAILED = Expectation("a1.global", "a3.global", ("suspect", "failed"))


class SilentNarrator:
    def begin(self, number: int, total: int, chapter: Chapter) -> None:
        pass

    def deed(self, text: str) -> None:
        pass

    def end(self, record: Record) -> None:
        pass


class PerfectStage:
    """Agents whose every view changes at once and as it should; tests spoil it by overriding."""

    def __init__(self, views: Views) -> None:
        self.views = views
        self.alive = list(AGENTS)

    def all_see(self, member: str, *statuses: str) -> None:
        for status in statuses:
            for observer in self.alive:
                if observer != member:
                    self.views.note(observer, member, status, time.time())

    async def listed(self, observer: str) -> Mapping[str, str]:
        return {member: self.views.status(observer, member) for member in AGENTS}

    async def start(self) -> str:
        for member in AGENTS:
            self.all_see(member, "alive")
        return f"{len(AGENTS)} processes started"

    async def kill(self, agent: str) -> str:
        self.alive.remove(agent)
        self.views.forget(agent)
        self.all_see(agent, "suspect", "failed")
        return "SIGKILL to process 1"

    async def force_leave(self, agent: str, by: str) -> str:
        self.all_see(agent, "left")
        return f"PUT /v1/agent/force-leave at {by}"

    async def leave(self, agent: str) -> str:
        self.alive.remove(agent)
        self.all_see(agent, "left")
        return f"PUT /v1/swimnomad/leave at {agent}"

    async def restart(self, agent: str) -> str:
        self.alive.append(agent)
        for member in self.alive:
            self.all_see(member, "alive")
        return f"process 2 started for {agent}"


def hurried(chapters: Sequence[Chapter]) -> list[Chapter]:
    """The same chapters with hardly any patience: what is missing here stays missing."""
    return [
        Chapter(c.title, c.sentence, c.hero, c.act, c.expectations, seconds=0.01) for c in chapters
    ]


async def play(stage: PerfectStage, views: Views) -> list[Record]:
    records: list[Record] = []
    chapters = hurried(write_story(AGENTS))
    await tell(chapters, stage, views, SilentNarrator(), records, seconds=60)
    return records


def test_a_status_seen_again_is_no_news() -> None:
    views = Views()
    views.note("a1", "a2", "alive", 1.0)
    views.note("a1", "a2", "alive", 2.0)
    assert [(s.time, s.before, s.after) for s in views.sightings] == [(1.0, UNKNOWN, "alive")]


@pytest.mark.parametrize(
    ("event", "status"),
    [
        ("member-joined", "alive"),
        ("node-suspected", "suspect"),
        ("member-failed", "failed"),
        ("member-left", "left"),
        ("member-updated", UNKNOWN),
        ("something-new", UNKNOWN),
    ],
)
def test_events_of_an_agent_become_statuses(event: str, status: str) -> None:
    views = Views()
    views.note_event("a1", event, "a2", 1.0)
    assert views.status("a1", "a2") == status


def test_an_expectation_wants_its_path_in_order() -> None:
    views = Views()
    views.note("a1.global", "a3.global", "failed", 1.0)
    views.note("a1.global", "a3.global", "suspect", 2.0)
    assert views.fulfilled_at(SUSPECT_THEN_FAILED, since=0) is None
    views.note("a1.global", "a3.global", "failed", 3.0)
    assert views.fulfilled_at(SUSPECT_THEN_FAILED, since=0) == {"suspect": 2.0, "failed": 3.0}


def test_what_was_seen_before_the_deed_does_not_count() -> None:
    views = Views()
    views.note("a1.global", "a3.global", "suspect", 1.0)
    since = len(views.sightings)
    views.note("a1.global", "a3.global", "failed", 2.0)
    assert views.missing([SUSPECT_THEN_FAILED], since) == [SUSPECT_THEN_FAILED]


async def test_waiting_ends_as_soon_as_everything_was_seen(
    autojump_clock: trio.testing.MockClock,
) -> None:
    views = Views()

    async def see_after_a_while() -> None:
        await trio.sleep(3)
        views.note("a1.global", "a3.global", "suspect", 1.0)
        await trio.sleep(4)
        views.note("a1.global", "a3.global", "failed", 2.0)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(see_after_a_while)
        begin = trio.current_time()
        await views.wait_for([SUSPECT_THEN_FAILED], 0)
        assert trio.current_time() - begin == pytest.approx(7)


async def test_a_chapter_ends_at_its_deadline_with_what_is_missing(
    autojump_clock: trio.testing.MockClock,
) -> None:
    class DeafCrash(PerfectStage):
        async def kill(self, agent: str) -> str:
            return "nothing"

    views = Views()
    records: list[Record] = []
    begin = trio.current_time()
    story = write_story(AGENTS)
    await tell(story, DeafCrash(views), views, SilentNarrator(), records, seconds=60)
    assert trio.current_time() - begin == pytest.approx(story[1].seconds)
    assert [len(record.missing) for record in records] == [0, 4]


async def test_the_whole_story_has_a_deadline_too(autojump_clock: trio.testing.MockClock) -> None:
    class Stuck(PerfectStage):
        async def kill(self, agent: str) -> str:
            await trio.sleep_forever()
            raise AssertionError("unreachable")

    views = Views()
    records: list[Record] = []
    begin = trio.current_time()
    chapters = write_story(AGENTS)
    await tell(chapters, Stuck(views), views, SilentNarrator(), records, seconds=12, pause=3)
    assert trio.current_time() - begin == pytest.approx(12)
    assert records[-1].problem == "it was not done within 6 s"


def test_the_story_wants_every_transition_at_every_live_agent() -> None:
    joining, crash, removal, leave, back = write_story(AGENTS)
    assert len(joining.expectations) == 5 * 4
    assert (
        crash.observers == removal.observers == ["a1.global", "a2.global", "a4.global", "a5.global"]
    )
    assert {e.path for e in crash.expectations} == {("suspect", "failed")}
    assert leave.observers == ["a1.global", "a2.global", "a4.global"]
    assert set(back.expectations) >= set(everyone_sees(leave.observers, ["a3.global"], "alive"))


async def test_the_whole_story_happens_on_a_perfect_stage() -> None:
    views = Views()
    records = await play(PerfectStage(views), views)
    assert [record.happened for record in records] == [True] * 5
    text = summary(records, 5, 20.0).plain
    assert text.startswith("All 5 chapters happened")


async def test_a_transition_that_one_agent_misses_stops_the_story() -> None:
    class BlindToSuspicion(PerfectStage):
        async def kill(self, agent: str) -> str:
            deed = await super().kill(agent)
            self.views.sightings = [
                s for s in self.views.sightings if (s.observer, s.after) != ("a4.global", "suspect")
            ]
            return deed

    views = Views()
    records = await play(BlindToSuspicion(views), views)
    assert [record.happened for record in records] == [True, False]
    [missing] = records[1].missing
    assert missing == Expectation("a4.global", "a3.global", ("suspect", "failed"))
    assert "a4 of a3 suspect -> failed" in summary(records, 5, 1.0).plain


async def test_a_member_list_that_contradicts_the_events_stops_the_story() -> None:
    class TwoTongued(PerfectStage):
        async def listed(self, observer: str) -> Mapping[str, str]:
            truth = dict(await super().listed(observer))
            if observer == "a2.global" and truth["a3.global"] == "left":
                truth["a3.global"] = "failed"
            return truth

    views = Views()
    records = await play(TwoTongued(views), views)
    assert [record.happened for record in records] == [True, True, False]
    assert "its member list says failed" in records[2].problem


async def test_a_deed_that_fails_stops_the_story_with_its_reason() -> None:
    class NoLeave(PerfectStage):
        async def leave(self, agent: str) -> str:
            raise OperationError("the process did not end", may_have_happened=True)

    views = Views()
    records = await play(NoLeave(views), views)
    assert [record.happened for record in records] == [True, True, True, False]
    assert "the process did not end" in summary(records, 5, 1.0).plain


async def test_the_plain_screen_tells_everything_in_lines() -> None:
    lines: list[str] = []
    start = time.time()
    screen = PlainScreen(ADDRESSES, lines.append, clock=lambda: start + 1.5)
    views = Views()
    views.on_sighting = screen.sighting
    story = hurried(write_story(AGENTS))
    await tell(story, PerfectStage(views), views, screen, [], seconds=60)
    text = "\n".join(lines)
    assert "a5 answers at http://127.0.0.5:4646" in text
    assert "[2/5] Crash. a3 is killed without a word" in text
    assert "a1 sees a3: alive\n" in text
    assert "a1 sees a1" not in text
    assert "a1 sees a3: alive -> suspect" in text
    assert "a4 sees a3: suspect -> failed" in text
    assert "done: SIGKILL to process 1" in text
    assert "seen by all 4: median after" in text


async def test_the_live_screen_shows_addresses_statuses_and_news() -> None:
    views = Views()
    console = Console(file=io.StringIO(), width=120, force_terminal=True, color_system=None)
    screen = LiveScreen(ADDRESSES, views, console)
    stage = PerfectStage(views)
    await tell(hurried(write_story(AGENTS))[:2], stage, views, screen, [], seconds=60)
    with console.capture() as capture:
        console.print(screen.draw())
    text = capture.get()
    for address in ADDRESSES.values():
        assert address in text
    assert "2/5 Crash. a3 is killed" not in text  # only two chapters were given
    assert "2/2 Crash. a3 is killed" in text
    assert "failed" in text
    assert "seen by all 4" in text


async def test_the_timeline_measures_every_observer() -> None:
    views = Views()
    records = await play(PerfectStage(views), views)
    console = Console(file=io.StringIO(), width=200)
    with console.capture() as capture:
        console.print(timeline(records, records[0].began))
    text = capture.get()
    assert "Crash: a3 suspect -> failed" in text
    assert "SIGKILL to process 1" in text
    for observer in ("a1", "a2", "a4", "a5"):
        assert f"{observer}: suspect 0.0" in text
