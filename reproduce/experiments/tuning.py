"""What single settings change: suspicion multipliers, retransmissions, and loss alone."""

from __future__ import annotations

from reproduce.effort import Effort
from reproduce.experiments.kills import Kill, Report, kill_one
from reproduce.experiments.lifeguard import READING
from reproduce.numbers import median, ratio
from reproduce.pool import Pool, settings_of
from reproduce.rows import Measurement
from reproduce.stalling import Stall
from swimnomad.faults import Latency
from swimnomad.names import Value
from swimnomad.sim.network import Link

SLOW_COUNTS = (1, 1, 1, 1, 4, 4, 8, 8, 16, 32)
SLOW_FOR = 32.768
"""Seconds: the longest that the paper has."""
LOSSES = (0.01, 0.02, 0.03, 0.04, 0.05)


def suspicion_tuning(effort: Effort) -> list[Measurement]:
    """`suspicion_mult` 4 against 3 with 50 members: when the others report a kill."""
    kills = effort.pick(120, 10)
    medians = {}
    for multiplier in (4, 3):
        settings = settings_of("lan", suspicion_mult=multiplier)
        # The same seeds for both: the same victims at the same moments.
        cases = [Kill(50, settings, f"{effort.seed}/tune/{n}") for n in range(kills)]
        medians[multiplier] = _median(effort.spread(kill_one, cases))
    change = medians[3] - medians[4]
    shown = f"{change:+.2f} s ({medians[4]:.2f} → {medians[3]:.2f})"
    return [Measurement("tuning-suspicion", change, shown, f"{kills} kills each")]


def lifeguard_alpha(effort: Effort) -> list[Measurement]:
    """Lifeguard's alpha 5, 4 and 2: when healthy members first report a slow one as failed."""
    counts = (1, 2) if effort.quick else SLOW_COUNTS
    firsts: dict[int, list[float]] = {}
    for alpha in (5, 4, 2):
        cases = [
            Threshold(alpha, count, f"{effort.seed}/alpha/{n}") for n, count in enumerate(counts)
        ]
        firsts[alpha] = [wait for own in effort.spread(first_reports, cases) for wait in own]
    rows = []
    for alpha in (4, 2):
        before, after = median(firsts[5]), median(firsts[alpha])
        change = 100 * (after / before - 1)
        shown = f"{change:+.1f} % ({before:.2f} → {after:.2f} s)"
        trials = f"{len(firsts[5])} slow members, then {len(firsts[alpha])}"
        rows.append(Measurement(f"alpha-{alpha}", change, shown, trials))
    return rows


class Threshold(Value, frozen=True):
    """`count` members slow for long, once, in a pool that runs Lifeguard with this alpha."""

    alpha: int
    count: int
    seed: str
    size: int = 128


def first_reports(case: Threshold) -> list[float]:
    """Seconds from the beginning of the slowness until a healthy member reports each failed."""
    settings = settings_of("paper", suspicion_mult=case.alpha)
    pool = Pool(case.size, settings, case.seed, reading=READING)
    world = pool.world
    slow = dict.fromkeys(pool.rng.sample(pool.names, case.count))
    first: dict[str, float] = {}

    def note(now: float, node: str, about: str) -> None:
        if about in slow and node not in slow:
            first.setdefault(about, now)

    pool.watch_failures(note)
    world.run_for(3.0 + pool.rng.random())
    began = world.now
    for name in slow:
        world.hosts[name].give(Stall())
    world.run_for(SLOW_FOR)
    return [at - began for at in first.values()]


def _median(reports: list[Report]) -> float:
    return median([delay for report in reports for delay in report.delays])


class Weather(Value, frozen=True):
    """A pool in which nobody dies, for `run` seconds, under loss and starvation."""

    size: int
    loss: float
    seed: str
    run: float
    retransmit_mult: int = 4
    starved: int = 0
    """Members that are paused again and again."""
    pause: float = 0.0
    gap: float = 0.0


def count_false_deaths(case: Weather) -> int:
    """Failures reported, all of them wrong, though a starved member gave cause."""
    settings = settings_of("lan", retransmit_mult=case.retransmit_mult)
    link = Link(Latency("normal", 0.002, 0.001), loss=case.loss)
    pool = Pool(case.size, settings, case.seed, link=link)
    world = pool.world
    starved = dict.fromkeys(pool.rng.sample(pool.names, case.starved))
    deaths = 0

    def note(_now: float, _node: str, _about: str) -> None:
        nonlocal deaths
        deaths += 1

    pool.watch_failures(note)
    while world.now < case.run:
        if not starved:
            world.run_for(case.run)
            break
        for name in starved:
            world.hosts[name].pause()
        world.run_for(case.pause)
        for name in starved:
            world.hosts[name].resume()
        world.run_for(case.gap)
    return deaths


STORM = {"size": 50, "loss": 0.30, "starved": 5, "pause": 4.0, "gap": 1.0, "run": 120.0}
"""Our guess at "loss and starvation"."""


def retransmit_tuning(effort: Effort) -> list[Measurement]:
    """`retransmit_mult` 4 against 2 under loss and starvation."""
    runs = effort.pick(8, 1)
    deaths = {}
    for multiplier in (4, 2):
        cases = [
            Weather(
                size=int(STORM["size"]),
                loss=STORM["loss"],
                seed=f"{effort.seed}/storm/{n}",
                run=STORM["run"],
                retransmit_mult=multiplier,
                starved=int(STORM["starved"]),
                pause=STORM["pause"],
                gap=STORM["gap"],
            )
            for n in range(runs)
        ]
        deaths[multiplier] = sum(effort.spread(count_false_deaths, cases))
    times = ratio(deaths[2], deaths[4])
    shown = f"× {times:.1f} ({deaths[4]:,} → {deaths[2]:,})"
    trials = f"{runs} runs of {STORM['run']:g} s each"
    return [Measurement("tuning-retransmit", times, shown, trials)]


def loss_alone(effort: Effort) -> list[Measurement]:
    """No false death from loss up to 5 % with the TCP fallback on."""
    rows = []
    for size, runs, seconds in ((50, 200, 60.0), (200, 200, 60.0)):
        count = effort.pick(runs, 5)
        cases = [
            Weather(size, LOSSES[n % len(LOSSES)], f"{effort.seed}/loss/{size}/{n}", seconds)
            for n in range(count)
        ]
        deaths = sum(effort.spread(count_false_deaths, cases))
        trials = f"{count} runs of {seconds:g} s, 1 … 5 % loss"
        rows.append(Measurement(f"loss-alone-{size}", deaths, f"{deaths}", trials))
    return rows
