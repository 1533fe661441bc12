"""How soon a crash is first noticed: SWIM's own analysis, and memberlist's free-running rounds.

The victim of a trial is a node whose process stops. Nothing takes any time on the way, so the only
datagrams that reach it are pings, and the trial ends when somebody has probed it (or, where the
suspicion is asked for, when somebody suspects it). Then it goes on running and the next trial takes
another victim: each trial thus has all n - 1 others as its probers.
"""

from __future__ import annotations

from collections.abc import Callable

from reproduce.effort import Effort
from reproduce.numbers import mean, median, percentile
from reproduce.pool import BARE, Pool, settings_of
from reproduce.rows import Measurement
from swimnomad.faults import Latency
from swimnomad.names import Value
from swimnomad.sim.host import Host
from swimnomad.sim.network import Link
from swimnomad.swim.events import NodeSuspected, PingCompleted

INSTANT = Link(Latency("constant", 0.0))
PERIOD = 1.0
KILLED_SIZES = (10, 50, 100)
WATCHED_SIZES = (1000,)
"""Too dear to kill ten thousand times: every member's wait for its next probe is watched."""


class Trials(Value, frozen=True):
    """So many crashes in a world of `size` nodes."""

    size: int
    trials: int
    seed: str


def _pool(case: Trials, *, in_step: bool, round_robin: bool) -> Pool:
    settings = settings_of("paper", **BARE, round_robin=round_robin)
    return Pool(case.size, settings, case.seed, link=INSTANT, in_step=in_step)


def wait_in_step(case: Trials) -> list[float]:
    """Periods from a crash until somebody has probed the victim, its period counted whole.

    Rounds are common to all and targets random, as SWIM's analysis has it.
    """
    pool = _pool(case, in_step=True, round_robin=False)
    world = pool.world
    waits: list[float] = []
    # Crashes fall between two rounds. A round's choices are made, and answered, at its beginning;
    # a quarter of a period later nobody has asked helpers yet, and the victim may still answer.
    world.run_for(2.25 * PERIOD)
    for _ in range(case.trials):
        victim = world.hosts[pool.names[pool.rng.randrange(case.size)]]
        victim.pause()
        before = victim.traffic.datagrams_received
        periods = 0
        while victim.traffic.datagrams_received == before:
            world.run_for(PERIOD)
            periods += 1
        waits.append(periods)
        victim.resume()
        world.run_for(0.0)  # What it owes the others arrives before the next crash.
    return waits


def gaps_in_step(case: Trials) -> list[float]:
    """Periods between those in which a member was probed, for all members of a healthy pool.

    With targets drawn anew each period, what was before does not matter, so this is the time from
    any moment until a member is next probed. Each member gives as many gaps as every other:
    stopping at a moment instead would favour short ones.
    """
    pool = _pool(case, in_step=True, round_robin=False)
    gaps: dict[str, list[float]] = {name: [] for name in pool.names}
    last: dict[str, float] = {}
    each = -(-case.trials // case.size)

    def note(now: float, _node: str, event: PingCompleted) -> None:
        before = last.setdefault(event.node, now)
        if now > before:
            gaps[event.node].append((now - before) / PERIOD)
            last[event.node] = now

    pool.watch(PingCompleted, note)
    while any(len(own) < each for own in gaps.values()):
        pool.world.run_for(PERIOD)
    return [gap for own in gaps.values() for gap in own[:each]]


def waits_free_running(case: Trials) -> list[float]:
    """Periods from a crash to the first ping at the victim, in rounds as memberlist runs them."""
    pool = _pool(case, in_step=False, round_robin=True)
    world = pool.world
    waits: list[float] = []
    world.run_for(2 * PERIOD)
    for _ in range(case.trials):
        world.run_for(pool.rng.random() * PERIOD)
        victim = world.hosts[pool.names[pool.rng.randrange(case.size)]]
        victim.pause()
        started, before = world.now, victim.traffic.datagrams_received

        def is_unnoticed(victim: Host = victim, before: int = before) -> bool:
            return victim.traffic.datagrams_received == before

        world.run_while(is_unnoticed, started + 2 * case.size * PERIOD)
        waits.append((world.now - started) / PERIOD)
        victim.resume()
        world.run_for(0.0)
    return waits


def suspicions_free_running(case: Trials) -> list[float]:
    """Periods from a crash to the first suspicion; at most as many trials as nodes."""
    pool = _pool(case, in_step=False, round_robin=True)
    world = pool.world
    suspected: dict[str, float] = {}
    pool.watch(NodeSuspected, lambda now, _node, event: suspected.setdefault(event.name, now))
    waits: list[float] = []
    world.run_for(2 * PERIOD)
    # Each is victim once: one that is still refuting would be no news to those who suspect it.
    for name in pool.rng.sample(pool.names, case.trials):
        world.run_for(pool.rng.random() * PERIOD)
        victim = world.hosts[name]
        victim.pause()
        started = world.now

        def is_unsuspected(name: str = name) -> bool:
            return name not in suspected

        world.run_while(is_unsuspected, started + 2 * case.size * PERIOD)
        waits.append((suspected[name] - started) / PERIOD)
        victim.resume()
        world.run_for(0.0)
    return waits


def swim_detection(effort: Effort) -> list[Measurement]:
    """All rows on the time from a crash to its detection."""
    rows = [_in_step(effort, size, wait_in_step, 500) for size in KILLED_SIZES]
    rows += [_in_step(effort, size, gaps_in_step, 10_000) for size in WATCHED_SIZES]
    size, each = 100, 250
    cases = _cases(effort, size, effort.pick(10_000, 200), each, "free")
    waits = [wait for own in effort.spread(waits_free_running, cases) for wait in own]
    cases = _cases(effort, size, effort.pick(1000, 40), 50, "suspect")
    late = [wait for own in effort.spread(suspicions_free_running, cases) for wait in own]
    probed, suspected = f"{len(waits):,} crashes", f"{len(late):,} crashes"
    return [
        *rows,
        _figure("async-probed-mean", mean(waits), probed),
        _figure("async-probed-median", median(waits), probed),
        _figure("async-probed-p99", percentile(waits, 0.99), probed),
        _figure("async-suspected-mean", mean(late), suspected),
        _figure("async-suspected-median", median(late), suspected),
    ]


def _in_step(
    effort: Effort, size: int, work: Callable[[Trials], list[float]], each: int
) -> Measurement:
    cases = _cases(effort, size, effort.pick(10_000, 300), each, "step")
    waits = [wait for own in effort.spread(work, cases) for wait in own]
    what = "crashes" if work is wait_in_step else "waits of live members for their next probe"
    return _figure(f"sync-detection-{size}", mean(waits), f"{len(waits):,} {what}")


def _cases(effort: Effort, size: int, trials: int, each: int, purpose: str) -> list[Trials]:
    worlds = -(-trials // each)
    share = min(each, trials)
    return [Trials(size, share, f"{effort.seed}/{purpose}/{size}/{n}") for n in range(worlds)]


def _figure(key: str, value: float, trials: str) -> Measurement:
    return Measurement(key, value, f"{value:.3f} periods", trials)
