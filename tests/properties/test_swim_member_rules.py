"""The member table under any order of claims: what can never happen to a member."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from swimnomad.swim.inputs import TimerFired
from swimnomad.swim.timers import SuspicionTimeout
from swimnomad.wire.messages import Alive, Dead, NodeState, Suspect
from tests.swim.swim_support import OWN, PEER, Rig, alive, record

NAMES = st.sampled_from(("a", "b", "c", "d"))
OTHERS = st.sampled_from(("b", "c", "d"))
INCARNATIONS = st.integers(0, 5)
HOSTS = st.sampled_from(("10.0.0.1", "10.0.0.2", "10.0.0.3"))
METAS = st.sampled_from((None, b"x", b"y"))
STATES = st.sampled_from(list(NodeState))

Memory = tuple[NodeState, int]
WORSE = {NodeState.ALIVE: 0, NodeState.SUSPECT: 1, NodeState.DEAD: 2, NodeState.LEFT: 2}


class MemberRules(RuleBasedStateMachine):
    """Claims, merges, deadlines and time, in any order, against one node in safe mode."""

    def __init__(self) -> None:
        super().__init__()
        self.rig = Rig(dead_node_reclaim_time=5.0, gossip_to_the_dead_time=1e9)
        self.before = self.remember()

    def remember(self) -> dict[str, Memory]:
        return {entry.name: (entry.state, entry.incarnation) for entry in self.rig.node.table}

    @rule(node=NAMES, incarnation=INCARNATIONS, host=HOSTS, meta=METAS)
    def hear_alive(self, node: str, incarnation: int, host: str, meta: bytes | None) -> None:
        self.rig.hear(alive(node, incarnation, host=host, meta=meta))

    @rule(node=NAMES, incarnation=INCARNATIONS, accuser=NAMES)
    def hear_suspect(self, node: str, incarnation: int, accuser: str) -> None:
        self.rig.hear(Suspect(node, incarnation, accuser))

    @rule(node=NAMES, incarnation=INCARNATIONS, accuser=NAMES)
    def hear_dead(self, node: str, incarnation: int, accuser: str) -> None:
        self.rig.hear(Dead(node, incarnation, accuser))

    @rule(name=NAMES, incarnation=INCARNATIONS, state=STATES, host=HOSTS, number=st.integers(1))
    def merge(self, name: str, incarnation: int, state: NodeState, host: str, number: int) -> None:
        self.rig.merge(record(name, incarnation, state, host=host), number=number)

    @rule(seconds=st.floats(0.0, 10.0))
    def wait(self, seconds: float) -> None:
        end = self.rig.now + seconds
        while self.rig.has_timer(SuspicionTimeout):
            due = min(at for t, at in self.rig.timers.items() if isinstance(t, SuspicionTimeout))
            if due > end:
                break
            self.rig.fire(SuspicionTimeout)
        self.rig.now = end

    @rule(node=OTHERS, incarnation=INCARNATIONS)
    def stray_deadline(self, node: str, incarnation: int) -> None:
        """A driver never fires a cancelled timer, but even then nothing is revived."""
        timer = SuspicionTimeout(node, incarnation)
        self.rig.timers.pop(timer, None)
        self.rig.feed(TimerFired(timer))

    @invariant()
    def members_only_worsen_within_an_incarnation(self) -> None:
        after = self.remember()
        for name, (state, incarnation) in self.before.items():
            new_state, new_incarnation = after[name]
            assert new_incarnation >= incarnation
            if new_incarnation == incarnation:
                assert WORSE[new_state] >= WORSE[state]
                if state in (NodeState.DEAD, NodeState.LEFT):
                    assert new_state is state
        self.before = after

    @invariant()
    def we_are_always_alive(self) -> None:
        assert self.rig.own.state is NodeState.ALIVE
        assert self.rig.own.address == OWN

    @invariant()
    def a_suspicion_runs_exactly_for_suspects(self) -> None:
        suspects = {e.name for e in self.rig.node.table if e.state is NodeState.SUSPECT}
        running = {e.name for e in self.rig.node.table if e.suspicion is not None}
        timers = {t.node for t in self.rig.timers if isinstance(t, SuspicionTimeout)}
        assert suspects == running == timers

    @invariant()
    def live_count_is_true(self) -> None:
        live = [e for e in self.rig.node.table if e.state <= NodeState.SUSPECT]
        assert self.rig.node.live_count == len(live)

    @invariant()
    def at_most_one_broadcast_waits_for_each_name(self) -> None:
        assert self.rig.node.queue_length <= self.rig.node.node_count
        queue = self.rig.node._context.queue
        assert len(queue) == sum(map(len, queue._tiers))


MemberRules.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
test_member_rules = MemberRules.TestCase


def test_every_order_of_two_newer_claims_ends_alike() -> None:
    claims: list[Alive | Dead | Suspect] = [
        alive("b", 3, meta=b"x"),
        Dead("b", 2, "c"),
        Suspect("b", 2, "c"),
    ]
    for first in claims:
        for second in claims:
            rig = Rig()
            rig.hear(alive("b", 1))
            rig.hear(alive("b", 2))
            rig.hear(first)
            rig.hear(second)
            rig.hear(claims[0])
            assert rig.entry("b").state is NodeState.ALIVE
            assert rig.entry("b").incarnation == 3
            assert rig.entry("b").address == PEER
