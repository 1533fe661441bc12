"""The configuration of an agent as `/v1/agent/self` shows it: names and types are Nomad's.

Durations are whole nanoseconds, secrets are masked, and the gossip key is nowhere.

Source: agent-http.md §4.3.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from swimnomad.nomad.config import ServerJoin
from swimnomad.nomad.durations import duration_text
from swimnomad.nomad.schema import SCHEMA, Block, Key, Kind
from swimnomad.nomad.tags import NOMAD_VERSION

if TYPE_CHECKING:
    from swimnomad.nomad.config import AgentConfig, Service

Json = dict[str, object]

REDACTED = "<redacted>"

_SERVICES: dict[str, Service] = {"HTTP": "http", "RPC": "rpc", "Serf": "serf"}

_CONNECT_META = {
    "connect.log_level": "info",
    "connect.proxy_concurrency": "1",
    "connect.sidecar_image": "envoyproxy/envoy:v${NOMAD_envoy_version}",
    "connect.gateway_image": "envoyproxy/envoy:v${NOMAD_envoy_version}",
}
"""What a client agent finds in its metadata unless told otherwise."""

_DEV_FOREIGN: Mapping[str, object] = {
    "client.options": {"driver.raw_exec.enable": "true", "driver.docker.volumes": "true"},
    "client.network_interface": "lo",
    "client.gc_interval": 600.0,
    "client.gc_disk_usage_threshold": 99.0,
    "client.gc_inode_usage_threshold": 99.0,
    "telemetry.prometheus_metrics": True,
    "telemetry.publish_allocation_metrics": True,
    "telemetry.publish_node_metrics": True,
    "disable_anonymous_signature": True,
}
"""Defaults of foreign keys that differ in dev mode."""


def describe_config(config: AgentConfig) -> Json:
    """The merged configuration as one JSON object."""
    shown = _describe_block(config, SCHEMA, "")
    tls = shown["TLSConfig"]
    assert isinstance(tls, dict)
    tls["Checksum"] = config.tls.checksum
    shown["Addresses"] = {name: config.bind(key).host for name, key in _SERVICES.items()}
    shown["AdvertiseAddrs"] = {
        # Only servers gossip: a client advertises no address for it.
        name: "" if key == "serf" and not config.server.enabled else str(config.advertised(key))
        for name, key in _SERVICES.items()
    }
    if config.data_dir and not shown["PluginDir"]:
        shown["PluginDir"] = f"{config.data_dir}/plugins"
    return shown | {
        "Audit": {"Enabled": None, "Filters": None, "Sinks": None},
        "DevMode": config.dev_mode,
        "Files": list(config.files) or None,
        "Sentinel": {"Imports": None},
        "Version": {
            "Revision": "",
            "Version": NOMAD_VERSION,
            "VersionMetadata": "",
            "VersionPrerelease": "",
        },
    }


def _describe_block(config: AgentConfig, keys: Mapping[str, Key | Block], prefix: str) -> Json:
    shown: Json = {}
    for name, item in keys.items():
        path = prefix + name
        if isinstance(item, Block):
            if item.shown:
                shown[item.shown] = _describe_block(config, item.keys, f"{path}.")
        elif item.shown:
            shown[item.shown] = _describe(path, item, _value_of(config, path, item))
    shown.update(_CONSTANTS.get(prefix, {}))
    return shown


_CONSTANTS: Mapping[str, Json] = {
    "tls.": {"KeyLoader": {}},
    "vault.": {"ConnectionRetryIntv": 30_000_000_000},
}
"""Fields that no key of a file sets."""


def _value_of(config: AgentConfig, path: str, key: Key) -> object:
    if key.ours:
        value: object = config
        for part in path.split("."):
            value = getattr(value, part)
            if value is None:  # server_join was not given: its defaults are shown
                value = ServerJoin()
        return value
    default = _DEV_FOREIGN.get(path, key.default) if config.dev_mode else key.default
    if path == "client.meta" and config.client.enabled:
        default = _CONNECT_META
    value = config.foreign.get(path, default)
    if key.kind is Kind.MAP and isinstance(value, Mapping) and isinstance(default, Mapping):
        return {**default, **value}
    return value


_NULL_IF_EMPTY = (
    "server.server_join.start_join",
    "client.server_join.start_join",
    "client.servers",
)
"""Lists of ours that Nomad shows as null when nothing is in them; the others are empty lists."""


def _describe(path: str, key: Key, value: object) -> object:
    match key.kind:
        case Kind.SECRET:
            return REDACTED if value else ""
        case Kind.DURATION if isinstance(value, int | float):
            return round(value * 1e9)
        case Kind.DURATION_TEXT if isinstance(value, int | float):
            return duration_text(value)
        case Kind.APPENDED | Kind.REPLACED if isinstance(value, tuple):
            return None if not value and path in _NULL_IF_EMPTY else list(value)
        case _:
            return value
