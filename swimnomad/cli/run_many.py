"""Several runs of scenario files: over all cores, shown as they come, summed up at the end."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import click

from swimnomad.cli.failures import OPERATION_FAILED
from swimnomad.cli.run_summary import seed_line, summary_lines

if TYPE_CHECKING:
    from pathlib import Path

    from swimnomad.scenario.model import Scenario
    from swimnomad.scenario.result import Result


class Case:
    """One file with its seeds, and the results that are there, by seed."""

    def __init__(self, path: Path, scenario: Scenario, seeds: range) -> None:
        self.path = path
        self.scenario = scenario
        self.seeds = seeds
        self.results: dict[int, Result] = {}

    @property
    def ordered(self) -> list[Result]:
        """What is there, in the order of the seeds, whatever finished first."""
        return [self.results[seed] for seed in sorted(self.results)]


Report = Callable[[Case, "Result"], None]
"""Keeps a finished run, where that was asked for."""


class ManyRuns:
    """Runs cases and says what came out.

    Args:
        cases: The files with their seeds.
        repeat: Gives the one command that repeats a run.
        report: Told of every finished run.
        is_quiet: Whether nothing but JSON may be printed on standard output.
    """

    def __init__(
        self,
        cases: Sequence[Case],
        repeat: Callable[[Path, int], str],
        report: Report,
        *,
        is_quiet: bool,
    ) -> None:
        self._cases = cases
        self._repeat = repeat
        self._report = report
        self._is_quiet = is_quiet
        self._shown = [0] * len(cases)
        """How many results of each case have been printed."""

    def run(self, results: Iterator[tuple[int, int, Result]]) -> int:
        """Take in results (number of the case, seed, result) and print; return the exit status.

        Ctrl-C ends it: what is known so far is printed all the same, and the status is 1.
        """
        total = sum(len(case.seeds) for case in self._cases)
        done = 0
        is_whole = False
        try:
            with progress(total) as advance:
                for number, seed, result in results:
                    case = self._cases[number]
                    case.results[seed] = result
                    self._report(case, result)
                    self._show(number)
                    done += 1
                    advance(result.passed)
            is_whole = True
        except KeyboardInterrupt:
            click.echo(f"swimnomad run: interrupted after {done} of {total} runs", err=True)
        finally:
            # Also when a run crashed: the others have something to say.
            self._sum_up()
        if not is_whole:
            return OPERATION_FAILED
        has_failed = any(not result.passed for result in self.results())
        return OPERATION_FAILED if has_failed else 0

    def results(self) -> list[Result]:
        """Every result, in the order of the files and then of the seeds."""
        return [result for case in self._cases for result in case.ordered]

    def _show(self, number: int, *, is_over: bool = False) -> None:
        """Print the runs of a case up to the first that is missing."""
        case = self._cases[number]
        prefix = f"{case.path}: " if len(self._cases) > 1 else ""
        waiting = case.ordered[self._shown[number] :] if is_over else self._next_of(number)
        for result in waiting:
            self._shown[number] += 1
            if not self._is_quiet:
                click.echo(prefix + seed_line(result))

    def _next_of(self, number: int) -> Iterator[Result]:
        case = self._cases[number]
        while self._shown[number] < len(case.seeds):
            result = case.results.get(case.seeds[self._shown[number]])
            if result is None:
                return
            yield result

    def _sum_up(self) -> None:
        for number, case in enumerate(self._cases):
            self._show(number, is_over=True)
            if self._is_quiet or not case.results:
                continue
            if len(self._cases) > 1:
                click.echo(f"{case.path}:")
            for line in summary_lines(case.ordered):
                click.echo(line)
            failing = next((result.seed for result in case.ordered if not result.passed), None)
            if failing is not None:
                command = self._repeat(case.path, failing)
                click.echo(f"lowest failing seed: {failing}; repeat: {command}")


def core_count() -> int:
    """Processors that this process may use."""
    with suppress(AttributeError):  # not every system can say
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextmanager
def progress(total: int) -> Iterator[Callable[[bool], None]]:
    """A bar on standard error if that is a terminal; call what it gives after every run."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    bar = Progress(
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[failed]} failed"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        # Lines for a file or a pipe must not be drawn into the terminal.
        redirect_stdout=sys.stdout.isatty(),
        redirect_stderr=False,
        transient=True,
    )
    task = bar.add_task("", total=total, failed=0)
    failed = 0

    def advance(passed: bool) -> None:
        nonlocal failed
        failed += not passed
        bar.update(task, advance=1, failed=failed)

    with bar:
        yield advance
