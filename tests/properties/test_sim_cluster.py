"""A small simulated cluster under every kind of trouble: each promise after each rule, then peace.

The same invariants as of `swimnomad explore`; here Hypothesis chooses and shrinks, in another way:
rules about messages (send, drop, delay, duplicate) and about nodes, in any mix.
"""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from swimnomad.faults import Latency, LinkFault
from swimnomad.scenario.bounds import convergence_bound
from swimnomad.serf.inputs import ForceLeave, Leave, SendUserEvent, SetTags
from swimnomad.sim.cluster import SimCluster, nomad_core
from swimnomad.sim.invariants import Invariants
from swimnomad.sim.world import World

PROFILE = "local"
SIZE = 4
NAMES = [f"node-{number}" for number in range(1, SIZE + 1)]
RECONNECT_ROUNDS = 8
"""Whom Serf calls back is drawn; so many rounds without luck do not happen."""
LEAVE_SECONDS = 15.0

names = st.sampled_from(NAMES)
shares = st.floats(0.05, 1.0)


def bound(nodes: int) -> float:
    return convergence_bound(nodes, PROFILE).total


def patience(nodes: int) -> float:
    terms = convergence_bound(nodes, PROFILE)
    return terms.total + (RECONNECT_ROUNDS - 1) * terms.reconnect


class Trouble(RuleBasedStateMachine):
    """Whatever befalls the four, no promise is broken, and left in peace they agree."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World(1)

    @initialize(seed=st.integers(0, 1000), converged=st.booleans())
    def boot(self, seed: int, converged: bool) -> None:
        self.world = World(seed)
        self.promises = Invariants(self.world, bound, patience)
        self.cluster = SimCluster(self.world, self.promises.watch(nomad_core))
        build = self.cluster.build_converged if converged else self.cluster.build
        build({"global": SIZE}, PROFILE)
        self.sent = 0

    def running(self) -> list[str]:
        hosts = self.world.hosts
        return [name for name in NAMES if hosts[name].is_running and not hosts[name].is_paused]

    def set_fault(self, name: str, kind: str, fault: LinkFault) -> None:
        self.world.set_fault(name, kind, fault)

    # -- messages

    @rule(name=names, payload=st.binary(max_size=8))
    def send(self, name: str, payload: bytes) -> None:
        if name in self.running():
            self.sent += 1
            event = f"event-{self.sent}"
            self.cluster.command(name, lambda operation: SendUserEvent(operation, event, payload))

    @rule(name=names, value=st.sampled_from(["a", "b"]))
    def set_tags(self, name: str, value: str) -> None:
        core = self.cluster.core(name)
        if name in self.running() and core is not None:
            tags = tuple({**core.serf.local_member.tags, "mood": value}.items())
            self.cluster.command(name, lambda operation: SetTags(operation, tags))

    @rule(name=names, share=shares)
    def drop(self, name: str, share: float) -> None:
        self.set_fault(name, "drop", LinkFault(loss=share))

    @rule(name=names, seconds=st.floats(0.001, 3.0), transport=st.sampled_from(["udp", "both"]))
    def delay(self, name: str, seconds: float, transport: str) -> None:
        latency = Latency("uniform", 0.0, seconds)
        fault = LinkFault(latency=latency, transport="udp" if transport == "udp" else "both")
        self.set_fault(name, "delay", fault)

    @rule(name=names, share=shares)
    def duplicate(self, name: str, share: float) -> None:
        self.set_fault(name, "duplicate", LinkFault(duplicate=share, reorder=share))

    @rule(name=names, share=shares)
    def corrupt(self, name: str, share: float) -> None:
        self.set_fault(name, "corrupt", LinkFault(corrupt=share))

    # -- links and nodes

    @rule(side=st.sets(names, min_size=1, max_size=SIZE - 1), one_way=st.booleans())
    def partition(self, side: set[str], one_way: bool) -> None:
        others = [name for name in NAMES if name not in side]
        self.world.partition(sorted(side), others, one_way=one_way)

    @rule()
    def heal(self) -> None:
        self.world.heal()

    @precondition(lambda self: len(self.running()) > 1)
    @rule(name=names)
    def crash(self, name: str) -> None:
        if name in self.running():
            self.cluster.kill(name)

    @rule(name=names, same_data=st.booleans(), new_address=st.booleans())
    def restart(self, name: str, same_data: bool, new_address: bool) -> None:
        if not self.world.hosts[name].is_running:
            join = self.running()[:2]
            self.cluster.restart(name, same_data=same_data, new_address=new_address, join=join)

    @precondition(lambda self: len(self.running()) > 1)
    @rule(name=names)
    def leave(self, name: str) -> None:
        if name in self.running():
            operation = self.cluster.command(name, Leave)
            until = self.world.now + LEAVE_SECONDS
            self.world.run_while(lambda: self.cluster.outcome(operation) is None, until)
            self.cluster.stop(name)

    @rule(by=names, name=names, prune=st.booleans())
    def force_leave(self, by: str, name: str, prune: bool) -> None:
        if by in self.running() and by != name:
            member = self.cluster.specs[name].member_name
            self.cluster.command(by, lambda operation: ForceLeave(operation, member, prune))

    @precondition(lambda self: len(self.running()) > 1)
    @rule(name=names)
    def pause(self, name: str) -> None:
        if name in self.running():
            self.world.hosts[name].pause()

    @rule(name=names)
    def resume(self, name: str) -> None:
        self.world.hosts[name].resume()

    @rule(seconds=st.sampled_from([0.05, 0.5, 3.0, 20.0]))
    def wait(self, seconds: float) -> None:
        self.world.run_for(seconds)

    # -- promises

    @invariant()
    def no_promise_is_broken(self) -> None:
        if self.world.hosts:
            assert [str(one) for one in self.promises.violations] == []

    def teardown(self) -> None:
        """Faults stop; within the bound, bad luck included, all views are true."""
        if not self.world.hosts:
            return
        self.world.heal()
        for name in NAMES:
            self.resume(name)
        until = self.world.now + patience(SIZE)
        self.world.run_for(1.0)
        while any(self.promises.disagreements()) and self.world.now < until:
            self.world.run_for(1.0)
        assert list(self.promises.disagreements()) == []
        self.no_promise_is_broken()


Trouble.TestCase.settings = settings(max_examples=40, stateful_step_count=15, deadline=None)
test_trouble = Trouble.TestCase
