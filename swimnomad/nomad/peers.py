"""The tables of servers that a Nomad server keeps: all by region, and those of its own region.

Both are fed by the member events and hold servers that are alive, or were when last heard of:
members that left or failed are taken out, reaped ones are gone by then. Regions without a server
disappear.

Source: nomad-agent.md §4.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType

from swimnomad.names import Address
from swimnomad.nomad.tags import Server, parse_server
from swimnomad.serf.events import Member, MemberFailed, MemberJoined, MemberLeft
from swimnomad.serf.membership import members_of
from swimnomad.swim.effects import Event
from swimnomad.swim.inputs import Roster


class ServerAdded(Event, frozen=True):
    """A server entered the tables, or its record was replaced."""

    server: Server


class ServerRemoved(Event, frozen=True):
    """A server left the tables: it left the pool or failed."""

    server: Server


class NonServerSeen(Event, frozen=True):
    """A member without a server's tags joined the pool; it is in no table."""

    name: str


@lru_cache(maxsize=4)
def servers_of(roster: Roster) -> Mapping[str, Mapping[str, Server]]:
    """The servers among a roster's members by region and name; the records are shared."""
    servers: dict[str, dict[str, Server]] = {}
    for member in members_of(roster).values():
        server = parse_server(member)
        if server is not None:
            servers.setdefault(server.region, {})[server.name] = server
    return servers


class ServerTables:
    """Servers by region and name, and those of the own region by Raft address."""

    def __init__(self, region: str) -> None:
        self._region = region
        self._peers: dict[str, dict[str, Server]] = {}
        self._local: dict[Address, Server] = {}

    @property
    def peers(self) -> Mapping[str, Mapping[str, Server]]:
        """Region to the servers in it by member name; no region is empty."""
        return MappingProxyType(self._peers)

    @property
    def local_peers(self) -> Mapping[Address, Server]:
        """Servers of the own region by the address they speak Raft on."""
        return MappingProxyType(self._local)

    @property
    def regions(self) -> list[str]:
        """Regions with at least one server, sorted."""
        return sorted(self._peers)

    def fill(self, servers: Mapping[str, Mapping[str, Server]]) -> None:
        """Hold these servers, by region and name, in place of those that are here."""
        self._peers = {region: dict(some) for region, some in servers.items()}
        local = self._peers.get(self._region, {})
        self._local = {server.address: server for server in local.values()}

    def apply(self, event: Event) -> Event | None:
        """Bring the tables up to date with an event; return what changed, None for nothing.

        Updates do not count: a server's tags never change while it runs.
        """
        match event:
            case MemberJoined(member=member):
                return self._add(member)
            case MemberLeft(member=member) | MemberFailed(member=member):
                return self._remove(member)
            case _:
                return None

    def _add(self, member: Member) -> Event:
        server = parse_server(member)
        if server is None:
            return NonServerSeen(member.name)
        # A server that came back elsewhere must not stay under its old address.
        self._forget(member.name)
        self._peers.setdefault(server.region, {})[server.name] = server
        if server.region == self._region:
            self._local[server.address] = server
        return ServerAdded(server)

    def _remove(self, member: Member) -> Event | None:
        known = self._forget(member.name)
        return None if known is None else ServerRemoved(known)

    def _forget(self, name: str) -> Server | None:
        for region, servers in list(self._peers.items()):
            server = servers.pop(name, None)
            if server is None:
                continue
            if not servers:
                del self._peers[region]
            if self._local.get(server.address) is server:
                del self._local[server.address]
            return server
        return None
