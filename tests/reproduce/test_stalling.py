"""Members that block at sends and receives, and rounds that all nodes begin together."""

from __future__ import annotations

from reproduce.pool import Pool, settings_of
from reproduce.stalling import GoOn, Stall
from swimnomad.swim.events import HealthChanged, NodeLeft, NodeSuspected, PingCompleted

READING = 0.02


def stalled_pool(**changes: object) -> Pool:
    """A pool of five whose `n0` has just begun to stall."""
    pool = Pool(5, settings_of("paper", **changes), "stall", reading=READING)
    pool.world.run_for(5.0)
    pool.world.hosts["n0"].give(Stall())
    return pool


def test_a_stalled_member_neither_sends_nor_reads() -> None:
    pool = stalled_pool()
    host = pool.world.hosts["n0"]
    pings: list[float] = []
    pool.watch(PingCompleted, lambda now, node, _event: pings.append(now) if node == "n0" else None)
    sent = host.traffic.datagrams_sent
    pool.world.run_for(10.0)
    assert host.traffic.datagrams_sent == sent
    assert pings == []


def test_it_accuses_the_target_of_its_blocked_probe_as_soon_as_it_goes_on() -> None:
    pool = stalled_pool()
    accused: list[float] = []
    pool.watch(
        NodeSuspected,
        lambda now, node, event: accused.append(now) if node == event.accuser == "n0" else None,
    )
    pool.world.run_for(20.0)
    assert accused == []
    pool.world.hosts["n0"].give(GoOn())
    assert accused == [pool.world.now]


def test_its_suspicions_strike_while_it_is_deaf() -> None:
    settings = settings_of("paper", lha_suspicion=False, suspicion_min_fixed=6.0)
    pool = Pool(5, settings, "deaf", reading=READING)
    told: list[tuple[float, str]] = []
    pool.watch(NodeLeft, lambda now, node, event: told.append((now, node)))
    pool.world.run_for(5.0)
    host = pool.world.hosts["n0"]
    host.give(Stall())
    pool.world.run_for(4.0)
    host.give(GoOn())
    host.give(Stall())  # It has just accused somebody and hears no refutation.
    went_on = pool.world.now
    pool.world.run_for(8.0)
    own = [now for now, node in told if node == "n0"]
    assert own
    assert own[0] - went_on <= 6.0 + 1e-9


def test_it_reads_what_waited_one_message_at_a_time() -> None:
    pool = stalled_pool()
    pool.world.run_for(3.0)
    host, node = pool.world.hosts["n0"], pool.nodes["n0"]
    waiting = node.counters["udp.received"]
    host.give(GoOn())
    assert node.counters["udp.received"] == waiting
    pool.world.run_for(READING * 10.5)
    some = node.counters["udp.received"]
    pool.world.run_for(READING * 10)
    assert waiting < some < node.counters["udp.received"]
    pool.world.run_for(30.0)
    assert node.health_score == 0, "it has caught up"


def test_a_stall_hurts_local_health() -> None:
    pool = stalled_pool()
    scores: list[int] = []
    pool.watch(HealthChanged, lambda _now, node, event: scores.append(event.score))
    pool.world.run_for(6.0)
    pool.world.hosts["n0"].give(GoOn())
    assert max(scores) > 0


def test_common_rounds_begin_at_whole_periods_of_all_nodes() -> None:
    pool = Pool(6, settings_of("lan"), "step", in_step=True)
    began: list[float] = []
    pool.watch(PingCompleted, lambda now, _node, event: began.append(now - event.rtt))
    pool.world.run_for(10.0)
    assert len(began) >= 50
    assert all(abs(time - round(time)) < 1e-6 for time in began)


def test_a_pool_knows_itself_from_the_beginning() -> None:
    pool = Pool(7, settings_of("lan"), "known")
    assert [node.live_count for node in pool.nodes.values()] == [7] * 7
    pool.world.run_for(5.0)
    assert pool.total("probe.failed") == 0
    assert pool.total("msg.suspect") == 0
