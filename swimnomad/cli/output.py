"""Tables and JSON on standard output."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

STATUS_STYLES: Mapping[str, str] = {
    "alive": "green",
    "suspect": "yellow",
    "leaving": "cyan",
    "left": "blue",
    "failed": "bold red",
    "ready": "green",
    "initializing": "yellow",
    "down": "bold red",
}
PIPE_WIDTH = 10_000
"""Columns assumed where standard output is no terminal: nothing is folded or cut for programs."""


def echo_json(value: object) -> None:
    """Print one JSON value, indented as an agent's answers are."""
    import msgspec

    click.echo(msgspec.json.format(msgspec.json.encode(value), indent=4))


def console() -> Console:
    """A rich console on standard output; colour is off in pipes and where NO_COLOR is set."""
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else PIPE_WIDTH, highlight=False)


def styled(status: str) -> Text:
    """A status word in its colour."""
    from rich.text import Text

    return Text(status, style=STATUS_STYLES.get(status, ""))


def echo_table(headings: Sequence[str], rows: Iterable[Sequence[str | Text]]) -> None:
    """Print aligned columns."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for heading in headings:
        table.add_column(heading, overflow="fold")
    for row in rows:
        # Text, not str: rich would read `[x]` in a name as markup.
        table.add_row(*(Text(cell) if isinstance(cell, str) else cell for cell in row))
    console().print(table)


def echo_pairs(pairs: Iterable[tuple[str, object]]) -> None:
    """Print one `Name = value` a line, the signs aligned; an empty text is `<none>`."""
    listed = list(pairs)
    width = max(len(name) for name, _ in listed)
    for name, value in listed:
        click.echo(f"{name.ljust(width)} = {go_text(value) or '<none>'}")


def go_text(value: object) -> str:
    """A value as Nomad's commands print it: `true`, not `True`."""
    return str(value).lower() if isinstance(value, bool) else str(value)
