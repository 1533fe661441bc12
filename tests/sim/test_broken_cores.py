"""One rule of the core is wrong in each of these runs, and the invariants tell what it broke.

`test_invariants.py` puts broken states into healthy cores; here healthy worlds meet broken rules.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial

import pytest

from swimnomad.names import Address
from swimnomad.scenario.bounds import convergence_bound
from swimnomad.serf.config import SerfConfig
from swimnomad.serf.inputs import ForceLeave, Leave, SendUserEvent
from swimnomad.serf.intents import BufferedIntent, IntentBuffer, IntentKind
from swimnomad.serf.lamport import LamportClock
from swimnomad.serf.members import MemberTable
from swimnomad.serf.membership import Membership
from swimnomad.sim.cluster import GossipCore, NodeSpec, SimCluster
from swimnomad.sim.invariants import Invariants
from swimnomad.sim.world import World
from swimnomad.swim.config import SwimConfig, profile_settings
from swimnomad.swim.events import NodeView
from swimnomad.swim.membership import Membership as Claims
from swimnomad.swim.probe import Prober
from tests.sim.test_invariants import PlainCore

PROFILE = "local"
NODES = 4
PATIENCE = convergence_bound(NODES, PROFILE).total
Change = Callable[[pytest.MonkeyPatch], dict[str, object]]
Life = Callable[[World, SimCluster], None]


def live(change: dict[str, object], life: Life) -> list[str]:
    """The invariants that four nodes with changed settings break in such a life."""

    def make(spec: NodeSpec, rng: random.Random) -> GossipCore:
        settings = {**profile_settings(PROFILE), "name": spec.member_name, **change}
        limit = settings.pop("intents_max", 65_536)
        swim = SwimConfig(**settings)  # type: ignore[arg-type]  # settings vary
        return PlainCore(SerfConfig(swim=swim, intents_max=limit), rng)  # type: ignore[arg-type]

    world = World(1)
    invariants = Invariants(world, lambda _: PATIENCE)
    cluster = SimCluster(world, invariants.watch(make))
    cluster.build({"global": NODES}, PROFILE)
    world.run_for(5.0)
    life(world, cluster)
    return list(dict.fromkeys(one.invariant for one in invariants.violations))


# --- rules that are wrong


def hears_no_answer(monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """Every probe fails, and the accused do not defend themselves."""
    monkeypatch.setattr(Prober, "on_ack", lambda self, *_: None)
    monkeypatch.setattr(Claims, "_refute", lambda self, *_: None)
    return {"stream_pings": False}


def forgets_arrivals(monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """Serf never hears of one of the nodes."""
    right = Membership.on_node_joined

    def wrong(self: Membership, node: NodeView, now: float) -> list[object]:
        is_hidden = node.name == "node-3.global" and self._name == "node-1.global"
        return [] if is_hidden else list(right(self, node, now))

    monkeypatch.setattr(Membership, "on_node_joined", wrong)
    return {}


def follows_every_clock(monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """A clock takes over whatever time it sees."""

    def wrong(self: LamportClock, ltime: int) -> None:
        self._time = ltime + 1

    monkeypatch.setattr(LamportClock, "witness", wrong)
    return {}


def never_refuses_an_intent(monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    def wrong(self: IntentBuffer, name: str, kind: IntentKind, ltime: int, now: float) -> bool:
        is_news = name not in self._intents
        self._intents[name] = BufferedIntent(kind, ltime, now)
        return is_news

    monkeypatch.setattr(IntentBuffer, "upsert", wrong)
    return {"intents_max": 8}


def files_nobody(monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    monkeypatch.setattr(MemberTable, "_file", lambda self, member: None)
    return {}


def defends_itself_with_nothing(monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """Whoever is accused a second time claims to be alive at incarnation 0."""
    right = Claims._refute

    def wrong(self: Claims, accused: int, claim: str, accuser: str, source: Address) -> None:
        own = self._context.own
        if own.incarnation == 1:
            right(self, accused, claim, accuser, source)
        else:
            own.incarnation = 0

    monkeypatch.setattr(Claims, "_refute", wrong)
    return {}


def as_upstream(monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """An alive from a new address counts about who has left, however old it is."""
    return {"compat": "upstream"}


# --- lives that show it


def peace(world: World, cluster: SimCluster) -> None:
    world.run_for(PATIENCE + 30.0)


def events(world: World, cluster: SimCluster) -> None:
    for number in range(8):
        for name in ("node-1", "node-2"):
            event = f"event-{name}-{number}"
            cluster.command(name, partial(SendUserEvent, name=event, payload=b""))
        world.run_for(0.02)
    world.run_for(5.0)


def strangers(world: World, cluster: SimCluster) -> None:
    for number in range(9):
        cluster.command("node-1", partial(ForceLeave, node=f"nobody-{number}.global"))
    world.run_for(5.0)


def a_death(world: World, cluster: SimCluster) -> None:
    cluster.kill("node-4")
    world.run_for(60.0)


def two_pauses(world: World, cluster: SimCluster) -> None:
    for _ in range(2):
        cluster.host("node-4").pause()
        world.run_for(5.0)
        cluster.host("node-4").resume()
        world.run_for(20.0)


def a_move(world: World, cluster: SimCluster) -> None:
    cluster.command("node-4", Leave)
    world.run_for(10.0)
    cluster.stop("node-4")
    cluster.restart("node-4", same_data=False, new_address=True, join=["node-1"])
    world.run_for(20.0)


@pytest.mark.parametrize(
    ("change", "life", "broken"),
    [
        (hears_no_answer, peace, "false-death"),
        (forgets_arrivals, peace, "agreement"),
        (follows_every_clock, events, "lamport"),
        (never_refuses_an_intent, strangers, "limits"),
        (files_nobody, a_death, "side-lists"),
        (defends_itself_with_nothing, two_pauses, "incarnation"),
        (as_upstream, a_move, "revival"),
    ],
)
def test_a_broken_rule_is_noticed_by_its_invariant_and_a_right_one_is_not(
    change: Change, life: Life, broken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert live({}, life) == []
    with monkeypatch.context() as patch:
        settings = change(patch)
        assert broken in live(settings, life)
