"""Suspicion: the time a suspect has to refute, which shrinks as independent accusers confirm.

A suspicion starts at its longest (a lone accuser may be the sick one) and falls on a logarithmic
curve to its shortest when `k` further, distinct accusers have confirmed. The arithmetic is done in
whole nanoseconds and milliseconds, as the reference does, so that the two agree to the bit.

Source: gossip.md §23; Lifeguard, LHA-Suspicion.
"""

from __future__ import annotations

import math

from swimnomad.errors import UsageError
from swimnomad.swim.config import SwimConfig

_NS = 1_000_000_000


def suspicion_timeout_min(nodes: int, probe_interval: float, multiplier: int) -> float:
    """Shortest time a suspect may stay unrefuted before it is declared dead.

    Args:
        nodes: Entries of the node table, this node included; below 1 counts as 1.
        probe_interval: Seconds between probe rounds.
        multiplier: `suspicion_mult` of the profile.

    Returns:
        Seconds: multiplier * max(1, log10(nodes)) * probe_interval; the logarithm is cut to
        three decimals, as the reference does.

    Raises:
        UsageError: If `nodes` or `probe_interval` is negative.

    Source: memberlist util.go, suspicionTimeout; gossip.md §23.
    """
    if nodes < 0 or probe_interval < 0:
        raise UsageError(
            f"nodes and probe interval must not be negative: {nodes}, {probe_interval}"
        )
    scale_thousandths = int(1000 * max(1.0, math.log10(max(1, nodes))))
    interval_ns = round(probe_interval * _NS)
    return multiplier * scale_thousandths * interval_ns // 1000 / _NS


def remaining_suspicion(
    confirmations: int, needed: int, elapsed: float, shortest: float, longest: float
) -> float:
    """Seconds left of a suspicion; negative if it should have ended already.

    Args:
        confirmations: Distinct accusers after the first.
        needed: How many of them bring the timeout to `shortest`; 0 means it is there already.
        elapsed: Seconds since the suspicion began.
        shortest: Seconds at `needed` confirmations.
        longest: Seconds at none.

    Source: memberlist suspicion.go, remainingSuspicionTime.
    """
    if needed < 1:
        return shortest - elapsed
    fraction = math.log(confirmations + 1) / math.log(needed + 1)
    raw = longest - fraction * (longest - shortest)
    return max(math.floor(1000 * raw) / 1000, shortest) - elapsed


def confirmations_needed(config: SwimConfig, nodes: int) -> int:
    """How many accusers after the first bring a suspicion to its shortest.

    0 in pools too small to hold so many, and when LHA-Suspicion is off.
    """
    if not config.lha_suspicion:
        return 0
    needed = config.suspicion_confirmations
    if needed is None:
        needed = config.suspicion_mult - 2
    return 0 if nodes - 2 < needed else max(needed, 0)


class Suspicion:
    """One running suspicion. It knows its deadline but no timer; the node arms those.

    `accuser` is None for hearsay: a suspicion learned from a push/pull, which says that somebody
    suspects but not who. The first named accuser then takes the first seat: news worth passing on,
    but no confirmation, because it may be the very one the hearsay came from.
    """

    __slots__ = ("_accusers", "_confirmations", "_longest", "_needed", "_shortest", "_started")

    def __init__(self, config: SwimConfig, nodes: int, accuser: str | None, now: float) -> None:
        shortest = config.suspicion_min_fixed
        if shortest is None:
            shortest = suspicion_timeout_min(nodes, config.probe_interval, config.suspicion_mult)
        self._shortest = shortest
        self._longest = shortest * config.suspicion_max_timeout_mult
        self._needed = confirmations_needed(config, nodes)
        self._started = now
        self._confirmations = 0
        # A dict, not a set, for its order; never longer than `_needed` + 1.
        self._accusers: dict[str, None] = {} if accuser is None else {accuser: None}

    @property
    def deadline(self) -> float:
        """When the suspect is to be declared dead, by the confirmations so far. May be past."""
        timeout = remaining_suspicion(
            self._confirmations, self._needed, 0.0, self._shortest, self._longest
        )
        return self._started + timeout

    @property
    def is_degraded(self) -> bool:
        """Whether fewer accusers have confirmed than wanted."""
        return self._confirmations < self._needed

    def confirm(self, accuser: str | None) -> bool:
        """Take another accusation into account.

        Returns:
            Whether it was news: then it should be passed on and `deadline` may have moved.
        """
        if accuser is None or accuser in self._accusers:
            return False
        if not self._accusers:
            self._accusers[accuser] = None
            return True
        if self._confirmations >= self._needed:
            return False
        self._accusers[accuser] = None
        self._confirmations += 1
        return True
