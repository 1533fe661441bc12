"""One run of one schedule, and what it broke."""

from __future__ import annotations

import msgspec

from swimnomad.errors import OperationError
from swimnomad.names import Value
from swimnomad.scenario.backend import run_to_end
from swimnomad.scenario.facts import Facts
from swimnomad.scenario.model import Scenario
from swimnomad.scenario.runner import Runner
from swimnomad.scenario.sim_backend import SimBackend

BUG = "stopped by a bug"
"""What a failure is called that ended the run by an exception outside every core."""


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
    outcome, rest = _run(scenario, seed)
    if outcome.failure is None and not outcome.cut_short and rest:
        duration = round(outcome.cluster_seconds + rest, 1)
        outcome, _ = _run(msgspec.structs.replace(scenario, duration=duration), seed)
    return outcome


def _run(scenario: Scenario, seed: int) -> tuple[Outcome, float]:
    """The outcome, and how long the run would have to go on for `agreement` to be judged in it."""
    facts = Facts(0.0)  # The grace serves a check that no schedule has.
    backend = SimBackend(facts, seed, has_journal=False, has_invariants=True)
    try:
        result = run_to_end(Runner(scenario, backend, facts, seed).run())
    except OperationError:
        raise
    except Exception as error:
        text = f"{type(error).__name__}: {error}"
        return Outcome(Failure(BUG, text), "", backend.now), 0.0
    assert backend.invariants is not None
    violations = backend.invariants.violations
    failure = Failure(violations[0].invariant, str(violations[0])) if violations else None
    failed = [check for check in result.checks if not check.passed and check.name[:5] == "step "]
    cut_short = f"{failed[0].name}: {failed[0].measured}" if failed else ""
    has_agreed = all(check.passed for check in result.checks if check.name == "converged")
    rest = 0.0 if has_agreed else backend.patience(result.nodes)
    return Outcome(failure, cut_short, result.cluster_seconds), rest
