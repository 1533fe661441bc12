"""Settings of the gossip layers by name, as `cluster.overrides` gives them to every node.

A profile is one point in a large space; an override moves one coordinate of it. Every field of
`SwimConfig` and `SerfConfig` can be named that does not belong to a single node.
"""

from __future__ import annotations

import typing
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import msgspec

from swimnomad.nomad.config import AgentConfig
from swimnomad.scenario.quantities import Duration, Share
from swimnomad.serf.config import SerfConfig
from swimnomad.swim.config import SwimConfig, profile_settings

_OF_ONE_NODE = ("name", "versions", "meta", "swim", "tags")
SET_ELSEWHERE: Mapping[str, str] = MappingProxyType(
    {
        "compat": "cluster.compat",
        "label": "cluster.labels",
        "leave_timeout": "broadcast_timeout, which the Serf layer takes it from",
    }
)
"""Settings that have a place of their own, and which."""
_SHARES = ("nack_fraction",)


def _kinds(config: type[msgspec.Struct]) -> dict[str, Any]:
    """Name of each setting to its type, durations told apart from other numbers."""
    kinds: dict[str, Any] = {}
    for name, kind in typing.get_type_hints(config).items():
        if name in _OF_ONE_NODE or name in SET_ELSEWHERE:
            continue
        if name in _SHARES:
            kinds[name] = Share
        elif kind is float:
            kinds[name] = Duration
        elif kind == float | None:
            kinds[name] = Duration | None
        elif kind == tuple[str, ...] | None:
            kinds[name] = tuple[str, ...]
        else:
            kinds[name] = kind
    return kinds


_SWIM_KINDS = _kinds(SwimConfig)
_SERF_KINDS = _kinds(SerfConfig)
SETTING_KINDS: Mapping[str, Any] = MappingProxyType({**_SWIM_KINDS, **_SERF_KINDS})
"""Name of each setting to the type of its value."""


def gossip_settings(
    profile: str, scale: float = 1.0, overrides: Mapping[str, object] = MappingProxyType({})
) -> SwimConfig:
    """What the gossip layer of every node is told; overrides are not scaled.

    Raises:
        UsageError: If the profile is unknown or the scale not above 0.
    """
    settings = profile_settings(profile, scale)
    settings.update({name: overrides[name] for name in overrides if name in _SWIM_KINDS})
    return msgspec.convert({**settings, "name": "any"}, SwimConfig)


def serf_settings(overrides: Mapping[str, object], base: SerfConfig) -> SerfConfig:
    """A configuration with the overrides in both layers."""
    swim = msgspec.structs.replace(
        base.swim, **{name: overrides[name] for name in overrides if name in _SWIM_KINDS}
    )
    return msgspec.structs.replace(
        base, swim=swim, **{name: overrides[name] for name in overrides if name in _SERF_KINDS}
    )


class TunedAgent(AgentConfig, frozen=True):
    """An agent's configuration with settings that its files do not have."""

    overrides: Mapping[str, object] = msgspec.field(default_factory=dict)

    def serf_config(self, node_id: str = "") -> SerfConfig:
        """As every agent's, then the overrides."""
        return serf_settings(self.overrides, AgentConfig.serf_config(self, node_id))
