"""`swimnomad explore`: search for a fault schedule that breaks a promise."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

import click

from swimnomad.cli.failures import OPERATION_FAILED, writing
from swimnomad.cli.options import option

if TYPE_CHECKING:
    from rich.progress import TaskID

    from swimnomad.explore.search import Found, OnProgress, OnShrink
    from swimnomad.explore.shrink import Shrunk
    from swimnomad.scenario.model import Scenario

RUNS_MAX = 1_000_000
JOBS_MAX = 256


def _check_out(_ctx: click.Context, _param: click.Parameter, path: Path | None) -> Path | None:
    """Refuse before the search what could not be written after it."""
    if path is not None and (path.is_dir() or not path.parent.is_dir()):
        raise click.BadParameter(f"{path}: a file in a directory that exists is wanted")
    return path


@click.command("explore")
@click.argument("path", metavar="SCENARIO", type=click.Path(path_type=Path))
@option(
    "--runs",
    type=click.IntRange(1, RUNS_MAX),
    default=200,
    show_default=True,
    metavar="N",
    help="How many random schedules to try.",
)
@option(
    "--seed",
    type=click.IntRange(0, 2**63 - 1),
    default=1,
    show_default=True,
    metavar="S",
    help="What the schedules are drawn from.",
)
@option(
    "--jobs",
    type=click.IntRange(1, JOBS_MAX),
    metavar="J",
    help="Processes to use; the findings do not depend on it. [default: one a core]",
)
@option(
    "--out",
    type=click.Path(path_type=Path),
    callback=_check_out,
    metavar="FILE",
    help="Where to write what is found, as a scenario. [default: <SCENARIO>-found.yaml]",
)
@option(
    "--compat",
    type=click.Choice(["safe", "upstream"]),
    help="Whose rules the nodes follow. [default: what the scenario says]",
)
def command(
    *, path: Path, runs: int, seed: int, jobs: int | None, out: Path | None, compat: str | None
) -> int:
    """Search for a schedule of faults that breaks a promise.

    Takes the cluster, the network and the steps of SCENARIO, and adds random trouble after them;
    what SCENARIO expects is left out. After every step of every node the invariants are checked.
    The first run that breaks one is made as short as it gets and written as a scenario that `run`
    repeats; a second broken promise goes to FILE-2, and so on.

    Ctrl-C ends it: what was found by then is written, as short as it got.

    Exit status: 0 nothing was found, 1 something was or it was interrupted, 2 the file or the usage
    is wrong.
    """
    import msgspec

    from swimnomad.cli.run_many import core_count
    from swimnomad.explore.search import search
    from swimnomad.scenario.loader import load_scenario

    scenario = load_scenario(path, "sim")
    if compat is not None:
        cluster = msgspec.structs.replace(scenario.cluster, compat=compat)
        scenario = msgspec.structs.replace(scenario, cluster=cluster)
    out = out or Path(f"{path.stem}-found.yaml")
    start = perf_counter()
    with _progress(runs) as (on_progress, on_shrink):
        report = search(scenario, runs, seed, jobs or core_count(), on_progress, on_shrink)
    took = perf_counter() - start
    if report.was_interrupted:
        text = f"swimnomad explore: interrupted after {report.runs} of {runs} runs"
        click.echo(text, err=True)
    click.echo(
        f"{report.runs} runs, {report.cluster_seconds:.0f} s of cluster time in {took:.1f} s; "
        f"{report.cut_short} ended early by a step that could not be done"
    )
    if not report.found:
        click.echo("nothing was found")
        return OPERATION_FAILED if report.was_interrupted else 0
    for place, found in enumerate(report.found, 1):
        file = out if place == 1 else out.with_stem(f"{out.stem}-{place}")
        for line in _lines(file, found):
            click.echo(line)
        with writing(file):
            _write(file, found, _command_of(path, runs, seed, compat))
    return OPERATION_FAILED


def _command_of(path: Path, runs: int, seed: int, compat: str | None) -> str:
    words = ["swimnomad", "explore", str(path), "--runs", str(runs), "--seed", str(seed)]
    return shlex.join([*words, *(["--compat", compat] if compat else [])])


def _run_command(file: Path, shrunk: Shrunk) -> str:
    """The one command that repeats what was found."""
    words = ["swimnomad", "run", str(file), "--on", "sim", "--seed", str(shrunk.seed)]
    return shlex.join(words)


def _write(file: Path, found: Found, search_command: str) -> None:
    from swimnomad.scenario.writing import to_yaml

    shrunk = found.shrunk
    comment = (
        f"Breaks the promise `{found.invariant}`; found by\n  {search_command}\n"
        f"in run {found.runs[0]}, repeated by\n  {_run_command(file, shrunk)}\n\n"
        f"{_folded(shrunk.failure.text)}"
    )
    file.write_text(to_yaml(_named(shrunk.scenario, file), comment), encoding="utf-8")


def _named(scenario: Scenario, file: Path) -> Scenario:
    import msgspec

    return msgspec.structs.replace(scenario, name=file.stem)


def _folded(text: str) -> str:
    import textwrap

    printable = "".join(one if one.isprintable() else "?" for one in text)
    return "\n".join(textwrap.wrap(printable, 96))


def _lines(file: Path, found: Found) -> Iterator[str]:
    shrunk = found.shrunk
    yield f"{found.invariant}: broken in {len(found.runs)} runs, first in run {found.runs[0]}"
    yield f"  {shrunk.failure.text}"
    yield f"  {len(shrunk.scenario.steps)} steps after {shrunk.runs} runs of shrinking, in {file}"
    yield f"  repeat: {_run_command(file, shrunk)}"


@contextmanager
def _progress(runs: int) -> Iterator[tuple[OnProgress, OnShrink]]:
    """What the search tells, as a bar with the time left on a terminal; nothing elsewhere."""
    if not sys.stderr.isatty():
        yield lambda done: None, lambda invariant, runs: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.progress import TimeRemainingColumn as TimeLeft

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeLeft())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("runs", total=runs)
        tasks: dict[str, TaskID] = {}

        def on_shrink(invariant: str, done: int) -> None:
            from swimnomad.explore.shrink import RUNS_MAX as SHRINK_RUNS_MAX

            if invariant not in tasks:
                tasks[invariant] = bar.add_task(f"shrinking {invariant}", total=SHRINK_RUNS_MAX)
            bar.update(tasks[invariant], completed=done)

        yield lambda done: bar.update(task, completed=done), on_shrink
