"""The whole demo: agents, watchers, screen, timeline, and the way out when it is interrupted."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, Self

import trio
from rich.console import Console
from rich.text import Text

from swimnomad.cli.failures import OPERATION_FAILED
from swimnomad.cli.interrupts import cancelled_by_signals
from swimnomad.cli.output import console
from swimnomad.cli.story.chapters import Chapter, write_story
from swimnomad.cli.story.pace import AGENTS, PROFILE, READING_SECONDS, SCALE, STORY_SECONDS
from swimnomad.cli.story.screens import LiveScreen, PlainScreen
from swimnomad.cli.story.stage import ProcessStage, agent_names, choose_base
from swimnomad.cli.story.tell import Narrator, Record, tell
from swimnomad.cli.story.timeline import summary, timeline
from swimnomad.cli.story.views import Sighting, Views
from swimnomad.cli.story.watcher import Watcher
from swimnomad.live.cluster import ClusterSpec


class Screen(Narrator, Protocol):
    """A narrator that also shows every change of a view, while it is entered."""

    def __enter__(self) -> Self:
        """Begin to show."""
        ...

    def __exit__(self, *_: object) -> None:
        """Stop."""
        ...

    def sighting(self, sighting: Sighting) -> None:
        """A view has changed."""
        ...


async def show(base: str | None) -> int:
    """Tell the story on this machine; return the exit status.

    Args:
        base: First address of the agents; None for a free one.

    Raises:
        UsageError: If `base` is no address.
        OperationError: If the agents cannot listen there.
    """
    start = time.time()
    out = console()
    records: list[Record] = []
    chosen = choose_base(AGENTS, base)
    chapters = write_story(agent_names(AGENTS))
    with tempfile.TemporaryDirectory(prefix="swimnomad-demo-") as folder:
        async with cancelled_by_signals() as interruption:
            await _perform(chapters, chosen, Path(folder), out, records)
    out.print(timeline(records, start))
    if interruption.cancelled_caught:
        out.print(Text("Interrupted; nothing is left running.", style="bold red"))
        return OPERATION_FAILED
    out.print(summary(records, len(chapters), time.time() - start))
    happened = len(records) == len(chapters) and all(record.happened for record in records)
    return 0 if happened else OPERATION_FAILED


async def _perform(
    chapters: Sequence[Chapter], base: str, folder: Path, out: Console, records: list[Record]
) -> None:
    """Play the story with agents from `base` on; add what became of each chapter to `records`."""
    pace = folder / "pace.hcl"
    pace.write_text(f"gossip {{\n  scale = {SCALE}\n}}\n", encoding="utf-8")
    spec = ClusterSpec(AGENTS, PROFILE, base, flags=("--config", str(pace)))
    views = Views()
    stage = ProcessStage(spec, folder / "cluster", views)
    screen: Screen
    if out.is_terminal:
        screen, pause = LiveScreen(stage.addresses, views, out), READING_SECONDS
    else:
        screen, pause = PlainScreen(stage.addresses), 0.0
    views.on_sighting = screen.sighting
    try:
        with screen:
            async with trio.open_nursery() as nursery:
                for agent, address in stage.addresses.items():
                    nursery.start_soon(Watcher(agent, address, views).follow)
                await tell(
                    chapters, stage, views, screen, records, seconds=STORY_SECONDS, pause=pause
                )
                nursery.cancel_scope.cancel()
    finally:
        await stage.close()
