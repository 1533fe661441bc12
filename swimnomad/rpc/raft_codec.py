"""Raft's messages as HashiCorp's transport writes them on a connection that began with 0x02.

A request is a type byte and a map; an answer is an error text and a map, which is nil if the text
is not empty. An answer does not say what it answers: answers come in the order of requests. The
contents of a snapshot follow their request as they are. Type 4 asks for a pre-vote; servers of
Nomad 1.0.4 do not know it and close the connection, later ones of HashiCorp give it the same
number.

Whatever the bytes, decoding raises nothing but `MalformedMessage`.

Source: nomad-agent.md §16.1–16.3; HashiCorp raft net_transport.go, commands.go, configuration.go.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any, Final, NamedTuple

from swimnomad.errors import MalformedMessage
from swimnomad.raft.messages import (
    AppendEntries,
    AppendEntriesReply,
    InstallSnapshot,
    InstallSnapshotReply,
    PreVote,
    PreVoteReply,
    Refusal,
    Reply,
    Request,
    RequestVote,
    RequestVoteReply,
    TimeoutNow,
    TimeoutNowReply,
)
from swimnomad.raft.snapshot import Snapshot
from swimnomad.rpc.raft_entries import (
    DATA,
    ENTRIES,
    NAME,
    NOTHING,
    PROTOCOL_MAX,
    RaftWireLimits,
    decode_configuration_untrusted,
    decode_peers_untrusted,
    encode_configuration,
    encode_entry,
    encode_peers,
    entry_from_data_untrusted,
)
from swimnomad.wire.dialect import (
    BOOL,
    TEXT,
    U8,
    U64,
    Field,
    load_untrusted,
    pack,
)
from swimnomad.wire.go_dialect import NIL, Record

WRONG_PROTOCOL: Final = "operation not supported with current protocol version"
SNAPSHOT_VERSION: Final = 1


class RequestType(IntEnum):
    """The byte before a request."""

    APPEND_ENTRIES = 0
    REQUEST_VOTE = 1
    INSTALL_SNAPSHOT = 2
    TIMEOUT_NOW = 3
    PRE_VOTE = 4


def protocol_refusal(protocol: int, own: int) -> Refusal | None:
    """What a server that speaks `own` answers to a request of that version; None: it is fine.

    Source: HashiCorp raft raft.go, checkRPCHeader.
    """
    return None if own - 1 <= protocol <= PROTOCOL_MAX else Refusal(WRONG_PROTOCOL)


class _Protocol(NamedTuple):
    """What every message carries beside its own fields."""

    protocol: int


_PROTOCOL: Final = Field("ProtocolVersion", "protocol", U64)

# --- requests -------------------------------------------------------------------------------------


class _WireAppend(NamedTuple):
    protocol: int
    term: int
    leader: str
    previous_index: int
    previous_term: int
    entries: tuple[Any, ...] | None
    commit_index: int


class _WireVote(NamedTuple):
    protocol: int
    term: int
    candidate: str
    last_index: int
    last_term: int
    is_transfer: bool


class _WirePreVote(NamedTuple):
    protocol: int
    term: int
    candidate: str
    last_index: int
    last_term: int


class _WireSnapshot(NamedTuple):
    protocol: int
    version: int
    term: int
    leader: str
    last_index: int
    last_term: int
    peers: bytes
    configuration: bytes
    configuration_index: int
    size: int


_APPEND: Final = Record(
    _WireAppend,
    "ProtocolVersion Term Leader PrevLogEntry PrevLogTerm Entries LeaderCommitIndex",
    _PROTOCOL,
    Field("Term", "term", U64),
    Field("Leader", "leader", NAME),
    Field("PrevLogEntry", "previous_index", U64),
    Field("PrevLogTerm", "previous_term", U64),
    Field("Entries", "entries", ENTRIES),
    Field("LeaderCommitIndex", "commit_index", U64),
)
_CANDIDACY: Final = (
    _PROTOCOL,
    Field("Term", "term", U64),
    Field("Candidate", "candidate", NAME),
    Field("LastLogIndex", "last_index", U64),
    Field("LastLogTerm", "last_term", U64),
)
_CANDIDACY_KEYS: Final = "ProtocolVersion Term Candidate LastLogIndex LastLogTerm"
_VOTE: Final = Record(
    _WireVote,
    f"{_CANDIDACY_KEYS} LeadershipTransfer",
    *_CANDIDACY,
    Field("LeadershipTransfer", "is_transfer", BOOL),
)
_PRE_VOTE: Final = Record(_WirePreVote, _CANDIDACY_KEYS, *_CANDIDACY)
_SNAPSHOT: Final = Record(
    _WireSnapshot,
    "ProtocolVersion SnapshotVersion Term Leader LastLogIndex LastLogTerm Peers Configuration "
    "ConfigurationIndex Size",
    _PROTOCOL,
    Field("SnapshotVersion", "version", U8),
    Field("Term", "term", U64),
    Field("Leader", "leader", NAME),
    Field("LastLogIndex", "last_index", U64),
    Field("LastLogTerm", "last_term", U64),
    Field("Peers", "peers", DATA),
    Field("Configuration", "configuration", DATA),
    Field("ConfigurationIndex", "configuration_index", U64),
    Field("Size", "size", U64),
)
_TIMEOUT_NOW: Final = Record(_Protocol, "ProtocolVersion", _PROTOCOL)


def encode_request(request: Request, protocol: int) -> bytes:
    """A request with its type byte.

    Args:
        request: What to ask. The contents of a snapshot have to follow.
        protocol: The version that the sender speaks, 2 or 3.
    """
    match request:
        case AppendEntries(term, leader, previous_index, previous_term, entries, commit_index):
            kind = RequestType.APPEND_ENTRIES
            encoded = None
            if entries is not None:
                encoded = tuple(encode_entry(entry, protocol) for entry in entries)
            body = _APPEND.encode(
                _WireAppend(
                    protocol, term, leader, previous_index, previous_term, encoded, commit_index
                )
            )
        case RequestVote(term, candidate, last_index, last_term, is_transfer):
            kind = RequestType.REQUEST_VOTE
            body = _VOTE.encode(
                _WireVote(protocol, term, candidate, last_index, last_term, is_transfer)
            )
        case PreVote(term, candidate, last_index, last_term):
            kind = RequestType.PRE_VOTE
            body = _PRE_VOTE.encode(_WirePreVote(protocol, term, candidate, last_index, last_term))
        case InstallSnapshot(term, leader, snapshot):
            kind = RequestType.INSTALL_SNAPSHOT
            body = _SNAPSHOT.encode(_snapshot_to_wire(protocol, term, leader, snapshot))
        case TimeoutNow():
            kind = RequestType.TIMEOUT_NOW
            body = _TIMEOUT_NOW.encode(_Protocol(protocol))
    return bytes((kind,)) + body


def _snapshot_to_wire(protocol: int, term: int, leader: str, snapshot: Snapshot) -> _WireSnapshot:
    configuration = snapshot.configuration
    return _WireSnapshot(
        protocol,
        SNAPSHOT_VERSION,
        term,
        leader,
        snapshot.last_index,
        snapshot.last_term,
        encode_peers(configuration),
        encode_configuration(configuration),
        snapshot.configuration_index,
        snapshot.size,
    )


class Asked(NamedTuple):
    """A request that arrived, and the version of the protocol that its sender speaks."""

    request: Request
    protocol: int


def decode_request_untrusted(
    kind: RequestType, data: bytes, limits: RaftWireLimits | None = None
) -> Asked:
    """A request out of its map.

    Args:
        kind: The byte that stood before it.
        data: The map; bytes behind it are ignored.
        limits: Bounds.

    Raises:
        MalformedMessage: It is no such request, or too large.
    """
    limits = limits or RaftWireLimits()
    if len(data) > limits.message_bytes_max:
        raise MalformedMessage(f"a message of {len(data)} bytes")
    match kind:
        case RequestType.APPEND_ENTRIES:
            return _append_from_wire(_APPEND.decode_untrusted(data), limits)
        case RequestType.REQUEST_VOTE:
            vote = _VOTE.decode_untrusted(data)
            return Asked(RequestVote(*vote[1:]), vote.protocol)
        case RequestType.PRE_VOTE:
            pre_vote = _PRE_VOTE.decode_untrusted(data)
            return Asked(PreVote(*pre_vote[1:]), pre_vote.protocol)
        case RequestType.TIMEOUT_NOW:
            return Asked(TimeoutNow(), _TIMEOUT_NOW.decode_untrusted(data).protocol)
        case RequestType.INSTALL_SNAPSHOT:
            return _snapshot_from_wire(_SNAPSHOT.decode_untrusted(data), limits)


def _append_from_wire(found: _WireAppend, limits: RaftWireLimits) -> Asked:
    entries = None
    if found.entries is not None:
        if len(found.entries) > limits.entries_max:
            raise MalformedMessage(
                f"{len(found.entries)} entries, at most {limits.entries_max} are allowed"
            )
        entries = tuple(
            entry_from_data_untrusted(
                entry.number, entry.term, entry.kind, entry.data, limits.servers_max
            )
            for entry in found.entries
        )
    elif found.previous_index or found.previous_term or found.commit_index:
        entries = ()  # a nil list means a heartbeat only where all these are 0
    request = AppendEntries(
        found.term,
        found.leader,
        found.previous_index,
        found.previous_term,
        entries,
        found.commit_index,
    )
    return Asked(request, found.protocol)


def _snapshot_from_wire(found: _WireSnapshot, limits: RaftWireLimits) -> Asked:
    if found.size > limits.snapshot_bytes_max:
        raise MalformedMessage(
            f"a snapshot of {found.size} bytes, at most {limits.snapshot_bytes_max} are allowed"
        )
    if found.version > SNAPSHOT_VERSION:
        raise MalformedMessage(f"a snapshot of version {found.version}")
    if found.version:
        configuration = decode_configuration_untrusted(found.configuration, limits.servers_max)
    else:
        configuration = decode_peers_untrusted(found.peers, limits.servers_max)
    snapshot = Snapshot(
        found.last_index, found.last_term, configuration, found.configuration_index, found.size
    )
    return Asked(InstallSnapshot(found.term, found.leader, snapshot), found.protocol)


# --- answers --------------------------------------------------------------------------------------


class _WireAppended(NamedTuple):
    protocol: int
    term: int
    last_index: int
    success: bool
    retry_at_once: bool


class _WireVoted(NamedTuple):
    protocol: int
    term: int
    peers: None
    granted: bool


class _WirePreVoted(NamedTuple):
    protocol: int
    term: int
    granted: bool


class _WireInstalled(NamedTuple):
    protocol: int
    term: int
    success: bool


_TERM: Final = Field("Term", "term", U64)
_APPENDED: Final = Record(
    _WireAppended,
    "ProtocolVersion Term LastLog Success NoRetryBackoff",
    _PROTOCOL,
    _TERM,
    Field("LastLog", "last_index", U64),
    Field("Success", "success", BOOL),
    Field("NoRetryBackoff", "retry_at_once", BOOL),
)
_VOTED: Final = Record(
    _WireVoted,
    "ProtocolVersion Term Peers Granted",
    _PROTOCOL,
    _TERM,
    Field("Peers", "peers", NOTHING),
    Field("Granted", "granted", BOOL),
)
_PRE_VOTED: Final = Record(
    _WirePreVoted,
    "ProtocolVersion Term Granted",
    _PROTOCOL,
    _TERM,
    Field("Granted", "granted", BOOL),
)
_INSTALLED: Final = Record(
    _WireInstalled,
    "ProtocolVersion Term Success",
    _PROTOCOL,
    _TERM,
    Field("Success", "success", BOOL),
)
_NO_ERROR: Final = b"\xa0"
REFUSAL_CHARS_MAX: Final = 1024


def encode_reply(reply: Reply, protocol: int) -> bytes:
    """An answer: the error text, then the map, or nil behind a text."""
    match reply:
        case AppendEntriesReply(term, last_index, success, retry_at_once):
            body = _APPENDED.encode(
                _WireAppended(protocol, term, last_index, success, retry_at_once)
            )
        case RequestVoteReply(term, granted):
            body = _VOTED.encode(_WireVoted(protocol, term, None, granted))
        case PreVoteReply(term, granted):
            body = _PRE_VOTED.encode(_WirePreVoted(protocol, term, granted))
        case InstallSnapshotReply(term, success):
            body = _INSTALLED.encode(_WireInstalled(protocol, term, success))
        case TimeoutNowReply():
            body = _TIMEOUT_NOW.encode(_Protocol(protocol))
        case Refusal(text):
            return pack(text[:REFUSAL_CHARS_MAX]) + NIL
    return _NO_ERROR + body


def decode_reply_untrusted(asked: Request, error: bytes, body: bytes) -> Reply:
    """The answer to a request out of its two objects.

    Args:
        asked: What it answers.
        error: The error text as MessagePack.
        body: The map as MessagePack; of no interest if there is a text.

    Raises:
        MalformedMessage: It is no answer to such a request.
    """
    text: str = TEXT.read(load_untrusted(error))
    if text:
        return Refusal(text[:REFUSAL_CHARS_MAX].encode("utf-8", "replace").decode())
    found = load_untrusted(body)
    if type(found) is not dict and type(found) is not list:
        raise MalformedMessage("expected a record")
    match asked:
        case AppendEntries():
            return AppendEntriesReply(*_APPENDED.from_object(found)[1:])
        case RequestVote():
            voted = _VOTED.from_object(found)
            return RequestVoteReply(voted.term, voted.granted)
        case PreVote():
            return PreVoteReply(*_PRE_VOTED.from_object(found)[1:])
        case InstallSnapshot():
            return InstallSnapshotReply(*_INSTALLED.from_object(found)[1:])
        case TimeoutNow():
            return TimeoutNowReply()
