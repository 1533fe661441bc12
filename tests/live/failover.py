"""Kills, freezes and cuts off leaders of five server processes, and counts what is left.

    python -m tests.live.failover --kills 10

Followers are killed as well, and leave Raft: by force-leave, or as Autopilot cleans up.

Tokens are written over HTTP all the while, to any server, each under a name of its own and once.
In the end every one that was acknowledged must be there, none twice, and none of which it was said
that it cannot have been written. Prints how long everything took; the status is 1 if something did
not hold.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import signal
import statistics
import sys
import tempfile
import uuid
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import trio
from rich.console import Console
from rich.table import Table

from tests.live.server_processes import Region, ServerProcess, region_of, until

SERVERS = 5
WRITERS = 4
PAUSE = 0.02
"""Seconds between two writes of one writer."""
WANTED = 5.0
"""Seconds within which there must be a leader again."""
FREEZE = 8.0
BACK_BOUND = 20.0
"""The leader may miss the gossip of who is back: it is sent twice. Then a push/pull tells, which
come every 15 s."""
REMOVED_BOUND = 35.0
"""Suspicion takes 18 s if the leader misses what others say of the dead, Autopilot looks every 10,
and a probe comes within a few."""
PATIENCE = 3.0
"""Seconds that a writer waits for an answer; a frozen server gives none."""
NO_LEADER = "No cluster leader"
NOT_REACHED = ("failed to get conn", "ConnectError", "ConnectTimeout")
"""A write that nobody received: its text is one of these, or begins so behind a prefix."""
_CONFIGURATION = "/v1/operator/raft/configuration?stale"
_AUTOPILOT = "/v1/operator/autopilot/configuration"
_ADDRESS = re.compile(r"[\d.]+:\d+")


class Journal:
    """What became of every write, and how long things took."""

    def __init__(self) -> None:
        self.acknowledged: dict[str, str] = {}
        """Accessor by name."""
        self.refused: dict[str, str] = {}
        """Why it was certainly not written, by name."""
        self.unknown: dict[str, str] = {}
        """Why nobody knows, by name."""
        self.times: dict[str, list[float]] = {}
        self.problems: list[str] = []

    def note(self, name: str, status: int, text: str) -> None:
        """One write has ended."""
        if status == 200:
            self.acknowledged[name] = json.loads(text)["AccessorID"]
        elif text == NO_LEADER or any(part in text for part in NOT_REACHED):
            self.refused[name] = text
        else:
            self.unknown[name] = text

    def took(self, what: str, seconds: float, wanted: float = WANTED) -> None:
        """Something has taken so long."""
        self.times.setdefault(what, []).append(seconds)
        if seconds > wanted:
            self.problems.append(f"{what} took {seconds:.2f} s")

    def expect(self, holds: bool, problem: str) -> None:
        """Something must hold."""
        if not holds:
            self.problems.append(problem)


async def write_tokens(region: Region, journal: Journal, rng: random.Random) -> None:
    """Write tokens, one after another, to any server."""
    while True:
        name = str(uuid.UUID(int=rng.getrandbits(128)))
        status, text = await region.put_token(rng.choice(region.servers), name, PATIENCE)
        journal.note(name, status, text)
        await trio.sleep(PAUSE)


@asynccontextmanager
async def writing(region: Region, journal: Journal, rng: random.Random) -> AsyncIterator[None]:
    """Writers that write for the length of the block."""
    async with trio.open_nursery() as nursery:
        for _ in range(WRITERS):
            nursery.start_soon(write_tokens, region, journal, rng)
        yield
        nursery.cancel_scope.cancel()


async def acknowledged_more(journal: Journal) -> None:
    """Return once another write has been acknowledged."""
    count = len(journal.acknowledged)

    async def is_more() -> bool:
        return len(journal.acknowledged) > count

    await until(is_more)


async def kill_leader(region: Region, journal: Journal) -> None:
    """SIGKILL for the leader; another one leads; the old one comes back with its data."""
    leader = await region.leader()
    start = trio.current_time()
    leader.kill()
    rest = [server for server in region.servers if server is not leader]
    await region.leader(rest, other_than=leader)
    journal.took("leader after SIGKILL", trio.current_time() - start)
    await acknowledged_more(journal)
    journal.took("write acknowledged after SIGKILL", trio.current_time() - start, WANTED + 2)
    start = trio.current_time()
    leader.start()
    await region.leader()
    journal.took("killed one back, leader known to it", trio.current_time() - start, 10.0)


async def freeze_leader(region: Region, journal: Journal) -> None:
    """SIGSTOP for the leader, longer than any timeout; on waking it follows."""
    leader = await region.leader()
    start = trio.current_time()
    leader.signal(signal.SIGSTOP)
    rest = [server for server in region.servers if server is not leader]
    try:
        await region.leader(rest, other_than=leader)
        journal.took("leader after SIGSTOP", trio.current_time() - start)
        await trio.sleep_until(start + FREEZE)
    finally:
        leader.signal(signal.SIGCONT)
    start = trio.current_time()

    async def follows() -> bool:
        found = await region.look(leader, "/v1/agent/self")
        return bool(found) and found["stats"]["raft"]["state"] == "Follower"

    await until(follows)
    journal.took("frozen leader steps down on waking", trio.current_time() - start)
    await region.leader(other_than=leader)
    journal.took("frozen leader knows the new one", trio.current_time() - start)
    await acknowledged_more(journal)


async def leave_minority(region: Region, journal: Journal, *, with_leader: bool) -> None:
    """Freeze three of five: the other two refuse writes; then all go on."""
    leader = await region.leader()
    others = [server for server in region.servers if server is not leader]
    kept = [leader, others[0]] if with_leader else others[:2]
    label = "with the leader" if with_leader else "without the leader"
    frozen = [server for server in region.servers if server not in kept]
    start = trio.current_time()
    try:
        for server in frozen:
            server.signal(signal.SIGSTOP)
        await region.without_leader(kept)
        journal.took(f"minority {label} knows no leader", trio.current_time() - start)
        for server in kept:
            start = trio.current_time()
            name = f"minority-{uuid.uuid4()}"
            status, text = await region.put_token(server, name)
            journal.note(name, status, text)
            journal.took(f"minority {label} refuses", trio.current_time() - start, WANTED + 2)
            journal.expect(
                (status, text) == (500, NO_LEADER), f"a minority answered {status} {text!r}"
            )
    finally:
        for server in frozen:
            server.signal(signal.SIGCONT)
    start = trio.current_time()
    await region.leader()
    journal.took("leader after the minority healed", trio.current_time() - start, 10.0)
    await acknowledged_more(journal)


async def until_peers(region: Region, count: int) -> float:
    """Return once all that run show so many peers of Raft, with the seconds that took."""
    running = [server for server in region.servers if server.is_running]

    async def all_show() -> bool:
        shown = [await region.look(server, _CONFIGURATION) for server in running]
        return all(one is not None and len(one["Servers"]) == count for one in shown)

    return await until(all_show, 2 * BACK_BOUND)


async def set_clean_up(region: Region, journal: Journal, is_on: bool) -> None:
    """Let Autopilot remove dead servers, or keep it from that."""
    leader = await region.leader()
    settings = {**await region.look(leader, _AUTOPILOT), "CleanupDeadServers": is_on}
    status, text = await region.put(leader, _AUTOPILOT, settings)
    journal.expect(status == 200, f"the settings of Autopilot: {status} {text!r}")


async def lose_follower(region: Region, journal: Journal, *, is_forced: bool) -> None:
    """Kill a follower for good: it is forced out, or Autopilot does so; then it comes back."""
    await set_clean_up(region, journal, not is_forced)
    leader = await region.leader()
    journal.took("all five are peers", await until_peers(region, SERVERS), BACK_BOUND)
    follower = next(server for server in region.servers if server is not leader)
    follower.kill()
    if is_forced:
        start = trio.current_time()

        async def is_failed() -> bool:
            found = await region.look(leader, "/v1/agent/members") or {"Members": ()}
            states = {member["Name"]: member["Status"] for member in found["Members"]}
            return states.get(f"{follower.name}.global") == "failed"

        await until(is_failed)
        journal.took("killed follower is failed", trio.current_time() - start, 10.0)
        journal.took("its peer is still there", await until_peers(region, SERVERS), 1.0)
        path = f"/v1/agent/force-leave?node={follower.name}.global"
        status, text = await region.put(leader, path, None)
        journal.expect(status == 200, f"force-leave answered {status} {text!r}")
    label = "force-leave removes the peer" if is_forced else "Autopilot removes a dead peer"
    journal.took(
        label, await until_peers(region, SERVERS - 1), WANTED if is_forced else REMOVED_BOUND
    )
    follower.start()
    journal.took("it is back and a peer again", await until_peers(region, SERVERS), BACK_BOUND)
    await region.leader()


async def tokens_at(
    region: Region, server: ServerProcess, query: str = "?stale"
) -> list[tuple[str, str]]:
    """Names and accessors that one server has; stale ones of a follower may be late."""
    answer = await region.client.get(server.url(f"/v1/acl/tokens{query}"))
    return sorted((token["Name"], token["AccessorID"]) for token in answer.json())


async def count_tokens(region: Region, journal: Journal) -> None:
    """Compare what was acknowledged with what is there, at every server."""
    found: list[tuple[str, str]] = []

    async def all_agree() -> bool:
        # What was under way when the writers stopped may still come.
        found[:] = await tokens_at(region, await region.leader(), "")
        return all([await tokens_at(region, server) == found for server in region.servers])

    journal.took("all servers hold the same", await until(all_agree), 10.0)
    names = Counter(name for name, _ in found)
    doubled = [name for name, count in names.items() if count > 1]
    journal.expect(not doubled, f"{len(doubled)} tokens are there twice")
    lost = set(journal.acknowledged.items()) - set(found)
    journal.expect(not lost, f"{len(lost)} acknowledged tokens are lost")
    ghosts = journal.refused.keys() & set(names)
    journal.expect(not ghosts, f"{len(ghosts)} refused tokens are there")


def show(journal: Journal) -> None:
    """Print the table."""
    table = Table(title=f"{SERVERS} server processes, raft_multiplier 1", title_justify="left")
    for name in ("seconds", "times", "median", "max"):
        table.add_column(name, justify="left" if name == "seconds" else "right")
    for what, times in journal.times.items():
        median, most = statistics.median(times), max(times)
        table.add_row(what, str(len(times)), f"{median:.2f}", f"{most:.2f}")
    console = Console()
    console.print(table)
    console.print(f"{len(journal.acknowledged)} tokens acknowledged")
    for label, texts in (("refused", journal.refused), ("of unknown fate", journal.unknown)):
        reasons = Counter(_ADDRESS.sub("…", text) for text in texts.values())
        told = "; ".join(f"{count} × {text}" for text, count in reasons.most_common())
        console.print(f"{len(texts)} {label}: {told}", soft_wrap=True)
    for problem in journal.problems:
        console.print(f"PROBLEM: {problem}")


async def run(kills: int, rng: random.Random, directory: Path) -> Journal:
    """Do it all; what came of it."""
    journal = Journal()
    start = trio.current_time()
    async with region_of(SERVERS, directory) as region:
        await region.leader()
        journal.took("leader known everywhere after the start", trio.current_time() - start)
        status, text = await region.put(region.servers[0], "/v1/acl/bootstrap", None)
        journal.expect(status == 200, f"bootstrap of ACLs answered {status} {text!r}")
        async with writing(region, journal, rng):
            for _ in range(kills):
                await kill_leader(region, journal)
            await freeze_leader(region, journal)
            await leave_minority(region, journal, with_leader=True)
            await leave_minority(region, journal, with_leader=False)
            await lose_follower(region, journal, is_forced=True)
            await lose_follower(region, journal, is_forced=False)
        await count_tokens(region, journal)
    return journal


def main() -> int:
    """Read the arguments and run; 0 if everything held."""
    parser = argparse.ArgumentParser(prog="python -m tests.live.failover")
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--directory", type=Path, default=None, help="keep data and logs there")
    given = parser.parse_args()
    seed = random.randrange(10**9) if given.seed is None else given.seed
    with tempfile.TemporaryDirectory() as place:
        journal = trio.run(run, given.kills, random.Random(seed), given.directory or Path(place))
    show(journal)
    return 1 if journal.problems else 0


if __name__ == "__main__":
    sys.exit(main())
