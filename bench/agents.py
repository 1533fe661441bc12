"""Agent processes beside real Serf agents: joining at once, idle cost, memory, readiness.

Both kinds are measured the same way in the same run: each writes its log to a file, and a member
counts as seen when the log names it (`EventMemberJoin`). Joins start when all processes are up.
The Serf agents carry the tags of a Nomad server: bare ones fit thrice as often into a datagram.
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
import uuid
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
JOIN_RUNS = 3


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


def serf_command(host: str, node: str) -> list[str]:
    """A real Serf agent with tags of the same length as ours."""
    tags = {
        "role": "nomad",
        "region": "global",
        "dc": "dc1",
        "vsn": "1",
        "mvn": "1",
        "build": "1.0.4",
        "raft_vsn": "2",
        "id": str(uuid.uuid4()),
        "rpc_addr": host,
        "port": "4647",
    }
    command = ["serf", "agent", f"-node={node}.global", f"-bind={host}:4648"]
    command += [f"-rpc-addr={host}:7373", "-profile=lan"]
    return command + [f"-tag={name}={value}" for name, value in tags.items()]


def serf_join(host: str, seed: str) -> None:
    """Tell a real Serf agent to join `seed`."""
    serf_rpc(host, "join", f"{seed}:4648")


SERF = Kind(
    "serf 0.9.4", serf_command, lambda host: serf_rpc(host, "members").returncode == 0, serf_join
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


def measure_join(kind: Kind, agents: list[Running]) -> float:
    """Seconds from telling all agents at once to join the first until all see all."""
    with ThreadPoolExecutor(AGENTS) as pool:
        begin = time.perf_counter()
        joins = [pool.submit(kind.join, agent.host, agents[0].host) for agent in agents[1:]]
        wait_until("all see all", lambda: all(a.members_seen() >= AGENTS for a in agents))
        seconds = time.perf_counter() - begin
        for join in joins:
            join.result()
    return seconds


def measure_idle(agents: list[Running]) -> tuple[float, float]:
    """CPU of the median agent in percent of a core, and its resident memory in MB."""
    time.sleep(10)  # let the join's broadcasts run out
    processes = [psutil.Process(agent.process.pid) for agent in agents]
    before = [sum(process.cpu_times()[:2]) for process in processes]
    time.sleep(IDLE_SECONDS)
    used = [
        sum(process.cpu_times()[:2]) - start
        for process, start in zip(processes, before, strict=True)
    ]
    memory = statistics.median(process.memory_info().rss for process in processes) / 1e6
    return 100 * statistics.median(used) / IDLE_SECONDS, memory


def measure_kinds(kinds: list[Kind], block: int) -> dict[str, tuple[float, float, float]]:
    """For each kind: median seconds to join, idle CPU, memory. The kinds take turns."""
    joins: dict[str, list[float]] = {kind.name: [] for kind in kinds}
    idle = {}
    for run in range(JOIN_RUNS):
        for kind in kinds:
            block += 1
            with running(kind, AGENTS, block) as agents:
                joins[kind.name].append(measure_join(kind, agents))
                if run == JOIN_RUNS - 1:
                    idle[kind.name] = measure_idle(agents)
    return {name: (statistics.median(times), *idle[name]) for name, times in joins.items()}


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
    kinds = [SWIMNOMAD, *([SERF] if shutil.which("serf") else [])]
    figures = measure_kinds(kinds, block)
    table = Table(title=f"{AGENTS} agent processes, LAN profile", title_justify="left")
    for column in ("", "swimnomad", SERF.name, "ratio", "wanted"):
        table.add_column(column, justify="right" if column else "left")
    rows = (
        (f"all see all, s (median of {JOIN_RUNS})", "≤ 2 × serf"),
        ("idle CPU of one, % of a core", "≤ 1.2 %"),
        ("resident memory of one, MB", "≤ 60 MB"),
    )
    for index, (label, wanted) in enumerate(rows):
        mine = figures[SWIMNOMAD.name][index]
        other = figures[SERF.name][index] if SERF.name in figures else None
        ratio = f"{mine / other:.2f}" if other else ""
        theirs = f"{other:.2f}" if other is not None else "not installed"
        table.add_row(label, f"{mine:.2f}", theirs, ratio, wanted)
    ready = measure_ready(block + 16)
    table.add_row("exec to first HTTP answer, s", f"{ready:.2f}", "", "", "≤ 0.8 s")
    Console().print(table)


if __name__ == "__main__":
    main()
