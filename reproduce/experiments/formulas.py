"""Figures that follow from formulas, taken from the functions that the program itself runs on.

The suspicion time-out of the first SWIM implementation is no formula of the program; it is given to
nodes as a fixed time, and what is measured is how long their suspicions then last.
"""

from __future__ import annotations

import math

from reproduce.effort import Effort
from reproduce.pool import Pool, settings_of
from reproduce.rows import Measurement
from swimnomad.swim.broadcasts import retransmit_limit
from swimnomad.swim.config import SwimConfig
from swimnomad.swim.events import NodeLeft, NodeSuspected
from swimnomad.swim.pushpull import push_pull_interval
from swimnomad.swim.suspicion import suspicion_timeout_min

SUSPICIONS: dict[str, dict[int, tuple[float, float]]] = {
    "lan": {3: (4, 24), 30: (5.908, 35.4), 100: (8, 48), 1000: (12, 72), 10_000: (16, 96)},
    "wan": {3: (30, 180), 30: (44.3, 266), 100: (60, 360)},
}
"""Profile to size to shortest and longest suspicion in seconds, as published to three digits."""
RETRANSMITS = {3: 4, 30: 8, 100: 12, 1000: 16}
PUSH_PULLS = {30: 30, 100: 90, 1000: 180}
CONVERGENCE = {30: (3, 6, 9), 100: (4, 7, 10), 1000: (5, 8, 11), 10_000: (7, 10, 13)}
"""Serf's convergence page: size to rounds until 50, 99 and 99.99 % know."""
PAPER_SUSPICIONS = {19: 9, 20: 12, 53: 12, 54: 15}
"""Members to periods, at the edges between the steps."""


def paper_suspicion(size: int) -> float:
    """Periods that the first SWIM implementation let a suspicion last: 3·⌈ln(N+1)⌉."""
    return 3.0 * math.ceil(math.log(size + 1))


def rounds_to_share(size: int, share: float, fanout: int = 3) -> int:
    """Rounds until a share of the pool knows, by the formula of Serf's convergence page, no loss.

    The share after x rounds is 1 / (1 + (N + 1)·exp(-c·N·x)) with c = fanout / N / 2.
    """
    return math.ceil(math.log((size + 1) * share / (1 - share)) / (fanout / 2))


def is_as_published(value: float, published: float) -> bool:
    """Whether a figure rounds to the published one, which has three digits or more."""
    return math.isclose(value, published, rel_tol=0.0015)


def suspicion_lasts(size: int, seed: str) -> float:
    """Periods from a suspicion to the death it ends in, at the node that suspects first."""
    settings = settings_of(
        "paper", lha_suspicion=False, lha_probe=False, lha_probe_timeout=False, buddy=False
    )
    pool = Pool(size, {**settings, "suspicion_min_fixed": paper_suspicion(size)}, seed)
    suspected: dict[str, float] = {}
    lasted: dict[str, float] = {}
    pool.watch(NodeSuspected, lambda now, node, _event: suspected.setdefault(node, now))
    pool.watch(NodeLeft, lambda now, node, _event: lasted.setdefault(node, now - suspected[node]))
    pool.kill(pool.names[0])
    pool.world.run_while(lambda: not lasted, 60.0)
    return lasted[next(iter(suspected))]


def _suspicion_row(profile: str) -> Measurement:
    settings = settings_of(profile)
    fields: dict[str, float] = {}
    for name in ("probe_interval", "suspicion_mult", "suspicion_max_timeout_mult"):
        value = settings.get(name, getattr(SwimConfig(name=""), name))
        assert isinstance(value, float | int)
        fields[name] = value
    wrong, shown = 0, []
    for size, (least, most) in SUSPICIONS[profile].items():
        shortest = suspicion_timeout_min(
            size, fields["probe_interval"], int(fields["suspicion_mult"])
        )
        longest = shortest * fields["suspicion_max_timeout_mult"]
        wrong += not is_as_published(shortest, least) or not is_as_published(longest, most)
        shown.append(f"{size:,}: {shortest:.4g}/{longest:.4g}")
    return Measurement(f"suspicion-{profile}", wrong, "; ".join(shown), f"{len(shown)} sizes")


def published_formulas(effort: Effort) -> list[Measurement]:
    """The rows on formulas; the value of each counts the figures that differ."""
    rows = [_suspicion_row(profile) for profile in SUSPICIONS]
    limits = {size: float(retransmit_limit(4, size)) for size in RETRANSMITS}
    pulls = {size: push_pull_interval(30.0, size) for size in PUSH_PULLS}
    rows += [_row("retransmits", limits, RETRANSMITS), _row("push-pull", pulls, PUSH_PULLS)]
    converged = {
        size: tuple(rounds_to_share(size, share) for share in (0.5, 0.99, 0.9999))
        for size in CONVERGENCE
    }
    wrong = sum(converged[size] != CONVERGENCE[size] for size in CONVERGENCE)
    shown = "; ".join(f"{size:,}: {'/'.join(map(str, own))}" for size, own in converged.items())
    rows.append(Measurement("convergence-page", wrong, shown, f"{len(converged)} sizes"))
    lasted = {n: suspicion_lasts(n, f"{effort.seed}/paper/{n}") for n in PAPER_SUSPICIONS}
    rows.append(_row("paper-suspicion", lasted, PAPER_SUSPICIONS))
    return rows


def _row(key: str, found: dict[int, float], published: dict[int, int]) -> Measurement:
    wrong = sum(not math.isclose(found[size], published[size]) for size in published)
    shown = "; ".join(f"{size:,}: {value:g}" for size, value in found.items())
    return Measurement(key, wrong, shown, f"{len(found)} sizes")
