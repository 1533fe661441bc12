"""Many nodes in one process over real UDP: how soon all see all, and whether it stays so.

    python -m bench pool --nodes 300 --watch 60

Every node has its own loopback address and sockets; all join the first one at the same time. Then
the pool is watched for suspicions and failures, of which there must be none: nothing is broken.
"""

from __future__ import annotations

import argparse
import gc
import os
import random
import time

import psutil
import trio

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

    def total(self, counter: str) -> int:
        """Sum of a counter over all endpoints."""
        return sum(getattr(endpoint.counters, counter) for _, endpoint in self.nodes)


class Usage:
    """CPU time of this process between two moments."""

    def __init__(self) -> None:
        self._process = psutil.Process(os.getpid())
        self._restart()

    def _restart(self) -> None:
        self._wall = time.perf_counter()
        self._cpu = sum(self._process.cpu_times()[:2])

    def report(self, title: str, pool: Pool) -> None:
        """Print what was used since the last report."""
        wall = time.perf_counter() - self._wall
        cpu = sum(self._process.cpu_times()[:2]) - self._cpu
        rss_mib = self._process.memory_info().rss / 2**20
        print(
            f"{title:<22} {wall:7.2f} s wall {cpu:7.2f} s CPU {100 * cpu / wall:6.1f} % of a core"
            f"  {100 * cpu / wall / len(pool.nodes):6.3f} % a node  RSS {rss_mib:6.1f} MiB"
        )
        print(
            f"{'':<22} datagrams in {pool.total('datagrams_in')} out {pool.total('datagrams_out')}"
            f" dropped {pool.total('datagrams_dropped')} unsent {pool.total('send_errors')}"
            f"  streams {pool.total('streams_in')}"
            f"  suspicions {pool.suspicions} failures {pool.failures}"
        )
        self._restart()


async def run(given: argparse.Namespace) -> bool:
    """Build the pool, let it converge, watch it; whether all went well."""
    gc.set_threshold(*GC_THRESHOLDS)
    pool = Pool(given)
    usage = Usage()
    async with trio.open_nursery() as tasks:
        for number in range(given.nodes):
            await tasks.start(pool.add(number).serve)
        usage.report(f"{given.nodes} nodes started", pool)
        target = (JoinTarget(pool.nodes[0][1].address),)
        for _, endpoint in pool.nodes[1:]:
            tasks.start_soon(endpoint.execute, lambda operation: Join(operation, target))
        # Each rumour is sent a fixed number of times by everybody who hears it, so that now and
        # then one node misses one; the next push/pull tells it. Hence two milestones.
        for share, title in ((0.999, "99.9 % of pairs"), (1.0, "all see all")):
            with trio.move_on_after(given.limit) as waiting:
                while pool.share_known() < share:  # noqa: ASYNC110 - an event a change costs more
                    await trio.sleep(LOOK_INTERVAL)
            if waiting.cancelled_caught:
                usage.report(f"not converged: {pool.share_known():.4%}", pool)
                tasks.cancel_scope.cancel()
                return False
            usage.report(title, pool)
        before = pool.suspicions, pool.failures
        await trio.sleep(given.watch)
        usage.report(f"watched {given.watch:g} s", pool)
        tasks.cancel_scope.cancel()
    return (pool.suspicions, pool.failures) == before


def main() -> int:
    """Read the arguments and run; 0 if all saw all and nobody was wrongly suspected since."""
    parser = argparse.ArgumentParser(prog="python -m bench pool")
    parser.add_argument("--nodes", type=int, default=300)
    parser.add_argument("--watch", type=float, default=0.0, help="seconds to watch afterwards")
    parser.add_argument("--profile", default="lan")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--limit", type=float, default=120.0, help="seconds to converge in")
    parser.add_argument("--net", default="127.20", help="first half of the addresses")
    parser.add_argument("--no-compression", action="store_true")
    return 0 if trio.run(run, parser.parse_args()) else 1


if __name__ == "__main__":
    raise SystemExit(main())
