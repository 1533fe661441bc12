"""`kill -9` in pools as memberlist and Serf run them: when do the others report the failure?"""

from __future__ import annotations

from reproduce.effort import Effort
from reproduce.numbers import median, percentile
from reproduce.pool import Pool, Settings, settings_of
from reproduce.rows import Measurement
from swimnomad.faults import Latency
from swimnomad.names import Value
from swimnomad.sim.network import Link

NAMESPACES = Link(Latency("normal", 0.002, 0.001), loss=0.01)
"""2 ms ± 1 ms a way and 1 % loss, as netem was told."""
QUIET = 3.0
LIMIT = 60.0
"""Seconds after which a death that somebody has not reported is given up: none ever was."""


class Kill(Value, frozen=True):
    """One kill in a fresh pool."""

    size: int
    settings: Settings
    seed: str
    link: Link | None = None
    with_serf: bool = False


class Report(Value, frozen=True):
    """Seconds after the kill at which each of the others reported it, in order; wrong reports."""

    delays: tuple[float, ...]
    false: int


def kill_one(case: Kill) -> Report:
    """Kill a member at a random moment and wait until everybody has reported it."""
    pool = Pool(case.size, case.settings, case.seed, link=case.link, with_serf=case.with_serf)
    world = pool.world
    victim = pool.names[pool.rng.randrange(case.size)]
    delays: list[float] = []
    false = 0

    def note(now: float, _node: str, about: str) -> None:
        nonlocal false
        if about == victim:
            delays.append(now - killed)
        else:
            false += 1

    pool.watch_failures(note)
    world.run_for(QUIET + pool.rng.random())
    killed = world.now
    pool.kill(victim)
    world.run_while(lambda: len(delays) < case.size - 1, killed + LIMIT)
    return Report(tuple(delays), false)


def _kills(
    effort: Effort, size: int, kills: int, link: Link | None = None, *, with_serf: bool = False
) -> list[Report]:
    settings = settings_of("lan")
    cases = [
        Kill(size, settings, f"{effort.seed}/kill/{size}/{n}", link, with_serf)
        for n in range(kills)
    ]
    return effort.spread(kill_one, cases)


def memberlist_kill(effort: Effort) -> list[Measurement]:
    """The rows on the pool of 100 members in network namespaces."""
    reports = _kills(effort, 100, effort.pick(150, 6), NAMESPACES)
    delays = [delay for report in reports for delay in report.delays]
    trials = f"{len(reports)} kills, {len(delays):,} detections"
    false = sum(report.false for report in reports)
    unreported = len(reports) * 99 - len(delays)
    p50, p99 = median(delays), percentile(delays, 0.99)
    batches = [
        percentile([delay for report in reports[at : at + 30] for delay in report.delays], 0.99)
        for at in range(0, len(reports) - 29, 30)
    ]
    note = f"longest {max(delays):.3f} s; of each 30 kills {', '.join(f'{b:.1f}' for b in batches)}"
    return [
        Measurement("kill-100-p50", p50, f"{p50:.3f} s", trials),
        Measurement("kill-100-p99", p99, f"{p99:.3f} s", trials, note),
        Measurement(
            "kill-100-wrong", false + unreported, f"{false} false, {unreported} missing", trials
        ),
    ]


def memberlist_kill_sizes(effort: Effort) -> list[Measurement]:
    """The rows on pools of other sizes on one machine, one real run each."""
    rows = []
    for size, kills in ((20, 40), (60, 30)):
        reports = _kills(effort, size, effort.pick(kills, 4), with_serf=True)
        first = median([report.delays[0] for report in reports])
        last = median([report.delays[-1] for report in reports])
        lowest = min(report.delays[0] for report in reports)
        highest = max(report.delays[-1] for report in reports)
        trials = f"{len(reports)} kills"
        shown = f"{first:.1f} … {last:.1f} s (median)"
        note = f"over all kills {lowest:.1f} … {highest:.1f} s"
        rows.append(Measurement(f"kill-{size}-first", first, shown, trials))
        rows.append(Measurement(f"kill-{size}-last", last, shown, trials, note))
    for size, kills in ((100, 20), (150, 10), (200, 10)):
        reports = _kills(effort, size, effort.pick(kills, 2))
        last = median([report.delays[-1] for report in reports])
        lasts = [report.delays[-1] for report in reports]
        note = f"{min(lasts):.1f} … {max(lasts):.1f} s"
        trials = f"{len(reports)} kills"
        rows.append(Measurement(f"all-saw-{size}", last, f"{last:.1f} s (median)", trials, note))
    return rows
