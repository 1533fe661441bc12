"""How an update spreads: by piggyback on probes, as SWIM has it, and by gossip rounds.

The update is a member's new metadata: every other node announces it when it hears of it.
"""

from __future__ import annotations

import math

from reproduce.effort import Effort
from reproduce.numbers import mean
from reproduce.pool import BARE, Pool, settings_of
from reproduce.rows import Measurement
from swimnomad.faults import Latency
from swimnomad.names import Value
from swimnomad.sim.network import Link
from swimnomad.swim.events import NodeUpdated
from swimnomad.swim.inputs import UpdateMeta

ROUND = 0.2
"""Seconds of a gossip round: the LAN profile's."""
SOON = Link(Latency("constant", 0.001))
"""Well within a round, yet after the moment at which all begin theirs."""
FANOUT = 3


class Spread(Value, frozen=True):
    """One update in a pool of `size` nodes."""

    size: int
    seed: str


def infection_model(size: int, share: float) -> float:
    """Periods until `share` of the pool knows: x(t) = n / (1 + (n - 1)·exp(-(2 - 1/n)·t))."""
    return math.log((size - 1) * share / (1 - share)) / (2 - 1 / size)


def push_model(size: int, fanout: int) -> float:
    """Rounds until all know by push to `fanout` nodes a round on a complete graph, without O(1)."""
    return math.log(size) / math.log(1 + fanout) + math.log(size) / fanout


def least_rounds(size: int, fanout: int) -> int:
    """Rounds that no protocol with `fanout` sends a node and round can undercut."""
    return math.ceil(math.log(size) / math.log(1 + fanout) - 1e-9)


def _times(pool: Pool, limit: float) -> list[float]:
    """Seconds after the update at which the others heard of it, in order."""
    heard: list[float] = []
    world = pool.world
    teller = pool.names[pool.rng.randrange(len(pool.names))]

    def note(now: float, node: str, _event: NodeUpdated) -> None:
        if node != teller:
            heard.append(now - started)

    pool.watch(NodeUpdated, note)
    started = world.now
    world.hosts[teller].give(UpdateMeta(1, b"news"))
    world.run_while(lambda: len(heard) < len(pool.names) - 1, started + limit)
    return heard


def infection_times(case: Spread) -> tuple[float, float]:
    """Periods until half and until 99 % of the pool know, one probe a member and period."""
    # SWIM's model has no limit on how often an update is passed on; 4·⌈log10(n+1)⌉ would end some.
    settings = settings_of("paper", **BARE, round_robin=False, retransmit_mult=30)
    pool = Pool(case.size, settings, case.seed)
    pool.world.run_for(pool.rng.random())
    heard = [0.0, *_times(pool, 60.0)]  # The teller knows from the beginning.
    half, most = (heard[math.ceil(case.size * share) - 1] for share in (0.5, 0.99))
    return half, most


def gossip_rounds(case: Spread) -> float:
    """Rounds until all know, or infinity if some never do; gossip alone."""
    settings = settings_of("lan", probe_interval=0.0, push_pull_interval=0.0)
    pool = Pool(case.size, settings, case.seed, link=SOON, in_step=True)
    pool.world.run_for(5 * ROUND + ROUND / 2)
    heard = _times(pool, 60 * ROUND)
    if len(heard) < case.size - 1:
        return math.inf
    # From the first round after the update; what is told in a round is heard within it.
    return math.floor((heard[-1] - ROUND / 2) / ROUND + 1e-6) + 1


def swim_infection(effort: Effort) -> list[Measurement]:
    """The rows on the infection curve."""
    rows = []
    for size, updates in ((100, 60), (1000, 16)):
        worlds = effort.pick(updates, 6 if size < 1000 else 2)
        cases = [Spread(size, f"{effort.seed}/infect/{size}/{n}") for n in range(worlds)]
        times = effort.spread(infection_times, cases)
        for label, share, place in (("50", 0.5, 0), ("99", 0.99, 1)):
            found = mean([pair[place] for pair in times])
            model = infection_model(size, share)
            key = f"infection-{size}-{label}"
            trials = f"{len(times)} updates"
            rows.append(Measurement(key, found - model, f"{found:.2f} periods", trials))
    return rows


def gossip_dissemination(effort: Effort) -> list[Measurement]:
    """The rows on gossip rounds: the mean against the model, the least against the bound."""
    rows = []
    for size, updates in ((30, 100), (100, 60), (1000, 8)):
        worlds = effort.pick(updates, 10 if size < 1000 else 2)
        cases = [Spread(size, f"{effort.seed}/gossip/{size}/{n}") for n in range(worlds)]
        found = effort.spread(gossip_rounds, cases)
        told = [rounds for rounds in found if rounds < math.inf]
        trials = f"{len(told)} updates"
        missed = len(found) - len(told)
        note = f"{missed} more did not reach everybody by gossip alone" if missed else ""
        away = mean(told) - push_model(size, FANOUT)
        shown = f"{mean(told):.2f} rounds"
        rows.append(Measurement(f"push-rounds-{size}", away, shown, trials, note))
        least = min(told, default=math.nan)
        rows.append(
            Measurement(
                f"least-rounds-{size}", least - least_rounds(size, FANOUT), f"{least:g}", trials
            )
        )
    return rows
