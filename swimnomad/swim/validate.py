"""Checks of a `SwimConfig`: each field on its own, then those that must fit together."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from swimnomad.errors import UsageError
from swimnomad.swim.addresses import AllowedNetworks

if TYPE_CHECKING:
    from swimnomad.swim.config import SwimConfig

LABEL_BYTES_MAX = 255
PROTOCOL_MAX = 5
PACKET_BYTES_MIN = 128
DATAGRAM_BYTES_MAX = 65_507
"""The most a UDP datagram over IPv4 can carry."""

_AT_LEAST_0 = (
    "push_pull_interval",
    "probe_interval",
    "gossip_interval",
    "gossip_to_the_dead_time",
    "dead_node_reclaim_time",
    "leave_timeout",
)
"""Seconds that may be 0, which turns something off."""
_ABOVE_0 = ("tcp_timeout", "probe_timeout")
_COUNTS = {
    "indirect_checks": 0,
    "retransmit_mult": 1,
    "suspicion_mult": 1,
    "suspicion_max_timeout_mult": 1,
    "awareness_max_multiplier": 1,
    "gossip_nodes": 0,
    "inflight_push_pulls_max": 1,
    "streams_max": 1,
    "nodes_max": 1,
    "user_state_bytes_max": 0,
    "decompressed_bytes_max": 1,
    "broadcasts_max": 1,
    "relays_max": 0,
    "name_bytes_max": 1,
}
"""Whole numbers and the least each may be."""


def check_config(config: SwimConfig) -> None:
    """Check every field of a configuration.

    Raises:
        UsageError: Naming the field, what was found and what is allowed.
    """
    for field in _AT_LEAST_0:
        value = getattr(config, field)
        _require(
            math.isfinite(value) and value >= 0, field, value, "a number of seconds, 0 or more"
        )
    for field in _ABOVE_0:
        value = getattr(config, field)
        _require(math.isfinite(value) and value > 0, field, value, "a number of seconds above 0")
    for field, least in _COUNTS.items():
        value = getattr(config, field)
        _require(isinstance(value, int) and value >= least, field, value, f"{least} or more")
    _check_identity(config)
    _require(
        PACKET_BYTES_MIN <= config.packet_bytes_max <= DATAGRAM_BYTES_MAX,
        "packet_bytes_max",
        config.packet_bytes_max,
        f"{PACKET_BYTES_MIN} to {DATAGRAM_BYTES_MAX}",
    )
    AllowedNetworks(config.cidrs_allowed)
    _check_switches(config)


def _check_identity(config: SwimConfig) -> None:
    """Name, label, metadata and versions: what the others see of us."""
    from swimnomad.swim.config import META_BYTES_MAX

    name_bytes = len(config.name.encode(errors="surrogateescape"))
    allowed = f"1 to {config.name_bytes_max} bytes"
    _require(0 < name_bytes <= config.name_bytes_max, "name", config.name, allowed)
    label_bytes = len(config.label.encode(errors="surrogateescape"))
    allowed = f"at most {LABEL_BYTES_MAX} bytes"
    _require(label_bytes <= LABEL_BYTES_MAX, "label", config.label, allowed)
    allowed = f"at most {META_BYTES_MAX} bytes"
    _require(len(config.meta) <= META_BYTES_MAX, "meta", f"{len(config.meta)} bytes", allowed)
    versions = config.versions
    is_good = (
        len(versions) == 6
        and 1 <= versions[0] <= versions[2] <= versions[1] <= PROTOCOL_MAX
        and versions[3] <= versions[5] <= versions[4]
    )
    # A zero or short vector poisons the whole pool: every later push/pull in it is refused.
    allowed = f"six bytes PMin PMax PCur DMin DMax DCur, P within 1 to {PROTOCOL_MAX}, Cur in range"
    _require(is_good, "versions", versions.hex(), allowed)


def _check_switches(config: SwimConfig) -> None:
    fraction = config.nack_fraction
    _require(0 < fraction <= 1, "nack_fraction", fraction, "above 0, at most 1")
    confirmations = config.suspicion_confirmations
    is_good = confirmations is None or confirmations >= 0
    _require(is_good, "suspicion_confirmations", confirmations, "0 or more, or none")
    fixed = config.suspicion_min_fixed
    is_good = fixed is None or (math.isfinite(fixed) and fixed >= 0)
    _require(is_good, "suspicion_min_fixed", fixed, "a number of seconds, 0 or more, or none")
    _require(config.compat in ("safe", "upstream"), "compat", config.compat, "safe or upstream")


def _require(is_good: bool, field: str, found: object, allowed: str) -> None:
    if not is_good:
        raise UsageError(f"{field} is {found!r}; allowed is {allowed}")
