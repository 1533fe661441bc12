"""A result as text for a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from swimnomad.scenario.result import Result
from swimnomad.scenario.units import show_seconds

if TYPE_CHECKING:
    from rich.console import Console


def print_report(result: Result, console: Console | None = None) -> None:
    """Print the outcome: a table of checks, then what was measured."""
    # Imported here, for it takes longer than everything else a small command does.
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = console or Console()
    table = Table(title=f"{result.scenario} on {result.backend}, seed {result.seed}")
    for heading in ("", "check", "expected", "measured"):
        table.add_column(heading, overflow="fold")
    for check in result.checks:
        mark = Text("ok", style="green") if check.passed else Text("FAILED", style="bold red")
        # Text, because names may hold what rich would read as markup.
        table.add_row(mark, Text(check.name), Text(check.expected), Text(check.measured))
    console.print(table)
    for line in summary_lines(result):
        console.print(Text(line))


def summary_lines(result: Result) -> list[str]:
    """The figures under the table."""
    detection = result.detection
    lines = [
        f"{'passed' if result.passed else 'FAILED'}: {result.nodes} nodes, "
        f"{show_seconds(result.cluster_seconds)} of cluster time in "
        f"{show_seconds(result.wall_seconds)}"
    ]
    if detection.p50_s is not None and detection.p99_s is not None and detection.max_s is not None:
        lines.append(
            f"detection: {detection.count} reports, p50 {show_seconds(detection.p50_s)}, "
            f"p99 {show_seconds(detection.p99_s)}, max {show_seconds(detection.max_s)}"
        )
    lines.append(f"false positives: {result.false_positives}")
    if result.messages is not None:
        lines.append(f"sent: {result.messages} messages, {result.bytes} bytes")
    if result.journal_sha256:
        lines.append(f"journal: sha256 {result.journal_sha256}")
    return lines
