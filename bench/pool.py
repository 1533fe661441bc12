"""Many nodes in one process over real UDP: how soon all see all, and whether it stays so.

    python -m bench pool --nodes 200 300 --watch 60

Every node has its own loopback address and sockets; all join the first one at the same time. Then
the pool is watched for suspicions and failures, of which there must be none: nothing is broken.
"""

from __future__ import annotations

import argparse
import gc
import os
import random
import time
from dataclasses import dataclass

import psutil
import trio
from rich.console import Console
from rich.table import Table

from swimnomad.live.bind import bind_pair
from swimnomad.live.endpoint import GossipEndpoint
from swimnomad.live.program import GC_THRESHOLDS
from swimnomad.names import Address
from swimnomad.serf.config import SerfConfig
from swimnomad.serf.events import MemberFailed, Status
from swimnomad.serf.node import SerfNode
from swimnomad.swim.config import SwimConfig, profile_settings
from swimnomad.swim.effects import Event
from swimnomad.swim.events import NodeSuspected
from swimnomad.swim.inputs import Join, JoinTarget

GOSSIP_PORT = 7946
LOOK_INTERVAL = 0.5
"""Seconds between two looks at all tables, which at 300 nodes hold 90,000 entries."""
WANTED_SECONDS = 20.0


@dataclass
class Figures:
    """What one pool showed; `all_see_all` is None if it did not get there in time."""

    nodes: int
    all_see_all: float | None = None
    joining_suspicions: int = 0
    suspicions: int = 0
    failures: int = 0
    cpu_percent: float = 0.0
    rss_mib: float = 0.0

    @property
    def is_as_wanted(self) -> bool:
        """All saw all in time, and nobody was wrongly suspected since."""
        in_time = self.all_see_all is not None and self.all_see_all <= WANTED_SECONDS
        return in_time and not self.suspicions and not self.failures


class Pool:
    """The nodes and what was wrongly said about them."""

    def __init__(self, given: argparse.Namespace) -> None:
        self._given = given
        self.nodes: list[tuple[SerfNode, GossipEndpoint]] = []
        self.suspicions = 0
        self.failures = 0

    def add(self, number: int) -> GossipEndpoint:
        """Make node `number`; its task is not running yet."""
        settings = {**profile_settings(self._given.profile)}
        settings["compression"] = not self._given.no_compression
        swim = SwimConfig(name=f"n{number}", **settings)  # type: ignore[arg-type]  # checked by SwimConfig
        rng = random.Random(f"{self._given.seed}/{number}")
        node = SerfNode(SerfConfig(swim=swim), rng)
        host = f"{self._given.net}.{number // 250}.{1 + number % 250}"
        endpoint = GossipEndpoint(node, bind_pair(Address(host, GOSSIP_PORT)))
        endpoint.hub.listen(self._note)
        self.nodes.append((node, endpoint))
        return endpoint

    def _note(self, event: Event) -> None:
        if isinstance(event, NodeSuspected):
            self.suspicions += 1
        elif isinstance(event, MemberFailed):
            self.failures += 1

    def share_known(self) -> float:
        """Share of the pairs (who, whom) in which the one sees the other alive."""
        known = sum(
            member.status == Status.ALIVE
            for node, _ in self.nodes
            for member in node.members.values()
        )
        return known / len(self.nodes) ** 2


class Usage:
    """CPU time of this process between two moments."""

    def __init__(self) -> None:
        self._process = psutil.Process(os.getpid())
        self._wall = time.perf_counter()
        self._cpu = self._cpu_now()

    def _cpu_now(self) -> float:
        return float(sum(self._process.cpu_times()[:2]))

    def take(self) -> tuple[float, float, float]:
        """Seconds and percent of a core since the last call, resident MiB now."""
        wall, cpu = time.perf_counter() - self._wall, self._cpu_now() - self._cpu
        self._wall, self._cpu = time.perf_counter(), self._cpu_now()
        return wall, 100 * cpu / wall, self._process.memory_info().rss / 2**20


async def converge(pool: Pool, limit: float) -> float | None:
    """Seconds until all see all; None if that takes more than `limit`."""
    begin = trio.current_time()
    with trio.move_on_after(limit):
        while pool.share_known() < 1:  # noqa: ASYNC110 - an event a change costs more
            await trio.sleep(LOOK_INTERVAL)
        return trio.current_time() - begin
    return None


async def measure(given: argparse.Namespace, nodes: int) -> Figures:
    """Build a pool, let it converge, watch it."""
    gc.set_threshold(*GC_THRESHOLDS)
    pool, figures = Pool(given), Figures(nodes)
    async with trio.open_nursery() as tasks:
        for number in range(nodes):
            await tasks.start(pool.add(number).serve)
        target = (JoinTarget(pool.nodes[0][1].address),)
        for _, endpoint in pool.nodes[1:]:
            tasks.start_soon(endpoint.execute, lambda operation: Join(operation, target))
        figures.all_see_all = await converge(pool, given.limit)
        figures.joining_suspicions, failures = pool.suspicions, pool.failures
        if figures.all_see_all is not None:
            usage = Usage()
            await trio.sleep(given.watch)
            _, figures.cpu_percent, figures.rss_mib = usage.take()
            figures.suspicions = pool.suspicions - figures.joining_suspicions
            figures.failures = pool.failures - failures
        tasks.cancel_scope.cancel()
    return figures


def show(pools: list[Figures], watch: float) -> None:
    """Print the table."""
    table = Table(title="many nodes in one process, real UDP, LAN profile", title_justify="left")
    table.add_column("")
    for figures in pools:
        table.add_column(f"{figures.nodes} nodes", justify="right")
    table.add_column("wanted", justify="right")

    def row(label: str, cells: list[str], wanted: str = "") -> None:
        table.add_row(label, *cells, wanted)

    seconds = [figures.all_see_all for figures in pools]
    row(
        "all see all, s",
        ["not in time" if value is None else f"{value:.1f}" for value in seconds],
        f"≤ {WANTED_SECONDS:g}",
    )
    row("reports of a suspicion until then", [str(f.joining_suspicions) for f in pools])
    row(f"reports of a suspicion in {watch:g} s after", [str(f.suspicions) for f in pools], "0")
    row("reports of a failure after", [str(f.failures) for f in pools], "0")
    row("CPU after, % of a core", [f"{f.cpu_percent:.0f}" for f in pools])
    row("resident memory, MiB", [f"{f.rss_mib:.0f}" for f in pools])
    Console().print(table)


def main() -> int:
    """Read the arguments and run; 0 if every pool did what is wanted."""
    parser = argparse.ArgumentParser(prog="python -m bench pool")
    parser.add_argument("--nodes", type=int, nargs="+", default=[200, 300])
    parser.add_argument("--watch", type=float, default=60.0, help="seconds to watch afterwards")
    parser.add_argument("--profile", default="lan")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--limit", type=float, default=120.0, help="seconds to converge in")
    parser.add_argument("--net", default="127.20", help="first half of the addresses")
    parser.add_argument("--no-compression", action="store_true")
    given = parser.parse_args()
    pools = [trio.run(measure, given, nodes) for nodes in given.nodes]
    show(pools, given.watch)
    return 0 if all(figures.is_as_wanted for figures in pools) else 1


if __name__ == "__main__":
    raise SystemExit(main())
