"""A small region of Raft servers under any faults: safe always, convergent once healed."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from swimnomad.raft.servers import Suffrage
from tests.raft.raft_schedules import CONVERGENCE_SECONDS, SETTINGS
from tests.raft.raft_world import Host, RaftWorld

SIZE = 3
SPARE = 1
PLACES = st.integers(0, SIZE + SPARE - 1)
PATIENCE = st.sampled_from((0.2, 1.0, 5.0))


class Region(RuleBasedStateMachine):
    """The world looks at its invariants after each step; the rules only make trouble."""

    def __init__(self) -> None:
        super().__init__()
        self.world = RaftWorld(1, **SETTINGS)
        self.world.keeps_events = False
        self.world.build(SIZE, SPARE)

    def host(self, place: int) -> Host:
        return list(self.world.hosts.values())[place]

    @rule(seconds=st.sampled_from((0.001, 0.01, 0.1, 0.5, 2.0)))
    def wait(self, seconds: float) -> None:
        self.world.run(seconds)

    @rule(place=PLACES, count=st.integers(1, 12), patience=PATIENCE)
    def propose(self, place: int, count: int, patience: float) -> None:
        host = self.world.leader() or self.host(place)
        for _ in range(count):
            self.world.propose(host, patience=patience)

    @rule(place=PLACES, patience=PATIENCE)
    def read(self, place: int, patience: float) -> None:
        self.world.read(self.host(place), patience)

    @rule(cut=st.sets(PLACES, min_size=1, max_size=SIZE))
    def partition(self, cut: set[int]) -> None:
        self.world.partition(self.host(place).address for place in sorted(cut))

    @rule(source=PLACES, to=PLACES)
    def one_way(self, source: int, to: int) -> None:
        self.world.blocked.add((self.host(source).address, self.host(to).address))

    @rule()
    def heal(self) -> None:
        self.world.heal()

    @rule(
        loss=st.sampled_from((0.0, 0.1, 0.4)),
        doubling=st.sampled_from((0.0, 0.5)),
        delay=st.sampled_from((0.002, 0.05, 0.5)),
    )
    def worsen(self, loss: float, doubling: float, delay: float) -> None:
        self.world.loss, self.world.doubling, self.world.delay = loss, doubling, delay

    @rule(place=PLACES, delay=st.sampled_from((0.0, 0.01, 0.3)))
    def slow_disk(self, place: int, delay: float) -> None:
        self.host(place).disk_delay = delay

    @rule(place=PLACES)
    def crash(self, place: int) -> None:
        if self.host(place).node is not None:
            self.host(place).crash()

    @rule(place=PLACES)
    def restart(self, place: int) -> None:
        if self.host(place).node is None:
            self.host(place).start()

    @precondition(lambda self: self.world.leader() is not None)
    @rule(place=PLACES, suffrage=st.sampled_from((Suffrage.VOTER, Suffrage.NONVOTER)))
    def add(self, place: int, suffrage: Suffrage) -> None:
        leader = self.world.leader()
        assert leader is not None
        self.world.add_server(leader, self.host(place).address, suffrage)

    @precondition(lambda self: self.world.leader() is not None)
    @rule(place=PLACES)
    def remove(self, place: int) -> None:
        leader = self.world.leader()
        assert leader is not None
        self.world.remove_server(leader, self.host(place).address)

    @precondition(lambda self: self.world.leader() is not None)
    @rule()
    def transfer(self) -> None:
        leader = self.world.leader()
        assert leader is not None
        self.world.transfer(leader)

    def teardown(self) -> None:
        self.world.heal()
        for host in self.world.hosts.values():
            if host.node is None:
                host.start()
        self.world.run_until(self.world.has_converged, CONVERGENCE_SECONDS)
        leader = self.world.leader()
        assert leader is not None
        self.world.invariants.check_end(leader.applied)


Region.TestCase.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
test_region = Region.TestCase
