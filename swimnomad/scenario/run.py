"""Runs a scenario file: the entry point for the command line and for tests."""

from __future__ import annotations

from pathlib import Path
from time import perf_counter  # noqa: TID251 - measures the run; nothing in it depends on this

import msgspec

from swimnomad.scenario.backend import Backend, run_to_end
from swimnomad.scenario.bounds import convergence_bound
from swimnomad.scenario.facts import Facts
from swimnomad.scenario.loader import load_scenario
from swimnomad.scenario.model import Scenario
from swimnomad.scenario.result import Result
from swimnomad.scenario.runner import Runner


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
    return run_scenario(load_scenario(path, on), on, seed, journal_path)


def run_scenario(
    scenario: Scenario, on: str = "sim", seed: int = 1, journal_path: Path | None = None
) -> Result:
    """Run a scenario that was loaded for this backend; see `run_file`."""
    start = perf_counter()
    facts = Facts(_excuse_grace(scenario))
    if on == "sim":
        from swimnomad.scenario.sim_backend import SimBackend

        backend: Backend = SimBackend(facts, seed, journal_path)
        result = run_to_end(Runner(scenario, backend, facts, seed).run())
    else:
        from swimnomad.scenario.live_backend import run_live

        result = run_live(scenario, facts, seed)
    return msgspec.structs.replace(result, wall_seconds=round(perf_counter() - start, 3))


def _excuse_grace(scenario: Scenario) -> float:
    """How long after a disturbance a verdict from before it may still arrive."""
    cluster = scenario.cluster
    bound = convergence_bound(sum(cluster.sizes.values()), cluster.profile, cluster.scale)
    return bound.suspicion_max + bound.spread
