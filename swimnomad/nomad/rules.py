"""What the keys of a configuration must be together, checked before an agent starts.

The words are Nomad's wherever it refuses too.

Source: nomad-agent.md §8, §10, §11.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import PurePosixPath

from swimnomad.errors import ConfigError, KeyringError
from swimnomad.nomad.config import AgentConfig
from swimnomad.nomad.keys import decode_key

Settings = Mapping[str, object]

_OLD_JOIN = ("retry_max", "retry_interval", "start_join", "retry_join")


def check_start(config: AgentConfig, settings: Settings, flags: Settings) -> None:
    """Refuse a configuration that an agent cannot start with.

    Args:
        config: The configuration.
        settings: All that was given, by dotted path.
        flags: What came from the command line.

    Raises:
        ConfigError: One sentence, in Nomad's words where it has some.
    """
    for rule in _RULES:
        if problem := rule(config, settings):
            raise ConfigError(problem)
    if flags.get("server.bootstrap_expect") and not config.server.enabled:
        raise ConfigError("Bootstrap requires server mode to be enabled")


def _roles(config: AgentConfig, settings: Settings) -> str:
    if config.server.enabled or config.client.enabled:
        return ""
    return "Must specify either server, client or dev mode for the agent."


def _key(config: AgentConfig, settings: Settings) -> str:
    try:
        if config.server.encrypt:
            decode_key(config.server.encrypt)
    except KeyringError as error:
        return str(error)
    return ""


def _absolute_paths(config: AgentConfig, settings: Settings) -> str:
    for path, name in (
        ("data_dir", "data-dir"),
        ("plugin_dir", "plugin-dir"),
        ("client.alloc_dir", "alloc-dir"),
        ("client.state_dir", "state-dir"),
    ):
        value = settings.get(path)
        if value and not PurePosixPath(str(value)).is_absolute():
            return f"{name} must be given as an absolute path: got {value}"
    return ""


def _join_styles(config: AgentConfig, settings: Settings) -> str:
    if any(path.startswith("server.server_join.") for path in settings):
        for name in _OLD_JOIN:
            if settings.get(f"server.{name}"):
                return (
                    f"server_join and {name} cannot both be defined; "
                    "prefer setting the server_join stanza"
                )
    for role in ("server", "client"):
        start = settings.get(f"{role}.server_join.start_join")
        if role == "client" and start:
            return "start_join is not supported for Nomad clients"
        if start and settings.get(f"{role}.server_join.retry_join"):
            return "retry_join and start_join cannot both be defined"
    return ""


def _ranges(config: AgentConfig, settings: Settings) -> str:
    multiplier = settings.get("server.raft_multiplier", 1)
    if isinstance(multiplier, int) and not 0 <= multiplier <= 10:
        return f"raft_multiplier cannot be {multiplier}. Must be between 1 and 10"
    protocol = settings.get("server.protocol_version", 0)
    if isinstance(protocol, int) and protocol not in (0, 1):
        how = "low" if protocol < 1 else "high"
        return f"Protocol version '{protocol}' too {how}. Must be in range: [1, 1]"
    raft = config.server.raft_protocol
    if not 0 <= raft <= 3:
        return f"Failed to start Raft: Protocol version {raft} must be >= 1 and <= 3"
    buffer = settings.get("server.event_buffer_size", 0)
    if isinstance(buffer, int) and buffer < 0:
        return "Invalid Config, event_buffer_size must be non-negative"
    if config.server.bootstrap_expect < 0:
        return f"bootstrap_expect cannot be {config.server.bootstrap_expect}. Must not be negative"
    return ""


def _limits(config: AgentConfig, settings: Settings) -> str:
    limits = config.limits
    for name in ("https_handshake_timeout", "http_max_conns_per_client", "rpc_handshake_timeout"):
        if getattr(limits, name) < 0:
            return f"{name} must be >= 0"
    if limits.rpc_max_conns_per_client != 0 and limits.rpc_max_conns_per_client <= 25:
        found = limits.rpc_max_conns_per_client
        return f"rpc_max_conns_per_client must be > 25; found: {found}"
    return ""


_RULES: tuple[Callable[[AgentConfig, Settings], str], ...] = (
    _roles,
    _key,
    _absolute_paths,
    _join_styles,
    _ranges,
    _limits,
)
"""Each returns what is wrong, or nothing."""


def warnings_of(config: AgentConfig, settings: Settings) -> Iterator[str]:
    """What is allowed, but should be said."""
    if config.server.bootstrap_expect == 1 and not config.dev_mode:
        yield "WARNING: Bootstrap mode enabled! Potentially unsafe operation."
    if settings.get("acl.enabled"):
        yield (
            "WARNING: acl.enabled: policies and tokens are kept and shown, but nothing is "
            "enforced: this version leaves the API open"
        )
    if any(settings.get(f"server.{name}") for name in _OLD_JOIN):
        yield "using deprecated retry_join fields. Upgrade configuration to use server_join"
    if config.server.enabled and not config.dev_mode and not config.data_dir:
        # Nomad refuses to start. Here a server without a directory is useful, in tests above all.
        yield "no data_dir: node id, gossip keys and known members are lost when the agent stops"
