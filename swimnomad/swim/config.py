"""Settings of one gossip node and the profiles: sets of timings that belong together."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

from swimnomad.errors import UsageError
from swimnomad.names import Value

VERSIONS_PLAIN = bytes((1, 5, 2, 0, 0, 0))
META_BYTES_MAX = 512


class SwimConfig(Value, frozen=True):
    """Everything the gossip layer can be told. Durations are seconds; defaults are LAN.

    Source: memberlist config.go; `paper` follows the SWIM and Lifeguard papers instead.
    """

    name: str
    versions: bytes = VERSIONS_PLAIN
    meta: bytes = b""

    tcp_timeout: float = 10.0
    """Longest a stream may take, from connecting or accepting to its end; renewed for an answer."""
    indirect_checks: int = 3
    """Helpers asked to probe a node that did not answer."""
    retransmit_mult: int = 4
    suspicion_mult: int = 4
    suspicion_max_timeout_mult: int = 6
    push_pull_interval: float = 30.0
    """0 turns periodic push/pull off."""
    probe_interval: float = 1.0
    """0 turns probing off."""
    probe_timeout: float = 0.5
    stream_pings: bool = True
    """Whether a probe falls back to TCP."""
    awareness_max_multiplier: int = 8
    """Health scores are 0 … this minus 1; 1 turns local health awareness off."""
    gossip_nodes: int = 3
    """0 turns gossip off."""
    gossip_interval: float = 0.2
    gossip_to_the_dead_time: float = 30.0
    dead_node_reclaim_time: float = 0.0
    """After this long dead, a name may be claimed from another address; 0: never."""
    compression: bool = True
    compress_when_late: bool = False
    """Whether a node that lags behind its own ticks goes on compressing; see `Gossiper`."""
    packet_bytes_max: int = 1400
    """Budget of a datagram, before compression."""
    label: str = ""
    skip_inbound_label_check: bool = False
    verify_incoming: bool = True
    verify_outgoing: bool = True
    cidrs_allowed: tuple[str, ...] | None = None
    """Networks members may come from; None: all."""
    leave_timeout: float = 5.0
    """How long a leave or metadata update waits for its broadcast (Serf's BroadcastTimeout)."""

    lha_probe: bool = True
    """Lifeguard: scale the probe interval by local health."""
    lha_probe_timeout: bool = False
    """Lifeguard as published: scale the probe timeout too (memberlist does not)."""
    lha_suspicion: bool = True
    """Lifeguard: suspicions start long and shrink with confirmations. Off: always the minimum."""
    buddy: bool = True
    """Lifeguard: a suspect that is probed is told of the suspicion in the same datagram."""
    nack_fraction: float = 1.0
    """A helper sends its nack after this share of the probe timeout (memberlist 1, paper 0.8)."""
    round_robin: bool = True
    """Probe targets in shuffled rounds; False draws each at random, as the first SWIM analysis."""
    suspicion_confirmations: int | None = None
    """Accusers after the first that bring a suspicion to its minimum; None: suspicion_mult - 2."""
    suspicion_min_fixed: float | None = None
    """Seconds that replace the computed minimum suspicion timeout; for reproducing papers."""
    compat: Literal["safe", "upstream"] = "safe"
    """`upstream` reproduces known memberlist bugs (see docs/design), `safe` does not."""

    inflight_push_pulls_max: int = 127
    """Inbound push/pulls served at one time; the next is dropped."""
    streams_max: int = 512
    """Inbound streams open at one time; the next is dropped."""
    nodes_max: int = 1_048_576
    """Node records in one push/pull, and entries in the node table."""
    user_state_bytes_max: int = 20 * 1024 * 1024
    decompressed_bytes_max: int = 40 * 1024 * 1024
    broadcasts_max: int = 65_536
    """Membership broadcasts queued; the most transmitted are dropped first."""
    relays_max: int = 4096
    """Indirect pings of others that we wait for; the next is dropped."""
    name_bytes_max: int = 1024
    """Longest node name accepted from others; a longer one would not fit into a datagram."""

    def validate(self) -> None:
        """Check every field.

        Raises:
            UsageError: Naming the field, what was found and what is allowed.
        """
        from swimnomad.swim.validate import check_config

        check_config(self)


_WAN: dict[str, object] = {
    "tcp_timeout": 30.0,
    "suspicion_mult": 6,
    "push_pull_interval": 60.0,
    "probe_timeout": 3.0,
    "probe_interval": 5.0,
    "gossip_nodes": 4,
    "gossip_interval": 0.5,
    "gossip_to_the_dead_time": 60.0,
}

PROFILES: Mapping[str, Mapping[str, object]] = MappingProxyType(
    {
        "lan": {},
        "wan": _WAN,
        "local": {
            "tcp_timeout": 1.0,
            "indirect_checks": 1,
            "retransmit_mult": 2,
            "suspicion_mult": 3,
            "push_pull_interval": 15.0,
            "probe_timeout": 0.2,
            "probe_interval": 1.0,
            "gossip_interval": 0.1,
            "gossip_to_the_dead_time": 15.0,
        },
        # What a real Nomad server runs: memberlist's WAN column.
        "nomad": _WAN,
        "paper": {
            "suspicion_mult": 5,
            "nack_fraction": 0.8,
            "compress_when_late": True,
            # The paper's score goes up to 8, memberlist's to one less than the multiplier.
            "awareness_max_multiplier": 9,
            "lha_probe_timeout": True,
            "suspicion_confirmations": 3,
        },
    }
)
"""Profile name to the fields in which it differs from the defaults (LAN)."""

DURATIONS = (
    "tcp_timeout",
    "push_pull_interval",
    "probe_interval",
    "probe_timeout",
    "gossip_interval",
    "gossip_to_the_dead_time",
)
"""The fields that `scale` multiplies."""


def profile_settings(profile: str, scale: float = 1.0) -> dict[str, object]:
    """Fields of a profile, all durations multiplied by `scale`.

    Raises:
        UsageError: If the profile is unknown or the scale is not above 0.
    """
    if profile not in PROFILES:
        raise UsageError(f"unknown profile {profile!r}: allowed are {', '.join(PROFILES)}")
    if not scale > 0:
        raise UsageError(f"profile scale must be above 0, not {scale}")
    base = SwimConfig(name="")
    settings: dict[str, object] = dict(PROFILES[profile])
    for field in DURATIONS:
        value = settings.get(field, getattr(base, field))
        assert isinstance(value, float)
        settings[field] = value * scale
    return settings
