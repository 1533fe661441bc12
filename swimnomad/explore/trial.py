"""One run of one schedule, and what it broke."""

from __future__ import annotations

import msgspec

from swimnomad.errors import OperationError
from swimnomad.names import Value
from swimnomad.scenario.backend import run_to_end
from swimnomad.scenario.facts import Facts
from swimnomad.scenario.model import Scenario
from swimnomad.scenario.result import Result
from swimnomad.scenario.runner import Runner
from swimnomad.scenario.sim_backend import SimBackend

BUG = "stopped by a bug"
"""What a failure is called that ended the run by an exception outside every core."""
AGREEMENT_SLACK = 2.0
"""Seconds past the bound that a run must last for `agreement` to be judged in it."""


class Failure(Value, frozen=True):
    """The first promise that a run broke: the invariant's name, and a line for people."""

    invariant: str
    text: str


class Outcome(Value, frozen=True):
    """What became of one run."""

    failure: Failure | None
    cut_short: str
    """The step that could not be done, and why; the run ended there. Empty if none."""
    cluster_seconds: float


def run_trial(scenario: Scenario, seed: int) -> Outcome:
    """Run a schedule with the invariants on.

    A run ends as soon as all views are true. One in which they are not when they should be goes on
    until the invariant has judged it, which knows whom no protocol could bring together.
    """
    outcome, result = _run(scenario, seed)
    has_agreed = result is None or all(c.passed for c in result.checks if c.name == "converged")
    if outcome.failure is None and not outcome.cut_short and not has_agreed:
        duration = round(outcome.cluster_seconds + AGREEMENT_SLACK, 1)
        outcome, _ = _run(msgspec.structs.replace(scenario, duration=duration), seed)
    return outcome


def _run(scenario: Scenario, seed: int) -> tuple[Outcome, Result | None]:
    facts = Facts(0.0)  # The grace serves a check that no schedule has.
    backend = SimBackend(facts, seed, has_journal=False, has_invariants=True)
    try:
        result = run_to_end(Runner(scenario, backend, facts, seed).run())
    except OperationError:
        raise
    except Exception as error:
        text = f"{type(error).__name__}: {error}"
        return Outcome(Failure(BUG, text), "", backend.now), None
    assert backend.invariants is not None
    violations = backend.invariants.violations
    failure = Failure(violations[0].invariant, str(violations[0])) if violations else None
    failed = [check for check in result.checks if not check.passed and check.name[:5] == "step "]
    cut_short = f"{failed[0].name}: {failed[0].measured}" if failed else ""
    return Outcome(failure, cut_short, result.cluster_seconds), result
