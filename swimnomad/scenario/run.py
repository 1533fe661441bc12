"""Runs a scenario file: the entry point for the command line and for tests."""

from __future__ import annotations

from pathlib import Path
from time import perf_counter  # noqa: TID251 - measures the run; nothing in it depends on this
from typing import TYPE_CHECKING

import msgspec

from swimnomad.errors import OperationError
from swimnomad.scenario.backend import run_to_end
from swimnomad.scenario.bounds import convergence_bound
from swimnomad.scenario.facts import Facts
from swimnomad.scenario.loader import load_scenario
from swimnomad.scenario.model import Scenario
from swimnomad.scenario.result import Result
from swimnomad.scenario.runner import Runner

if TYPE_CHECKING:
    from swimnomad.scenario.sim_backend import Observe


def run_file(
    path: Path, on: str = "sim", seed: int = 1, journal_path: Path | None = None
) -> Result:
    """Run a scenario file on a backend.

    Args:
        path: The file.
        on: `sim` or `live`.
        seed: Determines everything on `sim`; on `live`, what steps choose at random.
        journal_path: Where `sim` writes its journal; None for nowhere.

    Raises:
        ConfigError: If the file is wrong or asks for what the backend cannot do.
        OperationError: If the cluster could not be started.
    """
    scenario = load_scenario(path, on)
    return run_scenario(scenario, seed, on=on, journal_path=journal_path)


def run_scenario(
    scenario: Scenario,
    seed: int = 1,
    *,
    on: str = "sim",
    journal_path: Path | None = None,
    has_journal: bool = True,
    observe: Observe | None = None,
) -> Result:
    """Run a scenario that was loaded or checked for this backend; see `run_file`.

    Args:
        scenario: What to run; nothing is read from files.
        seed: As for `run_file`.
        on: `sim` or `live`.
        journal_path: Where `sim` writes its journal; None for nowhere.
        has_journal: Whether to hash what happens; without, a run takes less time.
        observe: On `sim`, called with the `World` after everything that happens in it. What it
            raises ends the run.

    Raises:
        OperationError: If the cluster could not be started or the journal not be written.
    """
    start = perf_counter()
    facts = Facts(_excuse_grace(scenario))
    if on == "sim":
        from swimnomad.scenario.sim_backend import SimBackend

        try:
            backend = SimBackend(
                facts,
                seed,
                journal_path,
                observe=observe,
                has_journal=has_journal,
                # They cost a fifth of a run's time, so only where somebody wants to know.
                has_invariants=any(one.word == "invariants" for one in scenario.expect),
            )
            result = run_to_end(Runner(scenario, backend, facts, seed).run())
        except OSError as error:  # A simulation touches no other file.
            if journal_path is None:
                raise
            why = (error.strerror or str(error)).lower()
            text = f"the journal {journal_path} cannot be written: {why}"
            raise OperationError(text, may_have_happened=False) from None
    else:
        from swimnomad.scenario.live_backend import run_live

        result = run_live(scenario, facts, seed)
    return msgspec.structs.replace(result, wall_seconds=round(perf_counter() - start, 3))


def _excuse_grace(scenario: Scenario) -> float:
    """How long after a disturbance a verdict from before it may still arrive."""
    cluster = scenario.cluster
    bound = convergence_bound(
        sum(cluster.sizes.values()), cluster.profile, cluster.scale, cluster.overrides
    )
    return bound.suspicion_max + bound.spread
