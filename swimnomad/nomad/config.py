"""What one agent can be told, as frozen values; a few derived facts on top.

The keys are those of a Nomad agent's configuration file, plus one block of our own, `gossip`.
Values here are already merged and checked; `load.py` makes them from files and flags. Durations
are seconds.

One default differs from Nomad on purpose: an agent binds 127.0.0.1 and not all interfaces, so
nothing listens to the network unless told to.

Source: nomad-agent.md §1, §2, §9, §10.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Literal

import msgspec

from swimnomad.errors import ConfigError
from swimnomad.names import PORT_MAX, Address, Value
from swimnomad.nomad.addresses import first_private_address, is_unspecified, split_advertise
from swimnomad.nomad.ciphers import CIPHER_SUITES, TLS_VERSIONS, split_suites
from swimnomad.nomad.tags import server_tags
from swimnomad.serf.config import SerfConfig
from swimnomad.swim.config import PROFILES, SwimConfig, profile_settings

Service = Literal["http", "rpc", "serf"]
"""The three things an agent listens for."""

_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e\xa0-\xff]*")
_HEADERS_TAKEN = ("connection", "content-length", "date", "transfer-encoding", "upgrade")
"""Headers that belong to the connection: a second one would break every answer."""

LOG_LEVELS = ("TRACE", "DEBUG", "INFO", "WARN", "ERROR")


class Hosts(Value, frozen=True):
    """One text for each service; empty means not set."""

    http: str = ""
    rpc: str = ""
    serf: str = ""


class Ports(Value, frozen=True):
    """One port for each service, 0 … 65,535; 0 lets the system choose."""

    http: int = 4646
    rpc: int = 4647
    serf: int = 4648


class ServerJoin(Value, frozen=True):
    """Whom to join. `retry_max` 0 means for ever; with n there are n + 1 attempts in all."""

    start_join: tuple[str, ...] = ()
    retry_join: tuple[str, ...] = ()
    retry_max: int = 0
    retry_interval: float = 30.0


class ServerConfig(Value, frozen=True):
    """The `server` block.

    `encrypt` is a base64 gossip key of 16, 24 or 32 bytes, or empty. `raft_protocol` 0 means not
    set, which is 2.
    """

    enabled: bool = False
    bootstrap_expect: int = 0
    encrypt: str = ""
    raft_protocol: int = 0
    non_voting_server: bool = False
    redundancy_zone: str = ""
    upgrade_version: str = ""
    start_join: tuple[str, ...] = ()
    retry_join: tuple[str, ...] = ()
    retry_max: int = 0
    retry_interval: float = 0.0
    """The four above are the old style; 0 for the interval means 30 s."""
    server_join: ServerJoin | None = None

    @property
    def joining(self) -> ServerJoin:
        """Whom to join, whichever style the configuration used."""
        if self.server_join is not None:
            return self.server_join
        return ServerJoin(
            self.start_join, self.retry_join, self.retry_max, self.retry_interval or 30.0
        )


class ClientConfig(Value, frozen=True):
    """The `client` block. `servers` are RPC addresses as `host` or `host:port`."""

    enabled: bool = False
    servers: tuple[str, ...] = ()
    server_join: ServerJoin | None = None


class Limits(Value, frozen=True):
    """The `limits` block. 0 connections means no limit, 0 s no deadline."""

    https_handshake_timeout: float = 5.0
    http_max_conns_per_client: int = 100
    rpc_handshake_timeout: float = 5.0
    rpc_max_conns_per_client: int = 100


class TlsConfig(Value, frozen=True):
    """The `tls` block: paths of PEM files, and who must show a certificate of `ca_file`.

    RPC is mutual: both ends always do. An HTTPS client does if `verify_https_client` is set.
    `verify_server_hostname` adds roles to RPC: whoever is dialled must be named
    `server.<region>.nomad`, and whoever dials must be a server, or a client of the own region.
    With `rpc_upgrade_mode` RPC serves plain connections too. An empty `tls_min_version` is tls12;
    `tls_cipher_suites` are names as in `ciphers.py`, with commas between them; empty means
    OpenSSL's own choice.

    Source: nomad-agent.md §10, rpc.md §2.
    """

    http: bool = False
    rpc: bool = False
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    verify_https_client: bool = False
    verify_server_hostname: bool = False
    rpc_upgrade_mode: bool = False
    tls_min_version: str = ""
    tls_cipher_suites: str = ""
    tls_prefer_server_cipher_suites: bool = False
    checksum: str = ""
    """MD5 of what the files held when they were read, as `/v1/agent/self` shows it. No key of a
    file: whoever reads the files puts it here."""

    def validate(self) -> None:
        """Check versions, suites and that the files are named that TLS needs.

        Raises:
            ConfigError: Naming the key, what was found and what is allowed.
        """
        if self.tls_min_version and self.tls_min_version not in TLS_VERSIONS:
            raise ConfigError(
                f'tls.tls_min_version is an unsupported TLS version "{self.tls_min_version}"; '
                f"allowed are {', '.join(TLS_VERSIONS)}"
            )
        for name in split_suites(self.tls_cipher_suites):
            if name not in CIPHER_SUITES:
                raise ConfigError(
                    f'tls.tls_cipher_suites has an unsupported TLS cipher "{name}"; '
                    f"allowed are {', '.join(CIPHER_SUITES)}"
                )
        for name, reason in self._files_needed().items():
            if not getattr(self, name):
                raise ConfigError(f"{reason} needs tls.{name}, which is not set")

    def _files_needed(self) -> dict[str, str]:
        """The keys that must name a file, and which other key wants that."""
        if self.rpc:  # both ends verify each other, always
            return dict.fromkeys(("ca_file", "cert_file", "key_file"), "tls.rpc")
        if not self.http:
            return {}
        needed = dict.fromkeys(("cert_file", "key_file"), "tls.http")
        if self.verify_https_client:
            needed["ca_file"] = "tls.verify_https_client"
        return needed


class GossipConfig(Value, frozen=True):
    """The `gossip` block, our own.

    `scale` multiplies every duration of the profile. `allow_any_serf` admits members that are no
    Nomad servers. `allow_faults` opens the fault shim to the HTTP API. `compat` is that of
    `SwimConfig`, `label` the memberlist label. `journal` names a file for everything that the
    protocol core is given and asks for; it is written anew at each start.
    """

    profile: str = "nomad"
    scale: float = 1.0
    allow_any_serf: bool = False
    allow_faults: bool = False
    compat: Literal["safe", "upstream"] = "safe"
    label: str = ""
    journal: str = ""


class RpcConfig(Value, frozen=True):
    """The `rpc` block, our own: bounds of the RPC port that Nomad has no names for.

    Connections of all clients together, those of them that have not said what they are yet, live
    streams that a peer may have on one session, bytes of one request, reply or piece of a stream.
    """

    connections_max: int = 4096
    handshakes_max: int = 1024
    streams_per_session: int = 1024
    message_bytes_max: int = 16 * 1024 * 1024


class AgentConfig(Value, frozen=True):
    """Everything one agent can be told."""

    name: str = ""
    """Node name; empty means the host's name."""
    region: str = "global"
    datacenter: str = "dc1"
    data_dir: str = ""
    bind_addr: str = "127.0.0.1"
    addresses: Hosts = Hosts()
    advertise: Hosts = Hosts()
    ports: Ports = Ports()
    log_level: str = "INFO"
    log_json: bool = False
    leave_on_interrupt: bool = False
    leave_on_terminate: bool = False
    enable_debug: bool = False
    dev_mode: bool = False
    server: ServerConfig = ServerConfig()
    client: ClientConfig = ClientConfig()
    limits: Limits = Limits()
    tls: TlsConfig = TlsConfig()
    gossip: GossipConfig = GossipConfig()
    rpc: RpcConfig = RpcConfig()
    http_api_response_headers: Mapping[str, str] = msgspec.field(default_factory=dict)
    foreign: Mapping[str, object] = msgspec.field(default_factory=dict)
    """Accepted keys of parts of Nomad that this version does not have, by dotted path. They are
    shown in `/v1/agent/self` and change nothing else."""
    files: tuple[str, ...] = ()
    """The files this was read from, in order."""

    @property
    def node_name(self) -> str:
        """Name of this node without its region."""
        return self.name or os.uname().nodename

    @property
    def member_name(self) -> str:
        """Name of this node in the gossip pool: `<node>.<region>`."""
        return f"{self.node_name}.{self.region}"

    def bind(self, service: Service) -> Address:
        """Where a service listens."""
        host: str = getattr(self.addresses, service) or self.bind_addr
        return Address(host, getattr(self.ports, service))

    def advertised(self, service: Service) -> Address:
        """The address of a service as others shall use it.

        `advertise` wins, its port defaults to the service's own. A bind to all interfaces is
        advertised as the first private address of this host.

        Raises:
            ConfigError: If the value of `advertise` is no address, or a bind to all interfaces
                meets a host without a private address.
        """
        bound = self.bind(service)
        if text := getattr(self.advertise, service):
            return split_advertise(text, bound.port, f"advertise.{service}")
        if not is_unspecified(bound.host):
            return bound
        if host := first_private_address():
            return Address(host, bound.port)
        raise ConfigError(
            f"advertise.{service} is not set, {bound.host} is not an address others can use, "
            "and this host has no private address: set it"
        )

    def serf_config(self, node_id: str = "") -> SerfConfig:
        """Settings of the gossip core: the profile, with Nomad's overrides of Serf.

        Args:
            node_id: The server's identifier, for the tag `id`; empty leaves the tag out.

        Raises:
            UsageError: If the profile or its scale is not allowed.
        """
        settings = profile_settings(self.gossip.profile, self.gossip.scale)
        swim = msgspec.convert(
            {
                **settings,
                "name": self.member_name,
                "label": self.gossip.label,
                "compat": self.gossip.compat,
            },
            SwimConfig,
        )
        return SerfConfig(
            swim=swim,
            tags=server_tags(self, node_id),
            protocol_version=4,
            reconnect_timeout=72 * 3600.0,
        )

    def validate(self) -> None:
        """Check what a type cannot say.

        Raises:
            ConfigError: Naming the key, what was found and what is allowed.
        """
        for service in ("http", "rpc", "serf"):
            port = getattr(self.ports, service)
            if not 0 <= port <= PORT_MAX:
                raise ConfigError(f"ports.{service} is {port}; allowed are 0 to {PORT_MAX}")
        if self.log_level.upper() not in LOG_LEVELS:
            raise ConfigError(
                f"Invalid log level: {self.log_level}. Valid log levels are: "
                f"[{' '.join(LOG_LEVELS)}]"
            )
        for key, text in (("Region", self.region), ("Datacenter", self.datacenter)):
            if "\0" in text:
                raise ConfigError(f"{key} contains invalid characters")
        self.tls.validate()
        if self.gossip.profile not in PROFILES:
            raise ConfigError(
                f"gossip.profile is {self.gossip.profile!r}; allowed are {', '.join(PROFILES)}"
            )
        if not 0 < self.gossip.scale < float("inf"):
            raise ConfigError(f"gossip.scale is {self.gossip.scale}; it must be above 0")
        for name in self.rpc.__struct_fields__:
            value = getattr(self.rpc, name)
            if value < 1:
                raise ConfigError(f"rpc.{name} is {value}; it must be 1 or more")
        for name, value in self.http_api_response_headers.items():
            if not _HEADER_NAME.fullmatch(name) or name.lower() in _HEADERS_TAKEN:
                raise ConfigError(
                    f"http_api_response_headers has {name!r}, which is no name of a header "
                    "that can be added"
                )
            if not _HEADER_VALUE.fullmatch(value):
                raise ConfigError(
                    f"http_api_response_headers has {value!r} for {name}; allowed are printable "
                    "Latin-1 characters"
                )


def dev_config() -> AgentConfig:
    """Defaults of `--dev`: both roles on loopback, in memory, with debugging open.

    Source: nomad-agent.md §11.
    """
    return AgentConfig(
        bind_addr="127.0.0.1",
        log_level="DEBUG",
        enable_debug=True,
        dev_mode=True,
        server=ServerConfig(enabled=True, bootstrap_expect=1),
        client=ClientConfig(enabled=True),
    )
