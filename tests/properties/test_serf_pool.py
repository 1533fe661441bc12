"""A small pool under every mix of joins, leaves, kills, restarts and partitions."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
)

from swimnomad.serf.events import Status
from swimnomad.serf.lifecycle import Lifecycle
from tests.serf.helpers import Host, Net, serf_config

NAMES = ("a", "b", "c", "d")
QUIET_TIME = 90.0
LUCKLESS_TIME = 300.0
"""Seconds within which every two nodes have made a push/pull: with whom is chance."""
GONE = {Status.FAILED, Status.LEFT}

names = st.sampled_from(NAMES)


class SerfPool(RuleBasedStateMachine):
    """Four nodes; whatever happens to them, clocks rise, lists are disjoint, and peace unites."""

    def __init__(self) -> None:
        super().__init__()
        self.net = Net()
        self.hosts: dict[str, Host] = {}
        self.clocks: dict[Host, list[int]] = {}

    @initialize(seed=st.integers(0, 1000))
    def start(self, seed: int) -> None:
        self.net = Net(seed)
        for name in NAMES:
            self.hosts[name] = self.net.add(serf_config(name))
        for name in NAMES[1:]:
            self.hosts[name].join(self.hosts["a"])
        self.net.run(1.0)

    @rule(seconds=st.sampled_from([0.05, 0.5, 3.0, 20.0]))
    def wait(self, seconds: float) -> None:
        self.net.run(seconds)

    @rule(one=names, other=names, ignore_old=st.booleans())
    def join(self, one: str, other: str, ignore_old: bool) -> None:
        self.hosts[one].join(self.hosts[other], ignore_old=ignore_old)

    @rule(name=names)
    def leave(self, name: str) -> None:
        self.hosts[name].leave()

    @rule(one=names, other=names, prune=st.booleans())
    def force_leave(self, one: str, other: str, prune: bool) -> None:
        self.hosts[one].force_leave(other, prune=prune)

    @rule(name=names, role=st.sampled_from(["web", "db"]))
    def set_tags(self, name: str, role: str) -> None:
        self.hosts[name].set_tags(role=role)

    @rule(name=names, event=st.sampled_from(["deploy", "restart"]))
    def user_event(self, name: str, event: str) -> None:
        self.hosts[name].user_event(event)

    @rule(name=names)
    def kill(self, name: str) -> None:
        self.hosts[name].kill()

    @rule(name=names, seed=names)
    def restart(self, name: str, seed: str) -> None:
        old = self.hosts[name]
        old.kill()
        self.hosts[name] = self.net.add(serf_config(name), address=old.address)
        self.hosts[name].join(self.hosts[seed])

    @rule(side=st.lists(names, min_size=1, max_size=3, unique=True))
    def partition(self, side: list[str]) -> None:
        self.net.partition([self.hosts[name] for name in side])

    @rule()
    def heal(self) -> None:
        self.net.heal()

    @rule(loss=st.sampled_from([0.0, 0.1, 0.3]))
    def lose(self, loss: float) -> None:
        self.net.loss = loss

    @invariant()
    def clocks_never_go_back(self) -> None:
        for host in self.hosts.values():
            stats = host.node.stats()
            now = [int(stats[key]) for key in ("member_time", "event_time", "query_time")]
            before = self.clocks.get(host, now)
            assert all(old <= new for old, new in zip(before, now, strict=True)), host.name
            self.clocks[host] = now

    @invariant()
    def a_member_stands_in_the_side_list_of_its_status_only(self) -> None:
        for host in self.hosts.values():
            table = host.node._context.table
            for status, side_list in ((Status.FAILED, table.failed), (Status.LEFT, table.left)):
                listed = [n for n, member in table.members.items() if member.status is status]
                assert sorted(listed) == sorted(side_list)

    @invariant()
    def no_status_time_is_ahead_of_the_member_clock(self) -> None:
        for host in self.hosts.values():
            clock = int(host.node.stats()["member_time"])
            for member in host.node.members.values():
                assert member.status_ltime < clock

    def teardown(self) -> None:
        """After quiet time all nodes that are there agree on who is."""
        if not self.hosts:
            return
        self.net.heal()
        self.net.loss = 0.0
        self.net.run(15.0)  # Leaves that are under way get the time to end.
        for host in self.hosts.values():
            if host.node.lifecycle is not Lifecycle.ALIVE:
                host.shutdown()
        live = [host for host in self.hosts.values() if host.is_up]
        for host in live[1:]:
            host.join(live[0])
        self.net.run(QUIET_TIME)
        # A member that was pruned although it is there learns that only from who pruned it.
        self.net.until(lambda: not any(has_ghosts(host) for host in live), within=LUCKLESS_TIME)
        self.net.run(1.0)  # Its contradiction gets round.
        for host in live:
            seen = {member.name: member.status for member in host.node.members.values()}
            for other in live:
                status = seen.pop(other.name, None)
                assert status is Status.ALIVE, (host.name, host.statuses())
                tags = host.node.members[other.name].tags
                assert tags == other.node.local_member.tags
            assert set(seen.values()) <= GONE, (host.name, host.statuses())


def has_ghosts(host: Host) -> bool:
    return bool(host.node._context.membership.ghosts)


SerfPool.TestCase.settings = settings(max_examples=12, stateful_step_count=14, deadline=None)
TestSerfPool = SerfPool.TestCase
