"""Who takes part: servers, their suffrage, and the configurations that may follow one another.

Only one server joins, leaves or changes at a time, so that any majority of a configuration and any
majority of the next share a server (thesis §4.1).
"""

from __future__ import annotations

import enum
from collections.abc import Iterable

from swimnomad.errors import UsageError
from swimnomad.names import Value

ServerId = str
"""What a server is called in configurations: its address with Raft protocol 2, else a UUID."""

ServerAddress = str
"""Where a server speaks Raft, `ip:port`; also how requests name their sender."""

TEXT_BYTES_MAX = 512
"""Longest id or address of a server."""


class Suffrage(enum.IntEnum):
    """What a server's voice counts; the numbers are those on the wire."""

    VOTER = 0
    NONVOTER = 1
    """Receives the log, is not asked for votes and not counted."""
    STAGING = 2
    """As nonvoter; HashiCorp's raft reserved it for servers that catch up."""


class Server(Value, frozen=True):
    """One server of a configuration."""

    id: ServerId
    address: ServerAddress
    suffrage: Suffrage = Suffrage.VOTER

    @property
    def is_voter(self) -> bool:
        """Whether its vote and its copy of the log count."""
        return self.suffrage is Suffrage.VOTER


class Configuration(Value, frozen=True):
    """The servers of a region, in the order of their joining. Empty: not bootstrapped yet."""

    servers: tuple[Server, ...] = ()

    @property
    def voters(self) -> tuple[Server, ...]:
        """Those that count."""
        return tuple(server for server in self.servers if server.is_voter)

    @property
    def quorum(self) -> int:
        """How many voters are a majority."""
        return len(self.voters) // 2 + 1

    def by_id(self, server_id: ServerId) -> Server | None:
        """The server of this id."""
        return next((server for server in self.servers if server.id == server_id), None)

    def by_address(self, address: ServerAddress) -> Server | None:
        """The server of this address."""
        return next((server for server in self.servers if server.address == address), None)

    def is_voter(self, server_id: ServerId) -> bool:
        """Whether this server is in it and counts."""
        server = self.by_id(server_id)
        return server is not None and server.is_voter

    def __str__(self) -> str:
        """As Nomad shows it in its stats."""
        shown = (
            f"{{Suffrage:{server.suffrage.name.capitalize()} ID:{server.id}"
            f" Address:{server.address}}}"
            for server in self.servers
        )
        return f"[{' '.join(shown)}]"


def problem_of(configuration: Configuration, servers_max: int) -> str | None:
    """What is wrong with a configuration that somebody proposes or sends; None if nothing."""
    servers = configuration.servers
    if len(servers) > servers_max:
        return f"{len(servers)} servers, at most {servers_max} are allowed"
    for server in servers:
        for text in (server.id, server.address):
            if not 0 < len(text) <= TEXT_BYTES_MAX:
                return f"an id or address of {len(text)} characters, 1 to {TEXT_BYTES_MAX} allowed"
    for kind, texts in (
        ("id", [server.id for server in servers]),
        ("address", [server.address for server in servers]),
    ):
        if len(set(texts)) != len(texts):
            return f"two servers share one {kind}"
    if not configuration.voters:
        return "need at least one voter in configuration"
    return None


def with_server(configuration: Configuration, server: Server) -> Configuration:
    """The configuration after `server` was added, or its entry replaced by id.

    A voter stays one: to take its vote away it has to be removed first, as in HashiCorp's raft.

    Raises:
        UsageError: If another server has this address.
    """
    other = configuration.by_address(server.address)
    if other is not None and other.id != server.id:
        raise UsageError(f"{server.address} is already the address of server {other.id!r}")
    known = configuration.by_id(server.id)
    if known is None:
        return Configuration((*configuration.servers, server))
    if known.is_voter and not server.is_voter:
        server = Server(server.id, server.address, known.suffrage)
    return _replaced(configuration, server)


def with_promoted(configuration: Configuration, server_id: ServerId) -> Configuration:
    """The configuration in which a server counts as voter.

    Raises:
        UsageError: If it is not in the configuration.
    """
    known = _known(configuration, server_id)
    return _replaced(configuration, Server(known.id, known.address, Suffrage.VOTER))


def without_server(configuration: Configuration, server_id: ServerId) -> Configuration:
    """The configuration without a server.

    Raises:
        UsageError: If it is not in the configuration, or is the last voter.
    """
    _known(configuration, server_id)
    left = Configuration(tuple(s for s in configuration.servers if s.id != server_id))
    if not left.voters:
        raise UsageError(f"{server_id!r} is the last voter; one has to stay")
    return left


def _known(configuration: Configuration, server_id: ServerId) -> Server:
    known = configuration.by_id(server_id)
    if known is None:
        raise UsageError(f"server {server_id!r} is not in the configuration")
    return known


def _replaced(configuration: Configuration, server: Server) -> Configuration:
    servers: Iterable[Server] = (
        server if known.id == server.id else known for known in configuration.servers
    )
    return Configuration(tuple(servers))
