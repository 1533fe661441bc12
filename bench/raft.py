"""Three server processes on loopback, their logs on disk: token writes a second, and elections.

    python -m bench raft --writes 1500 --failovers 20

Tokens go over HTTP, one by one or with many in flight; each is acknowledged once two of three have
synchronised it. An election is the time from SIGKILL for the leader until both others name the same
new one; with `raft_multiplier` 1 a follower waits one to two seconds before it stands.
"""

from __future__ import annotations

import argparse
import itertools
import os
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import trio
from rich.console import Console
from rich.table import Table

from tests.live.server_processes import Region, ServerProcess, region_of

SERVERS = 3
IN_FLIGHT = 32
WARM_UP = 50


@dataclass
class Rate:
    """How fast writes went."""

    seconds: float
    milliseconds: list[float]

    @property
    def per_second(self) -> float:
        return len(self.milliseconds) / self.seconds


@dataclass
class Figures:
    """What was measured."""

    device: str = ""
    synchronisations: float = 0.0
    rates: dict[str, Rate] = field(default_factory=dict)
    elections: list[float] = field(default_factory=list)
    first_writes: list[float] = field(default_factory=list)


def percentile(values: list[float], share: float) -> float:
    """A value that `share` of them do not exceed."""
    ranked = sorted(values)
    return ranked[min(int(share * len(ranked)), len(ranked) - 1)]


async def write_many(region: Region, to: ServerProcess, count: int, in_flight: int) -> Rate:
    """Write tokens, so many at a time."""
    milliseconds: list[float] = []
    left = itertools.count(count, -1)

    async def writer() -> None:
        while (number := next(left)) > 0:
            begin = time.perf_counter()
            status, text = await region.put_token(to, f"t{number}")
            if status != 200:
                raise RuntimeError(f"a write was answered with {status}: {text}")
            milliseconds.append(1000 * (time.perf_counter() - begin))

    start = time.perf_counter()
    async with trio.open_nursery() as nursery:
        for _ in range(in_flight):
            nursery.start_soon(writer)
    return Rate(time.perf_counter() - start, milliseconds)


async def measure_writes(region: Region, figures: Figures, count: int) -> None:
    leader = await region.leader()
    follower = next(server for server in region.servers if server is not leader)
    await write_many(region, leader, WARM_UP, 1)
    for label, to, in_flight in (
        ("to the leader, one by one", leader, 1),
        (f"to the leader, {IN_FLIGHT} in flight", leader, IN_FLIGHT),
        (f"to a follower, {IN_FLIGHT} in flight", follower, IN_FLIGHT),
    ):
        some = count if in_flight > 1 else count // 5
        figures.rates[label] = await write_many(region, to, some, in_flight)


async def measure_failovers(region: Region, figures: Figures, count: int) -> None:
    for _ in range(count):
        leader = await region.leader()
        rest = [server for server in region.servers if server is not leader]
        begin = time.perf_counter()
        leader.kill()
        new = await region.leader(rest, other_than=leader)
        figures.elections.append(time.perf_counter() - begin)
        await write_many(region, new, 1, 1)
        figures.first_writes.append(time.perf_counter() - begin)
        leader.start()
        await region.leader()


def synchronisations_a_second(directory: Path, seconds: float = 1.0) -> float:
    """How often this disk alone synchronises a small write."""
    count, start = 0, time.perf_counter()
    with (directory / "probe").open("wb", buffering=0) as file:
        while time.perf_counter() < start + seconds:
            file.write(bytes(4096))
            os.fdatasync(file.fileno())
            count += 1
    return count / (time.perf_counter() - start)


def filesystem_of(directory: Path) -> str:
    """The kind of file system that a directory is on."""
    inside = directory.resolve()
    found = [
        part for part in psutil.disk_partitions(all=True) if inside.is_relative_to(part.mountpoint)
    ]
    return max(found, key=lambda part: len(part.mountpoint)).fstype if found else "unknown"


async def measure(directory: Path, given: argparse.Namespace) -> Figures:
    figures = Figures(filesystem_of(directory), synchronisations_a_second(directory))
    async with region_of(SERVERS, directory) as region:
        leader = await region.leader()
        status, text = await region.put(leader, "/v1/acl/bootstrap", None)
        if status != 200:
            raise RuntimeError(f"the first token was answered with {status}: {text}")
        await measure_writes(region, figures, given.writes)
        await measure_failovers(region, figures, given.failovers)
    return figures


def show(figures: Figures) -> None:
    """Print the tables."""
    console = Console()
    title = (
        f"Token writes over HTTP, {SERVERS} server processes and the client on one machine; "
        f"{figures.device}, {figures.synchronisations:,.0f} synchronised writes a second alone"
    )
    table = Table(title=title, title_justify="left")
    for name in ("", "writes/s", "p50, ms", "p99, ms"):
        table.add_column(name, justify="right" if name else "left")
    for label, rate in figures.rates.items():
        times = rate.milliseconds
        table.add_row(
            label,
            f"{rate.per_second:,.0f}",
            f"{percentile(times, 0.5):.1f}",
            f"{percentile(times, 0.99):.1f}",
        )
    console.print(table)
    table = Table(title="Seconds after SIGKILL for the leader", title_justify="left")
    for name in ("", "times", "p50", "p90", "p99", "max"):
        table.add_column(name, justify="right" if name else "left")
    for label, times in (
        ("both others name a new leader", figures.elections),
        ("a write is acknowledged", figures.first_writes),
    ):
        shares = [f"{percentile(times, share):.2f}" for share in (0.5, 0.9, 0.99)]
        table.add_row(label, str(len(times)), *shares, f"{max(times):.2f}")
    console.print(table)


def main() -> None:
    """Read the arguments, run, print."""
    parser = argparse.ArgumentParser(prog="python -m bench raft")
    parser.add_argument("--writes", type=int, default=1500)
    parser.add_argument("--failovers", type=int, default=20)
    parser.add_argument("--directory", type=Path, default=None, help="on the disk to measure")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.directory) as place:
        show(trio.run(measure, Path(place), given))


if __name__ == "__main__":
    main()
