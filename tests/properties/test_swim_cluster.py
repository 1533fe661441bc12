"""A small pool under crashes, partitions, loss and delay: safe always, convergent once healed."""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from swimnomad.swim.inputs import Join, JoinTarget, Leave, UpdateMeta
from swimnomad.swim.members import NodeEntry
from swimnomad.wire.messages import NodeState
from tests.helpers import Host, Net, address_of

SIZE = 5
NAMES = [f"n{number}" for number in range(1, SIZE + 1)]
CONVERGENCE_SECONDS = 150.0
"""Longest for a pool this small: the dead are forgotten or rejoined, and all exchange states."""
PROFILE: dict[str, Any] = {
    "push_pull_interval": 10.0,
    "gossip_to_the_dead_time": 10.0,
    "tcp_timeout": 2.0,
}


class Cluster(RuleBasedStateMachine):
    """Faults in any order; after each step the invariants, at the end convergence."""

    def __init__(self) -> None:
        super().__init__()
        self.net = Net(seed=1)
        self.net.pool(SIZE, **PROFILE)
        self.incarnations: dict[NodeEntry, int] = {}
        self.operations = 100

    def up(self) -> list[Host]:
        return list(self.net)

    @rule(seconds=st.floats(0.1, 20.0))
    def wait(self, seconds: float) -> None:
        self.net.run(seconds)

    @rule(cut=st.sets(st.sampled_from(NAMES), min_size=1, max_size=SIZE - 1))
    def partition(self, cut: set[str]) -> None:
        self.net.partition(*sorted(cut))

    @rule(name=st.sampled_from(NAMES))
    def one_way(self, name: str) -> None:
        target = self.net[name]
        self.net.blocks = lambda _from, to, _transport: to is target

    @rule()
    def block_datagrams(self) -> None:
        self.net.blocks = lambda _from, _to, transport: transport == "udp"

    @rule(loss=st.floats(0.0, 0.6), latency=st.floats(0.0, 0.3))
    def worsen(self, loss: float, latency: float) -> None:
        self.net.loss, self.net.latency = loss, latency

    @rule()
    def heal(self) -> None:
        self.net.heal()
        self.net.latency = 0.001

    @precondition(lambda self: len(self.up()) > 2)
    @rule(place=st.integers(0, SIZE - 1))
    def crash(self, place: int) -> None:
        up = self.up()
        up[place % len(up)].crash()

    @rule(place=st.integers(0, SIZE - 1))
    def restart(self, place: int) -> None:
        """A crashed node comes back at its address, knowing nothing, and joins somebody."""
        down = [host for host in self.net.hosts.values() if not host.is_up]
        if not down:
            return
        name = down[place % len(down)].node.own.name
        self.net.add(name, address=address_of(NAMES.index(name) + 1), **PROFILE)
        self.operations += 1
        others = tuple(JoinTarget(h.address) for h in self.up() if h.node.own.name != name)
        self.net[name].feed(Join(self.operations, others))

    @rule(place=st.integers(0, SIZE - 1), meta=st.binary(max_size=4))
    def update(self, place: int, meta: bytes) -> None:
        up = self.up()
        host = up[place % len(up)]
        self.operations += 1
        host.feed(UpdateMeta(self.operations, meta))

    @invariant()
    def incarnations_never_fall(self) -> None:
        # By entry, not by name: a member that was forgotten and is learned again may begin anew.
        entries = [entry for host in self.up() for entry in host.node.table]
        for entry in entries:
            assert entry.incarnation >= self.incarnations.get(entry, 0)
        self.incarnations = {entry: entry.incarnation for entry in entries}

    @invariant()
    def nobody_counts_itself_out(self) -> None:
        for host in self.up():
            assert host.node.own.state is NodeState.ALIVE
            assert host.node.live_count >= 1

    @invariant()
    def nothing_is_dropped_as_malformed(self) -> None:
        for host in self.up():
            for kind in ("datagram", "message", "alive", "incarnation", "full"):
                assert f"dropped.{kind}" not in host.node.counters, kind

    def teardown(self) -> None:
        self.heal()
        # A partition longer than the dead are remembered needs somebody to join again.
        for host in self.up():
            self.operations += 1
            targets = tuple(JoinTarget(h.address) for h in self.up() if h is not host)
            host.feed(Join(self.operations, targets))
        self.net.run_until(self.has_converged, CONVERGENCE_SECONDS)

    def has_converged(self) -> bool:
        up = self.up()
        names = {host.node.own.name for host in up}
        for host in up:
            live = {e.name for e in host.node.table if e.state is NodeState.ALIVE}
            suspects = any(e.state is NodeState.SUSPECT for e in host.node.table)
            if live != names or suspects:
                return False
            for other in up:
                entry = host.entry(other.node.own.name)
                own = other.node.own
                if (entry.incarnation, entry.meta) != (own.incarnation, own.meta):
                    return False
        return True


Cluster.TestCase.settings = settings(max_examples=12, stateful_step_count=20, deadline=None)
test_cluster = Cluster.TestCase


def test_everybody_may_leave() -> None:
    net = Net()
    hosts = net.pool(3)
    for number, host in enumerate(hosts):
        host.feed(Leave(number))
        net.run(3.0)
    for host in hosts:
        assert host.node.live_count == 0
