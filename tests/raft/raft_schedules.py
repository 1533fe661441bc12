"""Random schedules: everything that can happen to servers, drawn from a seed.

    python -m tests.raft.raft_schedules FIRST COUNT

runs many of them in one process, each with the invariants checked after each step, and prints
what happened. A failure names the seed; `run_schedule(seed)` repeats it.
"""

from __future__ import annotations

import random
import sys
import time
from collections import Counter
from typing import Any

from swimnomad.raft.events import OperationFailed
from swimnomad.raft.servers import Suffrage
from tests.raft.raft_world import Host, RaftWorld, Sabotage

SETTINGS: dict[str, Any] = {
    "append_entries_max": 4,
    "appends_in_flight_max": 3,
    "heartbeats_in_flight_max": 4,
    "snapshot_interval": 1.0,
    "snapshot_threshold": 12,
    "trailing_entries": 4,
    "apply_entries_max": 5,
}
"""Small limits, so that a short run meets all of them."""

CONVERGENCE_SECONDS = 40.0
"""Longest until all agree once faults stop: a few elections, snapshots and RPC timeouts."""


class Schedule:
    """One run: a world, and a hand that does things to it."""

    def __init__(
        self,
        seed: object,
        sabotage: Sabotage | None = None,
        **settings: Any,  # noqa: ANN401
    ) -> None:
        self.rng = random.Random(f"{seed}/schedule")
        self.world = RaftWorld(seed, sabotage=sabotage, **{**SETTINGS, **settings})
        self.world.keeps_events = False
        self.counts: Counter[str] = Counter()
        size = self.rng.choice((1, 2, 3, 3, 3, 4, 5, 5))
        self.world.supports_pre_vote = self.rng.random() < 0.8
        self.world.build(size, spare=self.rng.choice((0, 1, 2)))
        self._worsen()
        self.actions = [
            (self._propose, 30),
            (self._propose_burst, 8),
            (self._propose_anywhere, 8),
            (self._read, 10),
            (self._partition, 5),
            (self._one_way, 3),
            (self._isolate_leader, 4),
            (self._heal, 16),
            (self._crash, 4),
            (self._crash_leader, 3),
            (self._restart, 20),
            (self._restart_all, 1),
            (self._fail_storage, 1),
            (self._worsen, 8),
            (self._slow_disk, 4),
            (self._add, 5),
            (self._remove, 4),
            (self._promote, 4),
            (self._transfer, 5),
        ]

    def run(self, actions: int = 60) -> None:
        """Do things for a while, then let everything heal, and see that all agree."""
        choices = [action for action, _ in self.actions]
        weights = [weight for _, weight in self.actions]
        for _ in range(actions):
            (action,) = self.rng.choices(choices, weights)
            self.counts[action.__name__[1:]] += 1
            action()
            # Mostly short: things should happen while others are on their way.
            self.world.run(self.rng.choice((0.002, 0.02, 0.1, 0.1, 0.4, 1.5)))
        self.finish()

    def finish(self) -> None:
        world = self.world
        world.heal()
        for host in world.hosts.values():
            if host.node is not None and host.node.state.value == "Shutdown":
                host.crash()
            if host.node is None:
                host.start()
        world.run_until(world.has_converged, CONVERGENCE_SECONDS)
        leader = world.leader()
        assert leader is not None
        operation = world.propose(leader)
        world.run_until(lambda: operation in world.outcomes, CONVERGENCE_SECONDS)
        world.run_until(world.has_converged, CONVERGENCE_SECONDS)
        world.invariants.check_end(leader.applied)
        for outcome in world.outcomes.values():
            self.counts[type(outcome).__name__] += 1
            if isinstance(outcome, OperationFailed):
                self.counts["unknown" if outcome.may_have_happened else "certainly not"] += 1

    # --- what can happen --------------------------------------------------------------------------

    def _hosts(self, *, up: bool = True) -> list[Host]:
        return [h for h in self.world.hosts.values() if (h.node is not None) == up]

    def _some(self, *, up: bool = True) -> Host | None:
        hosts = self._hosts(up=up)
        return self.rng.choice(hosts) if hosts else None

    def _leading(self) -> Host | None:
        leaders = [host for host in self.world.hosts.values() if host.is_leader]
        return self.rng.choice(leaders) if leaders else None

    def _patience(self) -> float:
        return self.rng.choice((0.3, 2.0, 6.0))

    def _propose(self) -> None:
        host = self._leading()
        if host is not None:
            self.world.propose(host, patience=self._patience())

    def _propose_burst(self) -> None:
        host = self._leading()
        for _ in range(self.rng.randrange(2, 20) if host else 0):
            assert host is not None
            self.world.propose(host, patience=self._patience())

    def _propose_anywhere(self) -> None:
        host = self._some()
        if host is not None:
            self.world.propose(host, patience=self._patience())

    def _read(self) -> None:
        for host in self._hosts():
            self.world.read(host, patience=self._patience())

    def _partition(self) -> None:
        names = list(self.world.hosts)
        self.world.partition(self.rng.sample(names, self.rng.randrange(1, len(names) + 1)))

    def _one_way(self) -> None:
        names = list(self.world.hosts)
        self.world.blocked.add((self.rng.choice(names), self.rng.choice(names)))

    def _isolate_leader(self) -> None:
        host = self._leading()
        if host is not None:
            self.world.partition([host.address])

    def _heal(self) -> None:
        self.world.blocked.clear()

    def _crash(self) -> None:
        host = self._some()
        if host is not None:
            host.crash()

    def _crash_leader(self) -> None:
        host = self._leading()
        if host is not None:
            host.crash()

    def _restart(self) -> None:
        host = self._some(up=False)
        if host is not None:
            host.start()

    def _restart_all(self) -> None:
        for host in self._hosts():
            host.crash()
        for host in self._hosts(up=False):
            host.start()

    def _fail_storage(self) -> None:
        host = self._some()
        if host is not None:
            host.fail_storage()
            host.crash()

    def _worsen(self) -> None:
        self.world.loss = self.rng.choice((0.0, 0.0, 0.02, 0.2))
        self.world.doubling = self.rng.choice((0.0, 0.1, 0.5))
        self.world.delay = self.rng.choice((0.002, 0.02, 0.02, 0.1, 0.4))

    def _slow_disk(self) -> None:
        host = self._some()
        if host is not None:
            host.disk_delay = self.rng.choice((0.0, 0.0, 0.005, 0.05, 0.4))

    def _add(self) -> None:
        leader, new = self._leading(), self._some()
        if leader is not None and new is not None:
            suffrage = self.rng.choice((Suffrage.VOTER, Suffrage.NONVOTER))
            self.world.add_server(leader, new.address, suffrage)

    def _remove(self) -> None:
        leader = self._leading()
        if leader is not None:
            self.world.remove_server(leader, self.rng.choice(list(self.world.hosts)))

    def _promote(self) -> None:
        leader = self._leading()
        if leader is not None:
            self.world.promote(leader, self.rng.choice(list(self.world.hosts)))

    def _transfer(self) -> None:
        leader = self._leading()
        if leader is not None:
            self.world.transfer(leader)


def run_schedule(
    seed: object,
    sabotage: Sabotage | None = None,
    actions: int = 60,
    **settings: Any,  # noqa: ANN401
) -> Schedule:
    """Run one schedule; raises what it finds."""
    schedule = Schedule(seed, sabotage, **settings)
    schedule.run(actions)
    return schedule


def run_many(first: int, count: int) -> Counter[str]:
    """Run schedules one after the other; what they did in all."""
    counts: Counter[str] = Counter()
    for seed in range(first, first + count):
        try:
            schedule = run_schedule(seed)
        except BaseException:
            print(f"seed {seed} fails", flush=True)
            raise
        counts += schedule.counts
        invariants = schedule.world.invariants
        counts["virtual seconds"] += int(schedule.world.now)
        counts["terms with a leader"] += len(invariants.leaders)
        counts["entries committed"] += len(invariants.committed)
        counts["writes acknowledged"] += len(invariants.acknowledged)
    return counts


if __name__ == "__main__":
    began = time.process_time()
    totals = run_many(int(sys.argv[1]), int(sys.argv[2]))
    print(f"{sys.argv[2]} schedules in {time.process_time() - began:.0f} s of CPU, none failed")
    for name, number in sorted(totals.items()):
        print(f"  {name}: {number}")
