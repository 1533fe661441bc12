"""Settings, their checks and the profiles."""

from __future__ import annotations

import math
from typing import Any

import pytest

from swimnomad.errors import UsageError
from swimnomad.swim.config import DURATIONS, PROFILES, SwimConfig, profile_settings
from tests.swim.swim_vectors import scripts

GO_NAMES = {
    "tcp_timeout": "TCPTimeout",
    "indirect_checks": "IndirectChecks",
    "retransmit_mult": "RetransmitMult",
    "suspicion_mult": "SuspicionMult",
    "suspicion_max_timeout_mult": "SuspicionMaxTimeoutMult",
    "push_pull_interval": "PushPullInterval",
    "probe_interval": "ProbeInterval",
    "probe_timeout": "ProbeTimeout",
    "awareness_max_multiplier": "AwarenessMaxMultiplier",
    "gossip_nodes": "GossipNodes",
    "gossip_interval": "GossipInterval",
    "gossip_to_the_dead_time": "GossipToTheDeadTime",
    "dead_node_reclaim_time": "DeadNodeReclaimTime",
    "compression": "EnableCompression",
    "packet_bytes_max": "UDPBufferSize",
    "verify_incoming": "GossipVerifyIncoming",
    "verify_outgoing": "GossipVerifyOutgoing",
}


def of_profile(profile: str, **settings: Any) -> SwimConfig:  # noqa: ANN401 - settings by name
    return SwimConfig(name="n", **(profile_settings(profile) | settings))  # type: ignore[arg-type]  # by name


@pytest.mark.parametrize("profile", ["lan", "local", "wan", "nomad"])
def test_profiles_have_the_defaults_of_the_reference(profile: str) -> None:
    (defaults,) = scripts(f"defaults/memberlist-{'wan' if profile == 'nomad' else profile}")
    config = of_profile(profile)
    for field, go_name in GO_NAMES.items():
        value, default = getattr(config, field), defaults[go_name]
        if isinstance(value, float):
            default /= 1e9
        assert value == default, field
    assert config.stream_pings is not defaults["DisableTcpPings"]


@pytest.mark.parametrize("profile", sorted(PROFILES))
def test_every_profile_is_valid(profile: str) -> None:
    of_profile(profile).validate()


def test_paper_profile_departs_as_published() -> None:
    config = of_profile("paper")
    assert config.suspicion_mult == 5
    assert config.suspicion_max_timeout_mult == 6
    assert config.suspicion_confirmations == 3
    assert config.nack_fraction == 0.8
    assert config.lha_probe_timeout
    # Scores of 0 to 8 scale the interval from 1 s to 9 s.
    assert config.awareness_max_multiplier == 9


def test_scale_multiplies_every_duration_and_nothing_else() -> None:
    plain, scaled = of_profile("wan"), SwimConfig(name="n", **profile_settings("wan", 0.1))  # type: ignore[arg-type]  # by name
    for field in SwimConfig.__struct_fields__:
        before, after = getattr(plain, field), getattr(scaled, field)
        assert after == (pytest.approx(before * 0.1) if field in DURATIONS else before), field


def test_unknown_profile_and_impossible_scale_are_refused() -> None:
    with pytest.raises(UsageError, match="allowed are lan, wan"):
        profile_settings("moon")
    for scale in (0.0, -1.0, math.nan):
        with pytest.raises(UsageError, match="above 0"):
            profile_settings("lan", scale)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", ""),
        ("name", "x" * 1025),
        ("label", "x" * 256),
        ("meta", bytes(513)),
        ("versions", bytes((1, 5, 2))),
        ("versions", bytes(6)),
        ("versions", bytes((1, 5, 6, 0, 0, 0))),
        ("versions", bytes((1, 6, 2, 0, 0, 0))),
        ("versions", bytes((3, 5, 2, 0, 0, 0))),
        ("versions", bytes((1, 5, 2, 2, 5, 6))),
        ("tcp_timeout", 0.0),
        ("probe_timeout", -1.0),
        ("probe_timeout", math.inf),
        ("probe_interval", -0.1),
        ("gossip_interval", math.nan),
        ("leave_timeout", math.inf),
        ("indirect_checks", -1),
        ("retransmit_mult", 0),
        ("suspicion_mult", 0),
        ("awareness_max_multiplier", 0),
        ("gossip_nodes", -1),
        ("nodes_max", 0),
        ("streams_max", 0),
        ("broadcasts_max", 0),
        ("packet_bytes_max", 127),
        ("packet_bytes_max", 65_508),
        ("cidrs_allowed", ("10.0.0.0/33",)),
        ("nack_fraction", 0.0),
        ("nack_fraction", 1.1),
        ("suspicion_confirmations", -1),
        ("suspicion_min_fixed", -1.0),
        ("suspicion_min_fixed", math.inf),
        ("compat", "best"),
    ],
)
def test_impossible_setting_is_refused_by_name(field: str, value: object) -> None:
    settings: dict[str, Any] = {"name": "n", field: value}
    with pytest.raises(UsageError, match=field):
        SwimConfig(**settings).validate()


@pytest.mark.parametrize(
    "settings",
    [
        {"probe_interval": 0.0, "gossip_interval": 0.0, "push_pull_interval": 0.0},
        {"label": "x" * 255},
        {"name": "x" * 1024},
        {"versions": bytes((1, 5, 1, 0, 0, 0))},
        {"cidrs_allowed": ()},
        {"cidrs_allowed": ("10.0.0.1/8", "fd00::/8")},
        {"suspicion_confirmations": 0, "suspicion_min_fixed": 0.0},
    ],
)
def test_possible_settings_are_taken(settings: dict[str, Any]) -> None:
    SwimConfig(**({"name": "n"} | settings)).validate()
