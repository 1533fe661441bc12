"""Runs put into words: the page docs/reproduction.md, and lines for the terminal."""

from __future__ import annotations

from collections.abc import Iterable

from reproduce.expectations import EXPECTATIONS
from reproduce.reasons import REASONS, UNKNOWN
from reproduce.rows import Measurement, Verdict, judge
from reproduce.setups import SETUPS
from swimnomad.names import Value

HEAD = """\
# Published numbers, run again

Written by `make reproduce` (`python -m reproduce`); do not edit. Every figure was measured on the
program's own protocol cores in its simulator. What is expected, and the band within which it counts
as reproduced, were fixed beforehand (`reproduce/expectations.py`); a row that misses its band
stays, marked, with the reason found. All follows from the seed: the same seed gives the same
figures, whatever the number of processes.
"""


class Run(Value, frozen=True):
    """What one experiment yielded, and what it took: seconds on the wall and of processors.

    What else runs on the machine lengthens the one and not the other.
    """

    name: str
    measurements: tuple[Measurement, ...]
    wall: float
    cpu: float


class Circumstances(Value, frozen=True):
    """How the whole was run; `quick` if too small to judge by."""

    seed: int
    jobs: int
    quick: bool
    python: str


class Session(Value, frozen=True):
    """Everything that one call of the command yielded: what `--keep` stores."""

    runs: tuple[Run, ...]
    circumstances: Circumstances


def verdict_of(measurement: Measurement) -> Verdict:
    """A measurement against the table."""
    return judge(EXPECTATIONS[measurement.key], measurement)


def misses(runs: Iterable[Run]) -> list[Measurement]:
    """The rows outside their bands."""
    return [one for run in runs for one in run.measurements if verdict_of(one) is Verdict.MISS]


def page(session: Session) -> str:
    """The whole page in Markdown."""
    runs, circumstances = session.runs, session.circumstances
    rows = sum(len(run.measurements) for run in runs)
    wall, cpu = sum(run.wall for run in runs), sum(run.cpu for run in runs)
    missed = misses(runs)
    size = "quick run: too small to judge by" if circumstances.quick else "full run"
    lines = [
        HEAD,
        f"{rows} rows, {rows - len(missed)} in band, {len(missed)} missed. A {size} "
        f"of {wall / 60:.1f} minutes ({cpu / 60:.1f} of processor time) with "
        f"{circumstances.jobs} processes, seed {circumstances.seed}, "
        f"Python {circumstances.python}.",
    ]
    for run in runs:
        lines += _section(run)
    return "\n".join(lines) + "\n"


def _section(run: Run) -> list[str]:
    lines = [
        "",
        f"## {run.name}",
        "",
        " ".join(SETUPS[run.name].split()),
        "",
        f"`python -m reproduce {run.name}`: {run.wall:.0f} s, {run.cpu:.0f} s of processor time.",
        "",
        "| Quantity | Source | Expected | Band | Measured | Verdict | Trials |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [_row(one) for one in run.measurements]
    for one in misses([run]):
        reason = " ".join(REASONS.get(one.key, UNKNOWN).split())
        lines += ["", f"**MISS** {EXPECTATIONS[one.key].quantity}: {reason}."]
    return lines


def _row(measurement: Measurement) -> str:
    row = EXPECTATIONS[measurement.key]
    verdict = verdict_of(measurement)
    quantity = f"{row.quantity} ({row.remark})" if row.remark else row.quantity
    measured = f"{measurement.shown}; {measurement.note}" if measurement.note else measurement.shown
    marked = f"**{verdict.value}**" if verdict is Verdict.MISS else verdict.value
    cells = (
        quantity,
        row.source,
        row.expected,
        str(row.band),
        measured,
        marked,
        measurement.trials,
    )
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def terminal_lines(run: Run) -> list[str]:
    """One experiment for the terminal."""
    lines = [f"{run.name}  {run.wall:.1f} s, {run.cpu:.1f} s of processor time"]
    for one in run.measurements:
        row = EXPECTATIONS[one.key]
        note = f"; {one.note}" if one.note else ""
        lines.append(
            f"  {verdict_of(one).value:8} {one.key:26} {one.shown}{note}"
            f"  [expected {row.expected}, band {row.band}; {one.trials}]"
        )
    return lines
