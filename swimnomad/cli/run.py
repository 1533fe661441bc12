"""`swimnomad run`: run scenario files and judge them by their checks."""

from __future__ import annotations

import re
import shlex
from collections.abc import Generator, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import click

from swimnomad.cli.failures import OPERATION_FAILED, writing
from swimnomad.cli.options import option

if TYPE_CHECKING:
    from swimnomad.cli.run_many import Case
    from swimnomad.scenario.model import Scenario
    from swimnomad.scenario.result import Result

SEED_MAX = 2**63 - 1
"""So that a seed fits every reader of the JSON as an integer."""
SEEDS_MAX = 1_000_000
JOBS_MAX = 1024


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
@click.argument("paths", metavar="SCENARIO", type=FILE, nargs=-1, required=True)
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
@option("--seeds", callback=_parse_seeds, metavar="A..B", help="Run every seed from A to B.")
@option(
    "--jobs",
    type=click.IntRange(1, JOBS_MAX),
    metavar="N",
    help="Runs at one time (sim, several runs). [default: one a core]",
)
@option(
    "--json",
    "json_path",
    type=FILE,
    metavar="FILE",
    callback=_check_parent,
    help="Write the outcome as one JSON object, of several runs a list; - prints it instead.",
)
@option(
    "--journal",
    type=FILE,
    metavar="FILE",
    callback=_check_parent,
    help="Write every input of every node (sim, one run).",
)
@option(
    "--report",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Keep result.json, report.txt and, on sim, the journal there; a folder a file and seed.",
)
def command(
    *,
    paths: tuple[Path, ...],
    backend: str,
    seed: int | None,
    seeds: range | None,
    jobs: int | None,
    json_path: Path | None,
    journal: Path | None,
    report: Path | None,
) -> int:
    """Run a scenario file and judge it by its checks.

    Several files and seeds are spread over all cores. Exit status: 0 every
    check held, 1 one did not, 2 the file or the usage is wrong.
    """
    if seed is not None and seeds is not None:
        raise click.UsageError("--seed and --seeds were both given: allowed is one of them")
    is_many = seeds is not None or len(paths) > 1
    if journal is not None and (is_many or backend != "sim"):
        raise click.UsageError("--journal works with one run on sim; --report keeps them all")
    stems = [path.stem for path in paths]
    if report is not None and len(set(stems)) < len(stems):
        raise click.UsageError("--report: two files have the same name: their reports would mix")
    one = 1 if seed is None else seed
    runs = Runs(paths, backend, json_path, journal, report)
    return runs.run_many(seeds or range(one, one + 1), jobs) if is_many else runs.run_one(one)


class Runs:
    """One or several runs with the outputs that were asked for."""

    def __init__(
        self,
        paths: Sequence[Path],
        backend: str,
        json_path: Path | None,
        journal: Path | None,
        report: Path | None,
    ) -> None:
        from swimnomad.scenario.loader import load_scenario

        # All of them first: a mistake in the last file must not show after hours.
        self._scenarios = {path: load_scenario(path, backend) for path in paths}
        self._backend = backend
        self._json_path = json_path
        self._journal = journal
        self._report = report
        self._is_quiet = json_path == Path("-")

    def run_one(self, seed: int) -> int:
        """Run a single seed of a single file; return the exit status."""
        from swimnomad.cli.output import console
        from swimnomad.scenario.report import print_report

        ((path, scenario),) = self._scenarios.items()
        folder = self._folder(self._report)
        result = self._run(path, scenario, seed, self._journal_in(folder))
        if not self._is_quiet:
            print_report(result, console())
        if folder is not None:
            _write_report(folder, result)
        self._write_json(result.to_json())
        return 0 if result.passed else OPERATION_FAILED

    def run_many(self, seeds: range, processes: int | None) -> int:
        """Run every seed of every file; return the exit status."""
        import msgspec

        from swimnomad.cli.run_many import Case, ManyRuns, core_count

        cases = [Case(path, scenario, seeds) for path, scenario in self._scenarios.items()]
        many = ManyRuns(cases, self._repeat, self._keep, is_quiet=self._is_quiet)
        wanted = min(processes or core_count(), len(cases) * len(seeds))
        is_parallel = self._backend == "sim" and wanted > 1
        results = self._in_processes(cases, wanted) if is_parallel else self._in_turn(cases)
        try:
            with closing(results):
                return many.run(results)
        finally:
            self._write_json(msgspec.json.encode(many.results()))

    def _in_turn(self, cases: Sequence[Case]) -> Generator[tuple[int, int, Result]]:
        for number, case in enumerate(cases):
            for seed in case.seeds:
                journal = self._journal_in(self._folder_of(case.path, seed))
                yield number, seed, self._run(case.path, case.scenario, seed, journal)

    def _in_processes(
        self, cases: Sequence[Case], processes: int
    ) -> Generator[tuple[int, int, Result]]:
        from swimnomad.scenario.many import Job, RunCrashed, run_jobs

        seeds = cases[0].seeds  # of all of them

        def place(job: int) -> tuple[int, int]:
            number, rest = divmod(job, len(seeds))
            return number, seeds[rest]

        def make(job: int) -> Job:
            number, seed = place(job)
            journal = self._journal_in(self._folder_of(cases[number].path, seed))
            return Job(cases[number].scenario, seed, journal)

        try:
            with closing(run_jobs(make, len(cases) * len(seeds), processes)) as results:
                for job, result in results:
                    yield *place(job), result
        except RunCrashed as error:
            number, seed = place(error.number)
            self._tell_of_bug(cases[number].path, seed)
            raise

    def _run(self, path: Path, scenario: Scenario, seed: int, journal: Path | None) -> Result:
        from swimnomad.scenario.run import run_scenario

        guard: AbstractContextManager[None] = nullcontext()
        if self._backend != "sim":  # there are processes to take down
            from swimnomad.cli.interrupts import endings_as_interrupts

            guard = endings_as_interrupts()
        try:
            with guard:
                return run_scenario(scenario, seed, on=self._backend, journal_path=journal)
        except AssertionError:
            self._tell_of_bug(path, seed)
            raise

    def _tell_of_bug(self, path: Path, seed: int) -> None:
        # The traceback follows; the seed is what is needed to find the mistake.
        again = self._repeat(path, seed)
        click.echo(f"swimnomad run: stopped by a bug; repeat: {again}", err=True)

    def _journal_in(self, folder: Path | None) -> Path | None:
        if self._journal is not None or folder is None or self._backend != "sim":
            return self._journal
        return folder / "journal"

    def _keep(self, case: Case, result: Result) -> None:
        if (folder := self._folder_of(case.path, result.seed)) is not None:
            _write_report(folder, result)

    def _folder_of(self, path: Path, seed: int) -> Path | None:
        """Where one run of several is kept."""
        if self._report is None:
            return None
        above = self._report / path.stem if len(self._scenarios) > 1 else self._report
        return self._folder(above / f"seed-{seed}")

    def _folder(self, folder: Path | None) -> Path | None:
        if folder is None:
            return None
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise click.UsageError(f"--report: {folder}: {error.strerror}") from None
        return folder

    def _write_json(self, data: bytes) -> None:
        if self._is_quiet:
            click.echo(data)
        elif self._json_path is not None:
            with writing(self._json_path):
                self._json_path.write_bytes(data + b"\n")

    def _repeat(self, path: Path, seed: int) -> str:
        """The one command that repeats a run."""
        words = ["swimnomad", "run", str(path), "--on", self._backend]
        return shlex.join([*words, "--seed", str(seed)])


def _write_report(folder: Path, result: Result) -> None:
    from rich.console import Console

    from swimnomad.cli.output import PIPE_WIDTH
    from swimnomad.scenario.report import print_report

    with writing(folder):
        (folder / "result.json").write_bytes(result.to_json() + b"\n")
        with (folder / "report.txt").open("w", encoding="utf-8") as file:
            print_report(result, Console(file=file, width=PIPE_WIDTH))
