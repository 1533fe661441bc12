"""The settings of a leader's duties that a configuration file gives.

Source: nomad-agent.md §6.2, §10; rpc.md §10.4.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from swimnomad.nomad.duties.heartbeats import HeartbeatSettings
from swimnomad.nomad.state.records import AutopilotConfig

if TYPE_CHECKING:
    from swimnomad.nomad.config import AgentConfig


def heartbeat_settings(config: AgentConfig) -> HeartbeatSettings:
    """How heartbeats are asked for; keys of the `server` block, 0 means the default."""
    given = {
        name: value
        for name, key in (
            ("grace", "server.heartbeat_grace"),
            ("ttl_min", "server.min_heartbeat_ttl"),
            ("per_second_max", "server.max_heartbeats_per_second"),
        )
        if (value := _number(config, key)) > 0
    }
    return HeartbeatSettings(**given)


def autopilot_config(config: AgentConfig) -> AutopilotConfig:
    """What autopilot is told by the first leader of a region: the `autopilot` block."""
    default = AutopilotConfig()
    foreign = config.foreign

    def flag(key: str, otherwise: bool) -> bool:
        value = foreign.get(f"autopilot.{key}")
        return value if isinstance(value, bool) else otherwise

    def number(key: str, otherwise: float) -> float:
        path = f"autopilot.{key}"
        return max(0.0, _number(config, path)) if path in foreign else otherwise

    return AutopilotConfig(
        cleanup_dead_servers=flag("cleanup_dead_servers", default.cleanup_dead_servers),
        last_contact_threshold=number("last_contact_threshold", default.last_contact_threshold),
        max_trailing_logs=int(number("max_trailing_logs", default.max_trailing_logs)),
        min_quorum=int(number("min_quorum", default.min_quorum)),
        server_stabilization_time=number(
            "server_stabilization_time", default.server_stabilization_time
        ),
        enable_redundancy_zones=flag("enable_redundancy_zones", False),
        disable_upgrade_migration=flag("disable_upgrade_migration", False),
        enable_custom_upgrades=flag("enable_custom_upgrades", False),
    )


def _number(config: AgentConfig, key: str) -> float:
    value = config.foreign.get(key, 0.0)
    return float(value) if isinstance(value, int | float) else 0.0
