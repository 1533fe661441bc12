"""The end of the demo: what was done by whom, who saw it when, and whether it all happened."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from swimnomad.cli.story.chapters import Chapter, short
from swimnomad.cli.story.screens import verdict_line
from swimnomad.cli.story.tell import Record


def timeline(records: Sequence[Record], start: float) -> RenderableType:
    """A table of the chapters with the seconds each observer needed.

    Args:
        records: The chapters that were played.
        start: When the demo began, in seconds since the epoch.
    """
    table = Table(
        title="Timeline: seconds from each deed until each agent had seen it",
        title_justify="left",
        title_style="bold",
    )
    for heading in ("At", "What", "Done by", "Seen"):
        table.add_column(heading, overflow="fold")
    for heading in ("p50", "max"):
        table.add_column(heading, justify="right")
    for record in records:
        delays = record.delays()
        numbers = [f"{record.median:.2f}", f"{max(delays.values()):.2f}"] if delays else ["-", "-"]
        table.add_row(
            f"{record.began - start:.1f}",
            _what(record.chapter),
            record.deed or record.problem,
            "\n".join(_observer_lines(record)) or "by nobody",
            *numbers,
        )
    return Group(table)


def _what(chapter: Chapter) -> str:
    path = " -> ".join(chapter.expectations[0].path)
    return f"{chapter.title}: {short(chapter.hero) or 'everybody'} {path}"


def _observer_lines(record: Record) -> list[str]:
    """For each observer when it saw each status of the chapter's hero (of the last, if all)."""
    texts = []
    for observer in record.chapter.observers:
        mine = [times for e, times in record.seen.items() if e.observer == observer]
        latest: dict[str, float] = {}
        for times in mine:
            for status, seconds in times.items():
                latest[status] = max(seconds, latest.get(status, 0.0))
        if latest:
            words = ", ".join(f"{status} {seconds:.2f}" for status, seconds in latest.items())
            texts.append(f"{short(observer)}: {words}")
    return texts


def summary(records: Sequence[Record], total: int, seconds: float) -> Text:
    """The verdict in one sentence.

    Args:
        records: The chapters that were played.
        total: How many chapters there are.
        seconds: How long it all took.
    """
    held = sum(record.happened for record in records)
    if held == total:
        return Text(
            f"All {total} chapters happened, each seen by every live agent; {seconds:.1f} s in "
            "all, nothing is left running.",
            style="bold green",
        )
    failed = next((record for record in records if not record.happened), None)
    why = f": {failed.chapter.title} {verdict_line(failed)}" if failed else ""
    return Text(
        f"{held} of {total} chapters happened{why}; nothing is left running.", style="bold red"
    )
