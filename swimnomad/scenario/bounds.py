"""How long a cluster may take to agree again, computed from its profile.

After the last fault or repair, n members agree within

    probe_rounds * probe_interval * awareness_max    someone must probe the silent member first
  + suspicion maximum                                and suspect it for as long as is allowed
  + spread                                           the verdict reaches all by gossip
  + push/pull interval(n)                            what gossip missed, an exchange brings
  + reconnect interval                               a member held for failed must be called again

    suspicion maximum  = max_timeout_mult * suspicion_mult * max(1, log10 n) * probe_interval
    spread             = gossip_interval * ceil(log_{1+f} n + ln n / f + 3),  f = gossip_nodes
    push/pull(n)       = push_pull_interval * (ceil(log2 n - 5) + 1) for n > 32

Every term is a worst case or near it, so a measured time is normally far below; above it something
is wrong. The first term assumes 4 probe rounds (a member that nobody has probed then has bad luck
of e^-4) at a local health score of 0: the bound is for a cluster whose links are whole again.

Source: memberlist util.go (suspicionTimeout, pushPullScale); reference figures of push gossip.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType

from swimnomad.names import Value
from swimnomad.scenario.settings import gossip_settings, serf_settings
from swimnomad.serf.config import SerfConfig

PROBE_ROUNDS = 4
SPREAD_ROUNDS_EXTRA = 3
PUSH_PULL_SCALE_THRESHOLD = 32


class ConvergenceBound(Value, frozen=True):
    """The terms of the bound, in seconds."""

    probing: float
    suspicion_max: float
    spread: float
    push_pull: float
    reconnect: float

    @property
    def total(self) -> float:
        """The bound."""
        return self.probing + self.suspicion_max + self.spread + self.push_pull + self.reconnect


def convergence_bound(
    nodes: int,
    profile: str,
    scale: float = 1.0,
    overrides: Mapping[str, object] = MappingProxyType({}),
) -> ConvergenceBound:
    """The bound for a cluster of `nodes` members.

    Raises:
        UsageError: If the profile is unknown or the scale not above 0.
    """
    swim = gossip_settings(profile, scale, overrides)
    reconnect = serf_settings(overrides, SerfConfig(swim=swim)).reconnect_interval
    suspicion_min = swim.suspicion_mult * max(1.0, math.log10(max(nodes, 1))) * swim.probe_interval
    fanout = max(swim.gossip_nodes, 1)
    rounds = math.log(nodes, 1 + fanout) + math.log(nodes) / fanout + SPREAD_ROUNDS_EXTRA
    return ConvergenceBound(
        probing=PROBE_ROUNDS * swim.probe_interval,
        suspicion_max=swim.suspicion_max_timeout_mult * suspicion_min,
        spread=swim.gossip_interval * math.ceil(rounds),
        push_pull=swim.push_pull_interval * push_pull_scale(nodes),
        reconnect=reconnect,
    )


def push_pull_scale(nodes: int) -> int:
    """Factor on the push/pull interval: 1 up to 32 members, 2 up to 64 and so on."""
    if nodes <= PUSH_PULL_SCALE_THRESHOLD:
        return 1
    return math.ceil(math.log2(nodes) - math.log2(PUSH_PULL_SCALE_THRESHOLD)) + 1
