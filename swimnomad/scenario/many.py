"""Many runs at once: worker processes that run one scenario after another, each with its seed.

A run owes nothing to others, so results depend on neither the number of processes nor their order.
Own processes and not a pool of the library's: a run may take minutes, and Ctrl-C shall end it now.
"""

from __future__ import annotations

import signal
import traceback
from collections.abc import Callable, Generator
from contextlib import suppress
from itertools import islice
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path

from swimnomad.errors import OperationError, SwimnomadError
from swimnomad.names import Value
from swimnomad.scenario.model import Scenario
from swimnomad.scenario.result import Result
from swimnomad.scenario.run import run_scenario


class Job(Value, frozen=True):
    """One run on the simulator: what, with which seed, and where its journal goes if anywhere."""

    scenario: Scenario
    seed: int
    journal_path: Path | None = None


class RunCrashed(Exception):
    """A run was stopped by a mistake of ours. `number` is that of its job, the text a traceback."""

    def __init__(self, number: int, text: str) -> None:
        super().__init__(text)
        self.number = number


def run_jobs(
    make_job: Callable[[int], Job], count: int, processes: int
) -> Generator[tuple[int, Result]]:
    """Run jobs; yield the number of each and its result as soon as it is there.

    No process outlives the iteration, however it ends.

    Args:
        make_job: Gives the job of a number, when its turn comes.
        count: How many there are, numbered from 0.
        processes: How many run at one time.

    Raises:
        RunCrashed: If a run was stopped by a mistake of ours.
        OperationError: If a cluster could not be started, or a process was ended from outside.
    """
    numbers = iter(range(count))
    workers: dict[Connection, tuple[BaseProcess, int]] = {}
    # Not forked: a fork would copy locks that other threads of a caller hold.
    context = get_context("spawn")
    try:
        for number in islice(numbers, processes):
            ours, theirs = context.Pipe()
            process: BaseProcess = context.Process(target=_work, args=(theirs,), daemon=True)
            process.start()
            theirs.close()
            workers[ours] = process, number
            ours.send(make_job(number))
        while workers:
            for connection in wait(list(workers)):
                assert isinstance(connection, Connection)
                process, number = workers[connection]
                result = _receive(connection, process, number)
                following = next(numbers, None)
                if following is None:
                    del workers[connection]
                    connection.close()
                    process.join()
                else:
                    workers[connection] = process, following
                    connection.send(make_job(following))
                yield number, result
    finally:
        for connection, (process, _) in workers.items():
            connection.close()
            process.terminate()
            process.join()


def _receive(connection: Connection, process: BaseProcess, number: int) -> Result:
    try:
        answer: Result | tuple[str, str] = connection.recv()
    except (EOFError, ConnectionError):
        process.join()
        text = f"a process that ran scenarios ended with status {process.exitcode}"
        raise OperationError(text, may_have_happened=True) from None
    if isinstance(answer, Result):
        return answer
    kind, text = answer
    if kind == "refused":
        raise OperationError(text, may_have_happened=False)
    raise RunCrashed(number, text)


def _work(connection: Connection) -> None:
    """A worker process: answers each job until the connection ends, as it does with its parent."""
    # Ctrl-C reaches every process of the terminal; the parent ends the workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with suppress(EOFError, ConnectionError):
        while True:
            job: Job = connection.recv()
            connection.send(_answer(job))


def _answer(job: Job) -> Result | tuple[str, str]:
    try:
        return run_scenario(job.scenario, job.seed, journal_path=job.journal_path)
    except SwimnomadError as error:
        return "refused", str(error)
    except Exception:
        return "crashed", traceback.format_exc()
