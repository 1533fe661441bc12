"""Agent processes beside real Serf agents: joining at once, idle cost, memory, readiness.

Both kinds are measured the same way in the same run: each writes its log to a file, and a member
counts as seen when the log names it (`EventMemberJoin`). Joins start when all processes are up.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table

AGENTS = 20
IDLE_SECONDS = 20.0
DEADLINE_SECONDS = 60.0
READY_RUNS = 7


@dataclass(frozen=True)
class Kind:
    """How to start one kind of agent and how to tell it to join another."""

    name: str
    command: Callable[[str, str], list[str]]
    is_ready: Callable[[str], bool]
    join: Callable[[str, str], None]


@dataclass
class Running:
    """One agent process, where it listens and where it logs."""

    host: str
    process: subprocess.Popen[bytes]
    log: Path

    def members_seen(self) -> int:
        """Number of members that its log has announced."""
        text = self.log.read_text(errors="replace")
        return len(
            {
                line.split("EventMemberJoin: ")[1]
                for line in text.splitlines()
                if "serf: EventMemberJoin: " in line
            }
        )


def http_ready(host: str) -> bool:
    """Whether the agent API answers."""
    try:
        with urllib.request.urlopen(f"http://{host}:4646/v1/agent/self", timeout=1):
            return True
    except (urllib.error.URLError, OSError):
        return False


def http_join(host: str, seed: str) -> None:
    """Tell an agent to join `seed`."""
    url = f"http://{host}:4646/v1/agent/join?address={seed}"
    with urllib.request.urlopen(urllib.request.Request(url, method="PUT"), timeout=30):
        pass


def serf_rpc(host: str, *words: str) -> subprocess.CompletedProcess[bytes]:
    """Run the `serf` client against an agent."""
    return subprocess.run(
        ["serf", words[0], f"-rpc-addr={host}:7373", *words[1:]], capture_output=True, check=False
    )


SWIMNOMAD = Kind(
    "swimnomad",
    lambda host, node: [
        sys.executable,
        "-m",
        "swimnomad",
        "agent",
        "--server",
        "--node",
        node,
        "--bind",
        host,
        "--profile",
        "lan",
        "--allow-any-serf",
    ],
    http_ready,
    http_join,
)
SERF = Kind(
    "serf 0.9.4",
    lambda host, node: [
        "serf",
        "agent",
        f"-node={node}",
        f"-bind={host}:4648",
        f"-rpc-addr={host}:7373",
        "-profile=lan",
    ],
    lambda host: serf_rpc(host, "members").returncode == 0,
    lambda host, seed: (serf_rpc(host, "join", f"{seed}:4648"), None)[1],
)


def wait_until(
    what: str, condition: Callable[[], bool], deadline: float = DEADLINE_SECONDS
) -> float:
    """Poll until the condition holds; return the seconds it took."""
    begin = time.perf_counter()
    while not condition():
        if time.perf_counter() - begin > deadline:
            raise TimeoutError(f"not {what} within {deadline:.0f} s")
        time.sleep(0.02)
    return time.perf_counter() - begin


@contextmanager
def running(kind: Kind, count: int, block: int) -> Iterator[list[Running]]:
    """Start `count` agents on 127.`block`.0.x and end them afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        agents = []
        try:
            for index in range(1, count + 1):
                host, log = f"127.{block}.0.{index}", Path(folder) / f"{index}.log"
                command = kind.command(host, f"n{index}")
                if kind is SWIMNOMAD:
                    command += ["--data-dir", f"{folder}/data-{index}"]
                with log.open("wb") as out:
                    process = subprocess.Popen(command, stdout=out, stderr=out)
                agents.append(Running(host, process, log))
            for agent in agents:
                wait_until(f"{kind.name} ready", partial(kind.is_ready, agent.host))
            yield agents
        finally:
            for agent in agents:
                agent.process.kill()
            for agent in agents:
                agent.process.wait()


def measure_pool(kind: Kind, block: int) -> tuple[float, float, float]:
    """Seconds until all see all, idle CPU of one agent in percent of a core, its memory in MB."""
    with running(kind, AGENTS, block) as agents, ThreadPoolExecutor(AGENTS) as pool:
        begin = time.perf_counter()
        joins = [pool.submit(kind.join, agent.host, agents[0].host) for agent in agents[1:]]
        wait_until("all see all", lambda: all(a.members_seen() >= AGENTS for a in agents))
        joined = time.perf_counter() - begin
        for join in joins:
            join.result()
        time.sleep(10)  # let the join's broadcasts run out
        processes = [psutil.Process(agent.process.pid) for agent in agents]
        before = [sum(p.cpu_times()[:2]) for p in processes]
        time.sleep(IDLE_SECONDS)
        used = [sum(p.cpu_times()[:2]) - b for p, b in zip(processes, before, strict=True)]
        memory = statistics.median(p.memory_info().rss for p in processes) / 1e6
        return joined, 100 * statistics.median(used) / IDLE_SECONDS, memory


def measure_ready(block: int) -> float:
    """Median seconds from exec to the first HTTP answer of a lone agent."""
    times = []
    for run in range(READY_RUNS):
        begin = time.perf_counter()
        with running(SWIMNOMAD, 1, block + run):
            times.append(time.perf_counter() - begin)
    return statistics.median(times)


def main() -> None:
    """Print the table."""
    block = 32 + os.getpid() % 64
    console = Console()
    table = Table(title=f"{AGENTS} agent processes, LAN profile", title_justify="left")
    for column in ("", "swimnomad", "serf 0.9.4", "ratio", "wanted"):
        table.add_column(column, justify="left" if not column else "right")
    ours = measure_pool(SWIMNOMAD, block)
    theirs = measure_pool(SERF, block + 64) if shutil.which("serf") else None
    wanted = ("≤ 2 × serf", "≤ 1.2 %", "≤ 60 MB")
    labels = ("all see all, s", "idle CPU of one, % of a core", "resident memory of one, MB")
    for index, label in enumerate(labels):
        mine = ours[index]
        other = theirs[index] if theirs else None
        table.add_row(
            label,
            f"{mine:.2f}",
            "not installed" if other is None else f"{other:.2f}",
            "" if not other else f"{mine / other:.2f}",
            wanted[index],
        )
    table.add_row(
        "exec to first HTTP answer, s (median)",
        f"{measure_ready(block + 1):.2f}",
        "",
        "",
        "≤ 0.8 s",
    )
    console.print(table)


if __name__ == "__main__":
    main()
