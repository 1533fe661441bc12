"""Random schedules keep every invariant, and every invariant meets a node that breaks it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from swimnomad.raft.node import RaftNode
from tests.raft import raft_sabotage as sabotage
from tests.raft.raft_invariants import Broken
from tests.raft.raft_schedules import run_many, run_schedule
from tests.raft.raft_throughput import throughput

SEEDS = 320
CHUNK = 40
SEEDS_TRIED = 150
"""How many schedules a broken node may get through unnoticed."""

Break = Callable[[RaftNode], None]


@pytest.mark.parametrize("first", range(0, SEEDS, CHUNK))
def test_random_schedules_keep_every_invariant(first: int) -> None:
    counts = run_many(first, CHUNK)
    assert counts["writes acknowledged"] > 10 * CHUNK
    assert counts["ReadReady"] > CHUNK // 2
    assert counts["certainly not"]
    assert counts["unknown"]


def test_the_same_seed_gives_the_same_run() -> None:
    def history(seed: int) -> object:
        world = run_schedule(seed).world
        return world.now, world.outcomes, world.invariants.committed

    assert history(7) == history(7)
    assert history(7) != history(8)


def test_three_nodes_commit_at_a_reasonable_pace() -> None:
    # Half of what is aimed at: machines that run tests have other things to do.
    assert throughput(64, 6400) > 10_000


@pytest.mark.parametrize(
    ("broken", "names", "seed"), sabotage.RANDOM, ids=lambda value: getattr(value, "__name__", "")
)
def test_a_broken_node_is_noticed(broken: Break, names: tuple[str, ...], seed: int) -> None:
    for attempt in range(seed, seed + SEEDS_TRIED):
        try:
            run_schedule(attempt, broken)
        except Broken as error:
            if str(error).startswith(names):
                return
        except AssertionError:
            pass  # It broke something else first, as a gap in the log, or never converged.
    pytest.fail("nothing was noticed")
