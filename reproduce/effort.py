"""How much an experiment may do: trials, processes, the seed that everything follows from."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from typing import TypeVar

from swimnomad.names import Value

Case = TypeVar("Case")
Outcome = TypeVar("Outcome")


class Effort(Value, frozen=True):
    """The size of a run. `quick` is for CI: the same experiments, small."""

    quick: bool = False
    jobs: int = 1
    seed: int = 1

    def pick(self, full: int, quick: int) -> int:
        """A number of trials by the size of the run."""
        return quick if self.quick else full

    def spread(self, work: Callable[[Case], Outcome], cases: Iterable[Case]) -> list[Outcome]:
        """`work` on every case, in as many processes as allowed; results in order of the cases.

        What a case yields depends on the case alone, so the number of processes changes nothing.
        """
        listed = list(cases)
        if self.jobs == 1 or len(listed) == 1:
            return [work(case) for case in listed]
        with ProcessPoolExecutor(min(self.jobs, len(listed))) as workers:
            return list(workers.map(work, listed))


def jobs_default() -> int:
    """One process a processor."""
    return os.cpu_count() or 1
