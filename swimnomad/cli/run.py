"""`swimnomad run`: run a scenario file and judge it by its checks."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import click

from swimnomad.cli.failures import OPERATION_FAILED
from swimnomad.cli.options import option

if TYPE_CHECKING:
    from swimnomad.scenario.result import Result

SEED_MAX = 2**63 - 1
"""So that a seed fits every reader of the JSON as an integer."""
SEEDS_MAX = 1_000_000


def _parse_seeds(_ctx: click.Context, _param: click.Parameter, text: str | None) -> range | None:
    if text is None:
        return None
    match = re.fullmatch(r"(\d{1,19})\.\.(\d{1,19})", text, re.ASCII)
    seeds = range(int(match[1]), int(match[2]) + 1) if match else range(0)
    if not seeds or seeds[-1] > SEED_MAX or len(seeds) > SEEDS_MAX:
        raise click.BadParameter(
            f"{text!r} is not a range of seeds: allowed is A..B, as 1..20, with A not above B and"
            f" at most {SEEDS_MAX} seeds"
        )
    return seeds


def _check_parent(_ctx: click.Context, _param: click.Parameter, path: Path | None) -> Path | None:
    """Refuse before the run what could not be written after it."""
    if path is None or path == Path("-"):
        return path
    if not path.parent.is_dir():
        raise click.BadParameter(f"{path}: there is no directory {path.parent}")
    if path.is_dir():
        raise click.BadParameter(f"{path} is a directory: a file is wanted")
    return path


FILE = click.Path(path_type=Path)


@click.command("run")
@click.argument("path", metavar="SCENARIO", type=FILE)
@option(
    "--on",
    "backend",
    default="sim",
    show_default=True,
    metavar="BACKEND",
    help="sim (virtual time) or live (processes on this machine).",
)
@option(
    "--seed",
    type=click.IntRange(0, SEED_MAX),
    metavar="N",
    help="What chance is drawn from; on sim it decides everything. [default: 1]",
)
@option(
    "--seeds", callback=_parse_seeds, metavar="A..B", help="Run every seed from A to B in turn."
)
@option(
    "--json",
    "json_path",
    type=FILE,
    metavar="FILE",
    callback=_check_parent,
    help="Write the outcome as one JSON object; - prints it instead of the report.",
)
@option(
    "--journal",
    type=FILE,
    metavar="FILE",
    callback=_check_parent,
    help="Write every input of every node (sim, one seed).",
)
@option(
    "--report",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Keep result.json, report.txt and, on sim, the journal there; a folder a seed.",
)
def command(
    *,
    path: Path,
    backend: str,
    seed: int | None,
    seeds: range | None,
    json_path: Path | None,
    journal: Path | None,
    report: Path | None,
) -> int:
    """Run a scenario file and judge it by its checks.

    Exit status: 0 every check held, 1 one did not, 2 the file or the usage is wrong.
    """
    if seed is not None and seeds is not None:
        raise click.UsageError("--seed and --seeds were both given: allowed is one of them")
    if journal is not None and (seeds is not None or backend != "sim"):
        raise click.UsageError("--journal works with one seed on sim; --report keeps them all")
    runs = Runs(path, backend, seeds, json_path, journal, report)
    return runs.run_many(seeds) if seeds is not None else runs.run_one(1 if seed is None else seed)


class Runs:
    """One or several runs of one scenario with the outputs that were asked for."""

    def __init__(
        self,
        path: Path,
        backend: str,
        seeds: range | None,
        json_path: Path | None,
        journal: Path | None,
        report: Path | None,
    ) -> None:
        from swimnomad.scenario.loader import load_scenario

        self._path = path
        self._scenario = load_scenario(path, backend)
        self._backend = backend
        self._seeds = seeds
        self._json_path = json_path
        self._journal = journal
        self._report = report
        self._is_quiet = json_path == Path("-")

    def run_one(self, seed: int) -> int:
        """Run a single seed; return the exit status."""
        from swimnomad.cli.output import console
        from swimnomad.scenario.report import print_report

        result = self._run(seed)
        self._write_json(result.to_json())
        if not self._is_quiet:
            print_report(result, console())
        return 0 if result.passed else OPERATION_FAILED

    def run_many(self, seeds: range) -> int:
        """Run every seed, a line each, then a summary; return the exit status."""
        results = []
        for result in map(self._run, seeds):
            results.append(result)
            if not self._is_quiet:
                click.echo(_seed_line(result))
        failing = min((result.seed for result in results if not result.passed), default=None)
        self._write_json(_summary_json(results, failing))
        if not self._is_quiet:
            for line in self._summary_lines(results, failing):
                click.echo(line)
        return 0 if failing is None else OPERATION_FAILED

    def _run(self, seed: int) -> Result:
        from swimnomad.scenario.run import run_scenario

        guard: AbstractContextManager[None] = nullcontext()
        if self._backend != "sim":  # there are processes to take down
            from swimnomad.cli.interrupts import endings_as_interrupts

            guard = endings_as_interrupts()
        folder = self._folder_of(seed)
        journal = self._journal
        if folder is not None and journal is None and self._backend == "sim":
            journal = folder / "journal"
        try:
            with guard:
                result = run_scenario(self._scenario, seed, on=self._backend, journal_path=journal)
        except AssertionError:
            # Our own mistake. The traceback follows; the seed is what is needed to find it.
            click.echo(f"swimnomad run: stopped by a bug; repeat: {self._repeat(seed)}", err=True)
            raise
        if folder is not None:
            _write_report(folder, result)
        return result

    def _folder_of(self, seed: int) -> Path | None:
        if self._report is None:
            return None
        folder = self._report if self._seeds is None else self._report / f"seed-{seed}"
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise click.UsageError(f"--report: {folder}: {error.strerror}") from None
        return folder

    def _write_json(self, data: bytes) -> None:
        if self._is_quiet:
            click.echo(data)
        elif self._json_path is not None:
            self._json_path.write_bytes(data + b"\n")

    def _summary_lines(self, results: list[Result], failing: int | None) -> Iterator[str]:
        passed = sum(result.passed for result in results)
        yield f"passed: {passed} of {len(results)} seeds ({passed / len(results):.1%})"
        if failing is not None:
            yield f"lowest failing seed: {failing}; repeat: {self._repeat(failing)}"

    def _repeat(self, seed: int) -> str:
        """The one command that repeats a run."""
        words = ["swimnomad", "run", str(self._path), "--on", self._backend]
        return shlex.join([*words, "--seed", str(seed)])


def _seed_line(result: Result) -> str:
    if result.passed:
        return f"seed {result.seed}: passed in {result.wall_seconds:.2f} s"
    failed = "; ".join(
        f"{check.name} (expected {check.expected}, measured {check.measured})"
        for check in result.checks
        if not check.passed
    )
    return f"seed {result.seed}: FAILED: {failed}"


def _summary_json(results: list[Result], failing: int | None) -> bytes:
    import msgspec

    passed = sum(result.passed for result in results)
    first = results[0]
    return msgspec.json.encode(
        {
            "scenario": first.scenario,
            "backend": first.backend,
            "seeds": [first.seed, results[-1].seed],
            "passed": failing is None,
            "pass_rate": passed / len(results),
            "lowest_failing_seed": failing,
            "runs": results,
        }
    )


def _write_report(folder: Path, result: Result) -> None:
    from rich.console import Console

    from swimnomad.cli.output import PIPE_WIDTH
    from swimnomad.scenario.report import print_report

    (folder / "result.json").write_bytes(result.to_json() + b"\n")
    with (folder / "report.txt").open("w", encoding="utf-8") as file:
        print_report(result, Console(file=file, width=PIPE_WIDTH))
