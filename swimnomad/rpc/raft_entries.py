"""Raft's log entries and configurations as HashiCorp's raft writes them, sent as well as stored.

A server of protocol 2 bootstraps with a configuration in the form of the first protocol: a list of
addresses in an entry of the type that once removed a peer.

Source: nomad-agent.md §16.2; HashiCorp raft log.go, configuration.go, api.go.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from swimnomad.errors import MalformedMessage
from swimnomad.names import Value
from swimnomad.raft.log import EntryKind, LogEntry
from swimnomad.raft.servers import TEXT_BYTES_MAX, Configuration, Server, Suffrage
from swimnomad.wire.dialect import BYTES, TEXT, U8, U64, Field, Kind, load_untrusted, pack
from swimnomad.wire.go_dialect import NIL, Record, list_of

PROTOCOL_MAX: Final = 3
"""Newest version of Raft's protocol; an agent speaks 2 or 3."""


class RaftWireLimits(Value, frozen=True):
    """Bounds of what is read. One message is in memory whole, the contents of a snapshot never."""

    message_bytes_max: int = 16 * 1024 * 1024
    entries_max: int = 1024
    """Entries of one message."""
    servers_max: int = 64
    """Servers of a configuration."""
    snapshot_bytes_max: int = 1 << 30

    @property
    def objects_max(self) -> int:
        """MessagePack objects of one message: an entry has eleven."""
        return 16 * (self.entries_max + self.servers_max) + 256


# --- kinds of fields ------------------------------------------------------------------------------


def _read_name(value: object) -> str:
    name: str = TEXT.read(value)
    # What is logged and compared must be text that can be written again.
    if len(name) > TEXT_BYTES_MAX or not (name.isprintable() and name.isascii()):
        raise MalformedMessage(f"expected an id or address of at most {TEXT_BYTES_MAX} characters")
    return name


def _read_data(value: object) -> bytes:
    data: bytes | None = BYTES.read(value)
    return b"" if data is None else data


NAME: Final = Kind(_read_name)
DATA: Final = Kind(_read_data, None, lambda data: pack(data) if data else NIL)
"""Bytes of which nil and none at all are the same; written as nil."""
NOTHING: Final = Kind(lambda value: None, None, lambda value: NIL)
"""A field that we do not use: whatever is read, nil is written."""

# --- configurations -------------------------------------------------------------------------------


class _WireServer(NamedTuple):
    suffrage: int
    id: str
    address: str


class _WireConfiguration(NamedTuple):
    servers: tuple[_WireServer, ...] | None


_SERVER: Final = Record(
    _WireServer,
    "Suffrage ID Address",
    Field("Suffrage", "suffrage", U8),
    Field("ID", "id", NAME),
    Field("Address", "address", NAME),
)
_CONFIGURATION: Final = Record(
    _WireConfiguration, "Servers", Field("Servers", "servers", list_of(_SERVER.nested))
)
_PEERS: Final = list_of(BYTES)


def encode_configuration(configuration: Configuration) -> bytes:
    """A configuration as the data of its log entry."""
    servers = tuple(
        _WireServer(server.suffrage, server.id, server.address) for server in configuration.servers
    )
    return _CONFIGURATION.encode(_WireConfiguration(servers))


def decode_configuration_untrusted(
    data: bytes, servers_max: int = RaftWireLimits().servers_max
) -> Configuration:
    """A configuration out of the data of its log entry.

    Raises:
        MalformedMessage: It is none, or has more servers than allowed.
    """
    if len(data) > 2 * servers_max * (TEXT_BYTES_MAX + 64):
        raise MalformedMessage(f"a configuration of {len(data)} bytes")
    servers = _CONFIGURATION.decode_untrusted(data).servers or ()
    if len(servers) > servers_max:
        raise MalformedMessage(f"{len(servers)} servers, at most {servers_max} are allowed")
    if any(server.suffrage > max(Suffrage) for server in servers):
        raise MalformedMessage("a server of unknown suffrage")
    return Configuration(
        tuple(Server(server.id, server.address, Suffrage(server.suffrage)) for server in servers)
    )


def encode_peers(configuration: Configuration) -> bytes:
    """The voters' addresses: a configuration in the form of the first protocol."""
    assert _PEERS.pack is not None
    return _PEERS.pack([server.address.encode() for server in configuration.voters])


def decode_peers_untrusted(data: bytes, servers_max: int) -> Configuration:
    """A configuration of the first protocol: the addresses of voters, which are ids as well."""
    peers: tuple[bytes | None, ...] = _PEERS.read(load_untrusted(data)) or ()
    if len(peers) > servers_max:
        raise MalformedMessage(f"{len(peers)} servers, at most {servers_max} are allowed")
    addresses = [_read_name(peer) for peer in peers]
    return Configuration(tuple(Server(address, address) for address in addresses))


# --- log entries ----------------------------------------------------------------------------------


class WireEntry(NamedTuple):
    """An entry as it was read; `data` may make no sense yet."""

    number: int  # a tuple has a method `index`
    term: int
    kind: int
    data: bytes
    extensions: None = None


_ENTRY: Final = Record(
    WireEntry,
    "Index Term Type Data Extensions",
    Field("Index", "number", U64),
    Field("Term", "term", U64),
    Field("Type", "kind", U8),
    Field("Data", "data", DATA),
    Field("Extensions", "extensions", NOTHING),
)
_KINDS: Final = {int(kind): kind for kind in EntryKind}
_ADD_PEER: Final = 2
_REMOVE_PEER: Final = 3
"""The two have one form, the peers after the change, and one meaning: that configuration."""


def entry_data(entry: LogEntry) -> bytes:
    """The data of an entry as it is sent and stored: of a configuration, its bytes."""
    return entry.data if entry.configuration is None else encode_configuration(entry.configuration)


def entry_from_data_untrusted(
    index: int, term: int, kind: int, data: bytes, servers_max: int = RaftWireLimits().servers_max
) -> LogEntry:
    """The entry that has this data.

    Raises:
        MalformedMessage: The kind is unknown, or a configuration cannot be read.
    """
    if kind in (_ADD_PEER, _REMOVE_PEER):
        configuration = decode_peers_untrusted(data, servers_max)
        return LogEntry(index, term, EntryKind.CONFIGURATION, b"", configuration)
    known = _KINDS.get(kind)
    if known is None:
        raise MalformedMessage(f"entry {index} is of unknown type {kind}")
    if known is EntryKind.CONFIGURATION:
        configuration = decode_configuration_untrusted(data, servers_max)
        return LogEntry(index, term, known, b"", configuration)
    return LogEntry(index, term, known, data)


def encode_entry(entry: LogEntry, protocol: int) -> bytes:
    """An entry as a map.

    A server of protocol 2 writes the configuration that it bootstraps with in the form of the
    first protocol, and all later ones in today's.
    """
    kind, data = int(entry.kind), entry_data(entry)
    configuration = entry.configuration
    if configuration is not None and entry.index == 1 and protocol < PROTOCOL_MAX:
        servers = configuration.servers
        if all(server.is_voter and server.id == server.address for server in servers):
            kind, data = _REMOVE_PEER, encode_peers(configuration)
    return _ENTRY.encode(WireEntry(entry.index, entry.term, kind, data))


ENTRIES: Final = list_of(Kind(_ENTRY.from_object, None, lambda encoded: encoded))
"""Entries: those read are `WireEntry`, those to be written are encoded already."""
