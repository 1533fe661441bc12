"""The search: many runs over all cores, in one order whatever their number; what fails is shrunk.

Run number n of a search with seed S draws its schedule from `S/n` and is simulated with seed n, so
a run depends on nothing but these two numbers. Workers are processes started afresh; their results
are taken in the order of the runs.

A bug breaks the same promise in many runs. Only the first run of each broken promise is shrunk, the
others are counted. Findings are in the order of the invariants: what must never happen comes before
an agreement that does not come about.
"""

from __future__ import annotations

import multiprocessing
import random
import signal
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing, contextmanager
from functools import partial

from swimnomad.explore.schedules import random_scenario
from swimnomad.explore.shrink import Shrinker, Shrunk
from swimnomad.explore.trial import Outcome, run_trial
from swimnomad.names import Value
from swimnomad.scenario.bounds import convergence_bound
from swimnomad.scenario.model import ClusterSpec, Scenario
from swimnomad.sim.invariants import INVARIANTS

BATCH = 5
"""Runs that a worker takes at a time: enough to make handing them over cheap, few enough that
progress is seen and all workers end together."""

OnProgress = Callable[[int], None]
"""Told how many runs are done."""
OnShrink = Callable[[str, int], None]
"""Told which failure is being shrunk, and the runs that this has cost so far."""


class Found(Value, frozen=True):
    """A promise that was broken: in which runs, and the first of these made short."""

    invariant: str
    runs: tuple[int, ...]
    shrunk: Shrunk


class Report(Value, frozen=True):
    """What a search has found.

    `runs`: how many were done, all unless it `was_interrupted`. `cut_short`: runs that ended early
    because a step failed.
    """

    runs: int
    cut_short: int
    cluster_seconds: float
    found: tuple[Found, ...]
    was_interrupted: bool = False


def schedule_of(base: Scenario, seed: int, number: int) -> Scenario:
    """The scenario of run `number` of a search with `seed`."""
    rng = random.Random(f"{seed}/{number}")
    return random_scenario(base, rng, settle_time(base.cluster))


def settle_time(cluster: ClusterSpec) -> float:
    """Seconds a run goes on after all is repaired, even if all is well: one push/pull each.

    By then what was held back has arrived, and every node has told somebody all it knows.
    """
    nodes = sum(cluster.sizes.values())
    bound = convergence_bound(nodes, cluster.profile, cluster.scale, cluster.overrides)
    return bound.push_pull


def search(
    base: Scenario,
    runs: int,
    seed: int,
    jobs: int,
    on_progress: OnProgress = lambda done: None,
    on_shrink: OnShrink = lambda invariant, runs: None,
) -> Report:
    """Try random schedules on the base's cluster.

    Ctrl-C ends the runs or the shrinking: what was found by then is in the report, as short as it
    got.

    Args:
        base: Cluster, network and first steps.
        runs: How many, numbered from 1.
        seed: Of the search.
        jobs: Processes; with 1 everything happens in this one.
        on_progress: Told after each run.
        on_shrink: Told after each run of shrinking.

    Raises:
        OperationError: If a cluster could not be started.
    """
    failing: dict[str, list[int]] = {}
    firsts: dict[str, Outcome] = {}
    done = cut_short = 0
    seconds = 0.0
    was_interrupted = False
    try:
        with closing(_outcomes(base, runs, seed, jobs)) as outcomes:
            for outcome in outcomes:
                done += 1
                seconds += outcome.cluster_seconds
                cut_short += bool(outcome.cut_short)
                if outcome.failure is not None:
                    failing.setdefault(outcome.failure.invariant, []).append(done)
                    firsts.setdefault(outcome.failure.invariant, outcome)
                on_progress(done)
    except KeyboardInterrupt:
        was_interrupted = True
    found: list[Found] = []
    for invariant in sorted(failing, key=_weight):
        numbers, first = failing[invariant], firsts[invariant]
        assert first.failure is not None
        shrinker = Shrinker(
            schedule_of(base, seed, numbers[0]),
            numbers[0],
            first.failure,
            first.cluster_seconds,
            partial(on_shrink, invariant),
        )
        try:
            if not was_interrupted:
                shrinker.shrink()
        except KeyboardInterrupt:
            was_interrupted = True
        found.append(Found(invariant, tuple(numbers), shrinker.shrunk))
    return Report(done, cut_short, seconds, tuple(found), was_interrupted)


def _weight(invariant: str) -> int:
    """Bugs first, then what must never happen, last what must happen some day."""
    return INVARIANTS.index(invariant) if invariant in INVARIANTS else -1


def _outcomes(base: Scenario, runs: int, seed: int, jobs: int) -> Generator[Outcome]:
    """The outcome of every run, in order."""
    batches = [range(start, min(start + BATCH, runs + 1)) for start in range(1, runs + 1, BATCH)]
    work = partial(_run_batch, base, seed)
    if jobs == 1:
        for batch in batches:
            yield from work(batch)
        return
    with _workers(min(jobs, len(batches))) as workers:
        for outcomes in workers.map(work, batches):
            yield from outcomes


def _run_batch(base: Scenario, seed: int, numbers: Iterable[int]) -> list[Outcome]:
    return [run_trial(schedule_of(base, seed, number), number) for number in numbers]


@contextmanager
def _workers(count: int) -> Iterator[ProcessPoolExecutor]:
    """Processes that end with the block, also if it ends by an interrupt."""
    # Not forked: a child would inherit threads and locks of whoever calls this.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(count, mp_context=context, initializer=_ignore_interrupts)
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _ignore_interrupts() -> None:
    """Ctrl-C reaches every process of the terminal; the first one sees to it that all end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
