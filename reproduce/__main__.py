"""The command: all experiments, or those named; a full run of all writes docs/reproduction.md."""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
from pathlib import Path

import msgspec

from reproduce.effort import Effort, jobs_default
from reproduce.experiments import EXPERIMENTS
from reproduce.report import Circumstances, Run, Session, misses, page, terminal_lines

PAGE = Path(__file__).resolve().parent.parent / "docs" / "reproduction.md"


def parse(arguments: list[str]) -> argparse.Namespace:
    """Read the command line; exits with status 2 on one that makes no sense."""
    parser = argparse.ArgumentParser(prog="python -m reproduce", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(EXPERIMENTS)}")
    parser.add_argument("--quick", action="store_true", help="small runs, for CI")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=jobs_default(), help="processes")
    parser.add_argument("--output", type=Path, help="write the page here")
    parser.add_argument("--keep", type=Path, help="store what was measured, for --again")
    parser.add_argument("--again", type=Path, help="run nothing: report what --keep stored")
    given = parser.parse_args(arguments)
    for name in given.names:
        if name not in EXPERIMENTS:
            parser.error(f"unknown experiment {name!r}: allowed are {', '.join(EXPERIMENTS)}")
    if given.jobs < 1:
        parser.error(f"--jobs must be 1 or more, not {given.jobs}")
    if given.output is None and not given.names and not given.quick:
        given.output = PAGE
    return given


def processor_seconds() -> float:
    """Processor time of this process and of those that it waited for."""
    return sum(os.times()[:4])


def measure(given: argparse.Namespace) -> Session:
    """Run what was asked for, reporting each experiment as it ends."""
    effort = Effort(given.quick, given.jobs, given.seed)
    runs = []
    for name in given.names or EXPERIMENTS:
        started, used = time.perf_counter(), processor_seconds()
        measurements = EXPERIMENTS[name](effort)
        wall, cpu = time.perf_counter() - started, processor_seconds() - used
        runs.append(Run(name, tuple(measurements), wall, cpu))
        print(*terminal_lines(runs[-1]), sep="\n", flush=True)
    python = platform.python_version()
    return Session(tuple(runs), Circumstances(given.seed, given.jobs, given.quick, python))


def main(arguments: list[str]) -> int:
    """Run and report. A miss is a finding, not an error: the status is 0."""
    given = parse(arguments)
    if given.again is None:
        session = measure(given)
    else:
        session = msgspec.msgpack.decode(given.again.read_bytes(), type=Session)
    if given.keep is not None:
        given.keep.write_bytes(msgspec.msgpack.encode(session))
    rows = sum(len(run.measurements) for run in session.runs)
    print(f"{rows} rows, {len(misses(session.runs))} missed")
    if given.output is not None:
        given.output.write_text(page(session))
        print(f"written to {given.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
