"""What the failure detector costs and how evenly it looks: messages, and gaps of round-robin."""

from __future__ import annotations

from reproduce.effort import Effort
from reproduce.experiments.detection import INSTANT, PERIOD, Trials
from reproduce.pool import BARE, Pool, settings_of
from reproduce.rows import Measurement
from swimnomad.swim.events import PingCompleted

SIZES = (10, 50)


def worst_gap(case: Trials) -> float:
    """Longest time, in periods, between two probes of one target by one node; `trials` periods."""
    pool = Pool(case.size, settings_of("paper", **BARE), case.seed, link=INSTANT)
    last: dict[tuple[str, str], float] = {}
    worst = 0.0

    def note(now: float, node: str, event: PingCompleted) -> None:
        nonlocal worst
        pair = node, event.node
        if pair in last:
            worst = max(worst, now - last[pair])
        last[pair] = now

    pool.watch(PingCompleted, note)
    pool.world.run_for(case.trials * PERIOD)
    return worst / PERIOD


def message_load(case: Trials) -> tuple[float, float]:
    """Datagrams sent and received by a member in a period; `trials` periods, no faults."""
    settings = settings_of("paper", **BARE, round_robin=False)
    pool = Pool(case.size, settings, case.seed)
    pool.world.run_for(2 * PERIOD)
    before = _traffic(pool)
    pool.world.run_for(case.trials * PERIOD)
    sent, received = (
        (now - then) / (case.size * case.trials)
        for now, then in zip(_traffic(pool), before, strict=True)
    )
    return sent, received


def _traffic(pool: Pool) -> tuple[int, int]:
    traffic = [host.traffic for host in pool.world.hosts.values()]
    return sum(t.datagrams_sent for t in traffic), sum(t.datagrams_received for t in traffic)


def swim_probing(effort: Effort) -> list[Measurement]:
    """The rows on probing without faults."""
    rows = []
    for size in SIZES:
        periods = effort.pick(80, 8) * size
        case = Trials(size, periods, f"{effort.seed}/gap/{size}")
        gap = worst_gap(case)
        pairs = size * (size - 1)
        shown = f"{gap:.0f} periods"
        trials = f"{pairs:,} pairs, {periods:,} periods"
        rows.append(Measurement(f"round-robin-gap-{size}", gap, shown, trials))
    size, periods = 100, effort.pick(200, 20)
    sent, received = message_load(Trials(size, periods, f"{effort.seed}/load"))
    trials = f"{size} members, {periods} periods"
    rows.append(Measurement("messages-sent", sent, f"{sent:.3f}", trials))
    rows.append(Measurement("messages-received", received, f"{received:.3f}", trials))
    return rows
