"""The command: all experiments, or those named; a full run of all writes docs/reproduction.md."""

from __future__ import annotations

import argparse
import platform
import sys
import time
from pathlib import Path

from reproduce.effort import Effort, jobs_default
from reproduce.experiments import EXPERIMENTS
from reproduce.report import Circumstances, Run, misses, page, terminal_lines

PAGE = Path(__file__).resolve().parent.parent / "docs" / "reproduction.md"


def parse(arguments: list[str]) -> argparse.Namespace:
    """Read the command line; exits with status 2 on one that makes no sense."""
    parser = argparse.ArgumentParser(prog="python -m reproduce", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(EXPERIMENTS)}")
    parser.add_argument("--quick", action="store_true", help="small runs, for CI")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=jobs_default(), help="processes")
    parser.add_argument("--output", type=Path, help="write the page here")
    given = parser.parse_args(arguments)
    for name in given.names:
        if name not in EXPERIMENTS:
            parser.error(f"unknown experiment {name!r}: allowed are {', '.join(EXPERIMENTS)}")
    if given.jobs < 1:
        parser.error(f"--jobs must be 1 or more, not {given.jobs}")
    if given.output is None and not given.names and not given.quick:
        given.output = PAGE
    return given


def main(arguments: list[str]) -> int:
    """Run and report. A miss is a finding, not an error: the status is 0."""
    given = parse(arguments)
    effort = Effort(given.quick, given.jobs, given.seed)
    runs = []
    for name in given.names or EXPERIMENTS:
        started = time.perf_counter()
        measurements = EXPERIMENTS[name](effort)
        run = Run(name, tuple(measurements), time.perf_counter() - started)
        runs.append(run)
        print(*terminal_lines(run), sep="\n", flush=True)
    rows = sum(len(run.measurements) for run in runs)
    print(f"{rows} rows, {len(misses(runs))} missed")
    if given.output is not None:
        python = platform.python_version()
        circumstances = Circumstances(given.seed, given.jobs, given.quick, python)
        given.output.write_text(page(runs, circumstances))
        print(f"written to {given.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
