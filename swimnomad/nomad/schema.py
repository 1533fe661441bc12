"""Every key of an agent's configuration file: its type, its default, what becomes of it.

One table serves three purposes: the loader accepts nothing else and checks types by it; sources are
merged by it; and `/v1/agent/self` shows the configuration by it, under the names Nomad uses there.

Three kinds of keys:

*   Ours (`ours`): they mean something here and end up in the field of `AgentConfig` that has the
    same path.
*   Foreign: they belong to parts of Nomad that this version does not have (scheduling, Consul,
    Vault, metrics, …). Ignoring them does no harm, so existing files load; they are kept and
    shown, and change nothing else.
*   Refused when set (`refusal`): they ask for protection or for output that this version cannot
    give, and going on without it would be a surprise.

Source: nomad-agent.md §10; agent-http.md §4.3.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping
from typing import Union

from swimnomad.names import PORT_MAX, Value
from swimnomad.swim.config import PROFILES


class Kind(enum.Enum):
    """Type of a value, and how a later source changes what an earlier one said."""

    TEXT = enum.auto()
    SECRET = enum.auto()
    """Text that is never shown."""
    SWITCH = enum.auto()
    """A boolean that a later source can only switch on."""
    FLAG = enum.auto()
    """A boolean that a later source sets either way."""
    INT = enum.auto()
    FLOAT = enum.auto()
    DURATION = enum.auto()
    """Seconds; written with a unit."""
    DURATION_TEXT = enum.auto()
    """Written and shown as text, used as seconds."""
    APPENDED = enum.auto()
    """A list of strings; later sources add to it."""
    REPLACED = enum.auto()
    """A list of strings; a later source replaces it."""
    MAP = enum.auto()
    """Strings by name; merged key by key."""
    OPAQUE = enum.auto()
    """A block this program does not look into."""

    @property
    def words(self) -> str:
        """What is allowed, for messages."""
        return _WORDS[self]


_WORDS = {
    Kind.TEXT: "a string",
    Kind.SECRET: "a string",
    Kind.SWITCH: "true or false",
    Kind.FLAG: "true or false",
    Kind.INT: "a whole number",
    Kind.FLOAT: "a number",
    Kind.DURATION: 'a duration such as "30s"',
    Kind.DURATION_TEXT: 'a duration such as "30s"',
    Kind.APPENDED: "a list of strings",
    Kind.REPLACED: "a list of strings",
    Kind.MAP: "a block of strings",
    Kind.OPAQUE: "a block",
}


class Key(Value, frozen=True):
    """One key.

    `shown` is its name in `/v1/agent/self`, empty if it is not shown there. `allowed` lists the
    only values there are, `low` and `high` the range of a number.
    """

    kind: Kind
    shown: str
    default: object = None
    ours: bool = False
    refusal: str = ""
    allowed: tuple[str, ...] = ()
    low: int | None = None
    high: int | None = None


class Block(Value, frozen=True):
    """A block of keys."""

    shown: str
    keys: Mapping[str, Union[Key, Block]]  # noqa: UP007 - msgspec reads it at run time


def _ours(kind: Kind, shown: str = "") -> Key:
    return Key(kind, shown, ours=True)


def _text(shown: str, default: str = "") -> Key:
    return Key(Kind.TEXT, shown, default)


def _secret(shown: str) -> Key:
    return Key(Kind.SECRET, shown, "")


def _switch(shown: str, default: bool = False) -> Key:
    # What is on by default could never be turned off by a switch: such keys are pointers in Nomad.
    return Key(Kind.FLAG if default else Kind.SWITCH, shown, default)


def _flag(shown: str) -> Key:
    return Key(Kind.FLAG, shown)


def _int(shown: str, default: int | None = 0) -> Key:
    return Key(Kind.INT, shown, default)


def _duration(shown: str, default: float = 0.0) -> Key:
    return Key(Kind.DURATION, shown, default)


_NO_LOG_FILE = "this version logs to standard error"

_SERVICES = {"http": "HTTP", "rpc": "RPC", "serf": "Serf"}

_PORTS = Block(
    "Ports",
    {key: Key(Kind.INT, name, ours=True, low=0, high=PORT_MAX) for key, name in _SERVICES.items()},
)


def _hosts(shown: str) -> Block:
    return Block(shown, {key: _ours(Kind.TEXT, name) for key, name in _SERVICES.items()})


_SERVER_JOIN = Block(
    "ServerJoin",
    {
        "start_join": _ours(Kind.REPLACED, "StartJoin"),
        "retry_join": _ours(Kind.REPLACED, "RetryJoin"),
        "retry_max": _ours(Kind.INT, "RetryMaxAttempts"),
        "retry_interval": _ours(Kind.DURATION, "RetryInterval"),
    },
)

_SERVER = Block(
    "Server",
    {
        "enabled": _ours(Kind.SWITCH, "Enabled"),
        "bootstrap_expect": _ours(Kind.INT, "BootstrapExpect"),
        "encrypt": _ours(Kind.TEXT),
        "raft_protocol": _ours(Kind.INT, "RaftProtocol"),
        "non_voting_server": _ours(Kind.SWITCH, "NonVotingServer"),
        "redundancy_zone": _ours(Kind.TEXT, "RedundancyZone"),
        "upgrade_version": _ours(Kind.TEXT, "UpgradeVersion"),
        "start_join": _ours(Kind.APPENDED, "StartJoin"),
        "retry_join": _ours(Kind.APPENDED, "RetryJoin"),
        "retry_max": _ours(Kind.INT, "RetryMaxAttempts"),
        "retry_interval": _ours(Kind.DURATION, "RetryInterval"),
        "server_join": _SERVER_JOIN,
        "authoritative_region": _text("AuthoritativeRegion"),
        "data_dir": _text("DataDir"),
        "protocol_version": _int("ProtocolVersion"),
        "raft_multiplier": _int("RaftMultiplier", None),
        "num_schedulers": _int("NumSchedulers", None),
        "enabled_schedulers": Key(Kind.APPENDED, "EnabledSchedulers"),
        "node_gc_threshold": _text("NodeGCThreshold"),
        "job_gc_interval": _text("JobGCInterval"),
        "job_gc_threshold": _text("JobGCThreshold"),
        "eval_gc_threshold": _text("EvalGCThreshold"),
        "deployment_gc_threshold": _text("DeploymentGCThreshold"),
        "csi_volume_claim_gc_threshold": _text("CSIVolumeClaimGCThreshold"),
        "csi_plugin_gc_threshold": _text("CSIPluginGCThreshold"),
        "heartbeat_grace": _duration("HeartbeatGrace"),
        "min_heartbeat_ttl": _duration("MinHeartbeatTTL"),
        "max_heartbeats_per_second": Key(Kind.FLOAT, "MaxHeartbeatsPerSecond", 0.0),
        "rejoin_after_leave": _switch("RejoinAfterLeave"),
        "enable_event_broker": _switch("EnableEventBroker", default=True),
        "event_buffer_size": _int("EventBufferSize", 100),
        "default_scheduler_config": Key(Kind.OPAQUE, "DefaultSchedulerConfig"),
    },
)

_CLIENT = Block(
    "Client",
    {
        "enabled": _ours(Kind.SWITCH, "Enabled"),
        "servers": _ours(Kind.APPENDED, "Servers"),
        "server_join": _SERVER_JOIN,
        "state_dir": _text("StateDir"),
        "alloc_dir": _text("AllocDir"),
        "node_class": _text("NodeClass"),
        "options": Key(Kind.MAP, "Options", {}),
        "meta": Key(Kind.MAP, "Meta", {}),
        "chroot_env": Key(Kind.MAP, "ChrootEnv", {}),
        "network_interface": _text("NetworkInterface"),
        "network_speed": _int("NetworkSpeed"),
        "cpu_total_compute": _int("CpuCompute"),
        "memory_total_mb": _int("MemoryMB"),
        "max_kill_timeout": Key(Kind.DURATION_TEXT, "MaxKillTimeout", "30s"),
        "client_min_port": _int("ClientMinPort", 14_000),
        "client_max_port": _int("ClientMaxPort", 14_512),
        "reserved": Block(
            "Reserved",
            {
                "cpu": _int("CPU"),
                "memory": _int("MemoryMB"),
                "disk": _int("DiskMB"),
                "reserved_ports": _text("ReservedPorts"),
            },
        ),
        "gc_interval": _duration("GCInterval", 60.0),
        "gc_parallel_destroys": _int("GCParallelDestroys", 2),
        "gc_disk_usage_threshold": Key(Kind.FLOAT, "GCDiskUsageThreshold", 80.0),
        "gc_inode_usage_threshold": Key(Kind.FLOAT, "GCInodeUsageThreshold", 70.0),
        "gc_max_allocs": _int("GCMaxAllocs", 50),
        "no_host_uuid": _switch("NoHostUUID", default=True),
        "disable_remote_exec": _switch("DisableRemoteExec"),
        "template": Block(
            "TemplateConfig",
            {
                "function_denylist": Key(Kind.REPLACED, "FunctionDenylist", ("plugin",)),
                "function_blacklist": Key(Kind.REPLACED, "FunctionBlacklist"),
                "disable_file_sandbox": _switch("DisableSandbox"),
            },
        ),
        "host_volume": Key(Kind.OPAQUE, "HostVolumes"),
        "host_network": Key(Kind.OPAQUE, "HostNetworks"),
        "cni_path": _text("CNIPath"),
        "cni_config_dir": _text("CNIConfigDir"),
        "bridge_network_name": _text("BridgeNetworkName"),
        "bridge_network_subnet": _text("BridgeNetworkSubnet"),
        "bind_wildcard_default_host_network": _switch(
            "BindWildcardDefaultHostNetwork", default=True
        ),
    },
)

_CONSUL = Block(
    "Consul",
    {
        "address": _text("Addr", "127.0.0.1:8500"),
        "allow_unauthenticated": _switch("AllowUnauthenticated", default=True),
        "auth": _text("Auth"),
        "auto_advertise": _switch("AutoAdvertise", default=True),
        "ca_file": _text("CAFile"),
        "cert_file": _text("CertFile"),
        "checks_use_advertise": _switch("ChecksUseAdvertise"),
        "client_auto_join": _switch("ClientAutoJoin", default=True),
        "client_http_check_name": _text("ClientHTTPCheckName", "Nomad Client HTTP Check"),
        "client_service_name": _text("ClientServiceName", "nomad-client"),
        "ssl": _switch("EnableSSL"),
        "grpc_address": _text("GRPCAddr"),
        "key_file": _text("KeyFile"),
        "namespace": _text("Namespace"),
        "server_auto_join": _switch("ServerAutoJoin", default=True),
        "server_http_check_name": _text("ServerHTTPCheckName", "Nomad Server HTTP Check"),
        "server_rpc_check_name": _text("ServerRPCCheckName", "Nomad Server RPC Check"),
        "server_serf_check_name": _text("ServerSerfCheckName", "Nomad Server Serf Check"),
        "server_service_name": _text("ServerServiceName", "nomad"),
        "share_ssl": _flag("ShareSSL"),
        "tags": Key(Kind.REPLACED, "Tags"),
        "timeout": _duration("Timeout", 5.0),
        "token": _secret("Token"),
        "verify_ssl": _switch("VerifySSL", default=True),
    },
)

_VAULT = Block(
    "Vault",
    {
        "address": _text("Addr", "https://vault.service.consul:8200"),
        "allow_unauthenticated": _switch("AllowUnauthenticated", default=True),
        "enabled": _flag("Enabled"),
        "namespace": _text("Namespace"),
        "create_from_role": _text("Role"),
        "ca_file": _text("TLSCaFile"),
        "ca_path": _text("TLSCaPath"),
        "cert_file": _text("TLSCertFile"),
        "key_file": _text("TLSKeyFile"),
        "tls_server_name": _text("TLSServerName"),
        "tls_skip_verify": _flag("TLSSkipVerify"),
        "task_token_ttl": _text("TaskTokenTTL"),
        "token": _secret("Token"),
    },
)

_TELEMETRY = Block(
    "Telemetry",
    {
        "circonus_api_app": _text("CirconusAPIApp"),
        "circonus_api_token": _secret("CirconusAPIToken"),
        "circonus_api_url": _text("CirconusAPIURL"),
        "circonus_broker_id": _text("CirconusBrokerID"),
        "circonus_broker_select_tag": _text("CirconusBrokerSelectTag"),
        "circonus_check_display_name": _text("CirconusCheckDisplayName"),
        "circonus_check_force_metric_activation": _text("CirconusCheckForceMetricActivation"),
        "circonus_check_id": _text("CirconusCheckID"),
        "circonus_check_instance_id": _text("CirconusCheckInstanceID"),
        "circonus_check_search_tag": _text("CirconusCheckSearchTag"),
        "circonus_check_tags": _text("CirconusCheckTags"),
        "circonus_submission_interval": _text("CirconusSubmissionInterval"),
        "circonus_submission_url": _text("CirconusCheckSubmissionURL"),
        "collection_interval": Key(Kind.DURATION_TEXT, "CollectionInterval", "1s"),
        "datadog_address": _text("DataDogAddr"),
        "datadog_tags": Key(Kind.REPLACED, "DataDogTags"),
        "disable_dispatched_job_summary_metrics": _switch("DisableDispatchedJobSummaryMetrics"),
        "disable_hostname": _switch("DisableHostname"),
        "filter_default": _flag("FilterDefault"),
        "prefix_filter": Key(Kind.REPLACED, "PrefixFilter"),
        "prometheus_metrics": _switch("PrometheusMetrics"),
        "publish_allocation_metrics": _switch("PublishAllocationMetrics"),
        "publish_node_metrics": _switch("PublishNodeMetrics"),
        "statsd_address": _text("StatsdAddr"),
        "statsite_address": _text("StatsiteAddr"),
        "use_node_name": _switch("UseNodeName"),
    },
)

_TLS = Block(
    "TLSConfig",
    {
        "http": _ours(Kind.SWITCH, "EnableHTTP"),
        "rpc": _ours(Kind.SWITCH, "EnableRPC"),
        "ca_file": _ours(Kind.TEXT, "CAFile"),
        "cert_file": _ours(Kind.TEXT, "CertFile"),
        "key_file": _ours(Kind.TEXT, "KeyFile"),
        "rpc_upgrade_mode": _ours(Kind.SWITCH, "RPCUpgradeMode"),
        "tls_cipher_suites": _ours(Kind.TEXT, "TLSCipherSuites"),
        "tls_min_version": _ours(Kind.TEXT, "TLSMinVersion"),
        "tls_prefer_server_cipher_suites": _ours(Kind.SWITCH, "TLSPreferServerCipherSuites"),
        "verify_https_client": _ours(Kind.SWITCH, "VerifyHTTPSClient"),
        "verify_server_hostname": _ours(Kind.SWITCH, "VerifyServerHostname"),
    },
)

_ACL = Block(
    "ACL",
    {
        "enabled": _switch("Enabled"),
        "token_ttl": _duration("TokenTTL", 30.0),
        "policy_ttl": _duration("PolicyTTL", 30.0),
        "replication_token": _secret("ReplicationToken"),
    },
)

_AUTOPILOT = Block(
    "Autopilot",
    {
        "cleanup_dead_servers": _flag("CleanupDeadServers"),
        "server_stabilization_time": _duration("ServerStabilizationTime", 10.0),
        "last_contact_threshold": _duration("LastContactThreshold", 0.2),
        "max_trailing_logs": _int("MaxTrailingLogs", 250),
        "min_quorum": _int("MinQuorum"),
        "enable_redundancy_zones": _flag("EnableRedundancyZones"),
        "disable_upgrade_migration": _flag("DisableUpgradeMigration"),
        "enable_custom_upgrades": _flag("EnableCustomUpgrades"),
    },
)

_LIMITS = Block(
    "Limits",
    {
        "https_handshake_timeout": _ours(Kind.DURATION_TEXT, "HTTPSHandshakeTimeout"),
        "http_max_conns_per_client": _ours(Kind.INT, "HTTPMaxConnsPerClient"),
        "rpc_handshake_timeout": _ours(Kind.DURATION_TEXT, "RPCHandshakeTimeout"),
        "rpc_max_conns_per_client": _ours(Kind.INT, "RPCMaxConnsPerClient"),
    },
)

_GOSSIP = Block(
    "",
    {
        "profile": Key(Kind.TEXT, "", ours=True, allowed=tuple(PROFILES)),
        "scale": _ours(Kind.FLOAT),
        "allow_any_serf": _ours(Kind.FLAG),
        "allow_faults": _ours(Kind.FLAG),
        "compat": Key(Kind.TEXT, "", ours=True, allowed=("safe", "upstream")),
        "label": _ours(Kind.TEXT),
        "journal": _ours(Kind.TEXT),
    },
)

_RPC = Block(
    "",
    {
        "connections_max": _ours(Kind.INT),
        "handshakes_max": _ours(Kind.INT),
        "streams_per_session": _ours(Kind.INT),
        "message_bytes_max": _ours(Kind.INT),
    },
)

SCHEMA: Mapping[str, Key | Block] = {
    "region": _ours(Kind.TEXT, "Region"),
    "datacenter": _ours(Kind.TEXT, "Datacenter"),
    "name": _ours(Kind.TEXT, "NodeName"),
    "data_dir": _ours(Kind.TEXT, "DataDir"),
    "bind_addr": _ours(Kind.TEXT, "BindAddr"),
    "log_level": _ours(Kind.TEXT, "LogLevel"),
    "log_json": _ours(Kind.SWITCH, "LogJson"),
    "enable_debug": _ours(Kind.SWITCH, "EnableDebug"),
    "leave_on_interrupt": _ours(Kind.SWITCH, "LeaveOnInt"),
    "leave_on_terminate": _ours(Kind.SWITCH, "LeaveOnTerm"),
    "http_api_response_headers": _ours(Kind.MAP, "HTTPAPIResponseHeaders"),
    "ports": _PORTS,
    "addresses": _hosts("Addresses"),
    "advertise": _hosts("AdvertiseAddrs"),
    "limits": _LIMITS,
    "server": _SERVER,
    "client": _CLIENT,
    "gossip": _GOSSIP,
    "rpc": _RPC,
    "acl": _ACL,
    "tls": _TLS,
    "autopilot": _AUTOPILOT,
    "consul": _CONSUL,
    "vault": _VAULT,
    "telemetry": _TELEMETRY,
    "plugin_dir": _text("PluginDir"),
    "plugin": Key(Kind.OPAQUE, "Plugins"),
    "log_file": Key(Kind.TEXT, "LogFile", "", refusal=_NO_LOG_FILE),
    "log_rotate_duration": _text("LogRotateDuration"),
    "log_rotate_bytes": _int("LogRotateBytes"),
    "log_rotate_max_files": _int("LogRotateMaxFiles"),
    "enable_syslog": Key(Kind.SWITCH, "EnableSyslog", False, refusal=_NO_LOG_FILE),
    "syslog_facility": _text("SyslogFacility", "LOCAL0"),
    "disable_update_check": Key(Kind.FLAG, "DisableUpdateCheck", False),
    "disable_anonymous_signature": _switch("DisableAnonymousSignature"),
}
"""Every key at the top of a file. Nomad's `audit` and `sentinel` are Enterprise's: unknown here."""


def walk(keys: Mapping[str, Key | Block] = SCHEMA, prefix: str = "") -> Iterator[tuple[str, Key]]:
    """Every key with its dotted path, in the order of the table."""
    for name, item in keys.items():
        if isinstance(item, Block):
            yield from walk(item.keys, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", item
