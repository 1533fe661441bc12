"""Shows the story as it happens: a live table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Self

import click
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from swimnomad.cli.output import styled
from swimnomad.cli.story.chapters import Chapter, short
from swimnomad.cli.story.tell import Record
from swimnomad.cli.story.views import UNKNOWN, Sighting, Views

LINES_SHOWN = 8


def seen_line(sighting: Sighting) -> str:
    """One change of a view, as text."""
    observer, member = short(sighting.observer), short(sighting.member)
    change = sighting.after if is_first(sighting) else f"{sighting.before} -> {sighting.after}"
    return f"{observer} sees {member}: {change}"


def is_first(sighting: Sighting) -> bool:
    """Whether the observer had never told us about the member."""
    return sighting.before == UNKNOWN


def verdict_line(record: Record) -> str:
    """How a chapter ended, as text."""
    if record.problem:
        return f"did not happen: {record.problem}"
    if record.missing:
        lacking = ", ".join(
            f"{short(e.observer)} of {short(e.member)} {' -> '.join(e.path)}"
            for e in record.missing
        )
        return f"not seen within {record.chapter.seconds:g} s: {lacking}"
    delays = record.delays()
    return (
        f"seen by all {len(delays)}: median after {record.median:.2f} s, "
        f"last after {max(delays.values()):.2f} s"
    )


class PlainScreen:
    """One line for everything that happens; each begins with the seconds since the start."""

    def __init__(
        self,
        addresses: Mapping[str, str],
        echo: Callable[[str], object] = click.echo,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._echo = echo
        self._clock = clock
        self._start = clock()
        for agent, address in addresses.items():
            self._line(f"{short(agent)} answers at {address}")

    def __enter__(self) -> Self:
        """Nothing to set up."""
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to clean up."""

    def begin(self, number: int, total: int, chapter: Chapter) -> None:
        """Print the chapter's title and sentence."""
        self._line(f"[{number}/{total}] {chapter.title}. {chapter.sentence}")

    def deed(self, text: str) -> None:
        """Print what was done."""
        self._line(f"  done: {text}")

    def sighting(self, sighting: Sighting) -> None:
        """Print a change of a view, at the time the agent gave it."""
        if not (is_first(sighting) and sighting.observer == sighting.member):
            self._line(f"  {seen_line(sighting)}", sighting.time)

    def end(self, record: Record) -> None:
        """Print how the chapter ended."""
        self._line(f"  {verdict_line(record)}")

    def _line(self, text: str, at: float | None = None) -> None:
        self._echo(f"{max(0.0, (at or self._clock()) - self._start):6.2f} s  {text}")


class LiveScreen:
    """A table of who sees whom as what that is redrawn in place, above the latest news."""

    def __init__(self, addresses: Mapping[str, str], views: Views, console: Console) -> None:
        self._addresses = addresses
        self._views = views
        self._start = time.time()
        self._heading = Text()
        self._news: deque[Text] = deque(maxlen=LINES_SHOWN)
        self._live = Live(
            # Drawn after each change, not by a thread that would read while we write.
            get_renderable=self.draw,
            console=console,
            auto_refresh=False,
        )

    def __enter__(self) -> Self:
        """Begin to draw."""
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Draw a last time and leave the picture on the screen."""
        self._live.stop()

    def begin(self, number: int, total: int, chapter: Chapter) -> None:
        """Show the chapter's title and sentence above the table."""
        self._heading = Text.assemble(
            (f"{number}/{total} {chapter.title}. ", "bold"), chapter.sentence
        )
        self._tell(Text(chapter.title, style="bold"))

    def deed(self, text: str) -> None:
        """Add what was done to the news."""
        self._tell(Text(f"done: {text}", style="magenta"))

    def sighting(self, sighting: Sighting) -> None:
        """Add a change of a view to the news."""
        self._tell(Text(seen_line(sighting)), sighting.time)

    def end(self, record: Record) -> None:
        """Add the chapter's verdict to the news."""
        style = "green" if record.happened else "bold red"
        self._tell(Text(verdict_line(record), style=style))

    def draw(self) -> RenderableType:
        """The whole picture as it stands."""
        table = Table(title="Who sees whom as what", title_justify="left", title_style="bold")
        table.add_column("Agent", style="bold")
        table.add_column("HTTP API")
        for member in self._addresses:
            table.add_column(short(member), min_width=7)
        for observer, address in self._addresses.items():
            cells = [self._cell(observer, member) for member in self._addresses]
            table.add_row(short(observer), address, *cells)
        return Group(
            Padding(self._heading, (1, 0, 1, 0)), table, Padding(Group(*self._news), (1, 0, 1, 0))
        )

    def _cell(self, observer: str, member: str) -> Text:
        status = self._views.status(observer, member)
        return Text("-", style="dim") if status == UNKNOWN else styled(status)

    def _tell(self, text: Text, at: float | None = None) -> None:
        elapsed = max(0.0, (at or time.time()) - self._start)
        self._news.append(Text.assemble((f"{elapsed:6.2f} s  ", "dim"), text))
        self._live.refresh()
