"""Raft's messages on the wire beyond what was recorded, and bytes that are none."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swimnomad.errors import MalformedMessage
from swimnomad.raft.log import EntryKind, LogEntry
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
from swimnomad.raft.servers import Configuration, Server, Suffrage
from swimnomad.raft.snapshot import Snapshot
from swimnomad.rpc.raft_codec import (
    WRONG_PROTOCOL,
    Asked,
    RequestType,
    decode_reply_untrusted,
    decode_request_untrusted,
    encode_reply,
    encode_request,
    protocol_refusal,
)
from swimnomad.rpc.raft_entries import (
    RaftWireLimits,
    decode_configuration_untrusted,
    encode_configuration,
)
from swimnomad.rpc.raft_reader import ReplyReader, RequestReader, SnapshotPiece
from swimnomad.wire.go_dialect import pack_any

A, B = "127.0.0.1:4647", "127.0.0.2:4647"
U64 = st.integers(0, 2**64 - 1)
NAMES = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=40)
SERVERS = st.builds(Server, NAMES, NAMES, st.sampled_from(Suffrage))
CONFIGURATIONS = st.builds(lambda found: Configuration(tuple(found)), st.lists(SERVERS, max_size=5))
PLAIN_KINDS = st.sampled_from([EntryKind.COMMAND, EntryKind.NOOP, EntryKind.BARRIER])
ENTRIES = st.one_of(
    st.builds(LogEntry, U64, U64, PLAIN_KINDS, st.binary(max_size=300)),
    st.builds(
        lambda index, term, found: LogEntry(index, term, EntryKind.CONFIGURATION, b"", found),
        st.integers(2, 2**64 - 1),
        U64,
        CONFIGURATIONS,
    ),
)
APPENDS = st.builds(
    AppendEntries,
    U64,
    NAMES,
    st.integers(1, 2**64 - 1),
    U64,
    st.lists(ENTRIES, max_size=4).map(tuple),
    U64,
)
REQUESTS: st.SearchStrategy[Request] = st.one_of(
    APPENDS,
    st.builds(AppendEntries, U64, NAMES),
    st.builds(RequestVote, U64, NAMES, U64, U64, st.booleans()),
    st.builds(PreVote, U64, NAMES, U64, U64),
    st.just(TimeoutNow()),
    st.builds(
        InstallSnapshot,
        U64,
        NAMES,
        st.builds(Snapshot, U64, U64, CONFIGURATIONS, U64, st.integers(0, 1000)),
    ),
)
REPLIES: dict[type[Request], st.SearchStrategy[Reply]] = {
    AppendEntries: st.builds(AppendEntriesReply, U64, U64, st.booleans(), st.booleans()),
    RequestVote: st.builds(RequestVoteReply, U64, st.booleans()),
    PreVote: st.builds(PreVoteReply, U64, st.booleans()),
    InstallSnapshot: st.builds(InstallSnapshotReply, U64, st.booleans()),
    TimeoutNow: st.just(TimeoutNowReply()),
}


def read_all(reader: RequestReader) -> list[Asked | SnapshotPiece]:
    found = []
    while (message := reader.next()) is not None:
        found.append(message)
    return found


@given(st.lists(REQUESTS, max_size=4), st.data())
def test_requests_arrive_as_they_were_wherever_the_bytes_were_cut(
    requests: list[Request], data: st.DataObject
) -> None:
    sent = bytearray()
    contents = bytearray()
    for request in requests:
        sent += encode_request(request, 3)
        if isinstance(request, InstallSnapshot):
            piece = bytes(number % 251 for number in range(request.snapshot.size))
            sent += piece
            contents += piece
    reader, found, received = RequestReader(), [], bytearray()
    position = 0
    while position < len(sent):
        size = data.draw(st.integers(1, len(sent) - position))
        reader.receive(bytes(sent[position : position + size]))
        position += size
        for message in read_all(reader):
            if isinstance(message, Asked):
                found.append(message)
            else:
                received += message.data
    assert [asked.request for asked in found] == requests
    assert {asked.protocol for asked in found} <= {3}
    assert received == contents
    assert reader.is_between_requests


@given(REQUESTS.flatmap(lambda request: st.tuples(st.just(request), REPLIES[type(request)])))
def test_answers_arrive_as_they_were(exchange: tuple[Request, Reply]) -> None:
    request, reply = exchange
    reader = ReplyReader()
    reader.asked(request)
    sent = encode_reply(reply, 2)
    assert reader.receive(sent[:-1]) == []
    assert reader.receive(sent[-1:]) == [reply]
    assert reader.waiting_count == 0


def test_answers_belong_to_requests_in_their_order() -> None:
    reader = ReplyReader()
    for request in (RequestVote(2, A, 1, 1), AppendEntries(2, A), TimeoutNow()):
        reader.asked(request)
    replies = (RequestVoteReply(2, True), Refusal("no"), TimeoutNowReply())
    assert reader.receive(b"".join(encode_reply(reply, 2) for reply in replies)) == list(replies)
    with pytest.raises(MalformedMessage, match="nothing that was asked"):
        reader.receive(encode_reply(TimeoutNowReply(), 2))


def test_a_heartbeat_is_told_from_a_question_about_the_log() -> None:
    heartbeat = AppendEntries(3, A)
    question = AppendEntries(3, A, 0, 0, ())
    assert b"\xa7Entries\xc0" in encode_request(heartbeat, 2)
    assert b"\xa7Entries\x90" in encode_request(question, 2)
    # A list that is nil where the indexes are not 0 is the empty one.
    odd = encode_request(AppendEntries(3, A, 5, 2, (), 4), 2).replace(b"s\x90", b"s\xc0")
    asked = decode_request_untrusted(RequestType.APPEND_ENTRIES, odd[1:])
    assert asked.request == AppendEntries(3, A, 5, 2, (), 4)


def test_a_server_of_protocol_2_bootstraps_in_the_form_of_the_first_protocol() -> None:
    named = Configuration((Server(A, A), Server(B, B)))
    first = LogEntry(1, 1, EntryKind.CONFIGURATION, b"", named)
    old = encode_request(AppendEntries(2, A, 0, 0, (first,)), 2)
    assert pack_any([A, B]) in old
    assert b"\xa4Type\x03" in old
    assert b"\xa4Type\x05" in encode_request(AppendEntries(2, A, 0, 0, (first,)), 3)
    nonvoter = Configuration((Server(A, A), Server(B, B, Suffrage.NONVOTER)))
    entry = LogEntry(1, 1, EntryKind.CONFIGURATION, b"", nonvoter)
    new = encode_request(AppendEntries(2, A, 0, 0, (entry,)), 2)
    assert b"\xa4Type\x05" in new  # the old form would lose who votes
    for sent, sent_entry in ((old, first), (new, entry)):
        asked = decode_request_untrusted(RequestType.APPEND_ENTRIES, sent[1:])
        assert asked.request == AppendEntries(2, A, 0, 0, (sent_entry,))


def test_a_snapshot_of_the_first_version_names_its_peers() -> None:
    record = {
        "ProtocolVersion": 2,
        "SnapshotVersion": 0,
        "Term": 4,
        "Leader": A.encode(),
        "LastLogIndex": 9,
        "LastLogTerm": 3,
        "Peers": pack_any([A.encode(), B.encode()]),
        "Size": 12,
    }
    asked = decode_request_untrusted(RequestType.INSTALL_SNAPSHOT, pack_any(record))
    servers = Configuration((Server(A, A), Server(B, B)))
    assert asked.request == InstallSnapshot(4, A, Snapshot(9, 3, servers, 0, 12))


@pytest.mark.parametrize(("protocol", "own", "is_fine"), [
    (0, 2, False), (1, 2, True), (2, 2, True), (3, 2, True), (4, 2, False), (1, 3, False),
    (2, 3, True),
])  # fmt: skip
def test_versions_from_one_below_ours_to_3_are_spoken(
    protocol: int, own: int, is_fine: bool
) -> None:
    assert protocol_refusal(protocol, own) == (None if is_fine else Refusal(WRONG_PROTOCOL))


def append_of(**changed: Any) -> bytes:  # noqa: ANN401
    record: dict[str, Any] = {
        "ProtocolVersion": 2,
        "Term": 2,
        "Leader": A,
        "PrevLogEntry": 1,
        "PrevLogTerm": 1,
        "Entries": [],
        "LeaderCommitIndex": 0,
    }
    return pack_any({**record, **changed})


def entry_of(**changed: Any) -> dict[str, Any]:  # noqa: ANN401
    return {"Index": 2, "Term": 2, "Type": 0, "Data": b"x", "Extensions": None, **changed}


@pytest.mark.parametrize(
    "body",
    [
        append_of(Term=-1),
        append_of(Term=2**64 - 1)[:-1],
        append_of(Term="two"),
        append_of(Leader=b"\xff\xfe"),
        append_of(Leader="a\nb"),
        append_of(Leader="x" * 513),
        append_of(Entries={"a": 1}),
        append_of(Entries=[entry_of(Type=6)]),
        append_of(Entries=[entry_of(Type=5, Data=b"\xc1")]),
        append_of(Entries=[entry_of(Type=5, Data=pack_any({"Servers": [{"Suffrage": 3}]}))]),
        append_of(Entries=[entry_of(Type=5, Data=pack_any({"Servers": [{"ID": "\x1b"}]}))]),
        append_of(Entries=[entry_of(Type=5, Data=pack_any({"Servers": [{}] * 65}))]),
        append_of(Entries=[entry_of(Type=5, Data=bytes(1_000_000))]),
        append_of(Entries=[entry_of(Type=3, Data=pack_any([A] * 65))]),
        append_of(Entries=[entry_of(Index="first")]),
        append_of(Entries=[entry_of()] * 1025),
        append_of(Entries=[7]),
        b"\x01",
        b"\xc1",
        b"",
    ],
)
def test_entries_that_make_no_sense_are_malformed(body: bytes) -> None:
    with pytest.raises(MalformedMessage):
        decode_request_untrusted(RequestType.APPEND_ENTRIES, body)


def snapshot_of(**changed: Any) -> bytes:  # noqa: ANN401
    configuration = encode_configuration(Configuration((Server(A, A),)))
    record: dict[str, Any] = {
        "ProtocolVersion": 2,
        "SnapshotVersion": 1,
        "Term": 4,
        "Leader": A,
        "LastLogIndex": 9,
        "LastLogTerm": 3,
        "Configuration": configuration,
        "ConfigurationIndex": 1,
        "Size": 0,
    }
    return pack_any({**record, **changed})


@pytest.mark.parametrize(
    "body",
    [
        snapshot_of(Size=2**30 + 1),
        snapshot_of(Size=-1),
        snapshot_of(SnapshotVersion=2),
        snapshot_of(Configuration=b"\x01"),
        snapshot_of(Configuration=pack_any({"Servers": [{}] * 65})),
        snapshot_of(SnapshotVersion=0, Peers=pack_any([A] * 65)),
        snapshot_of(SnapshotVersion=0, Peers=pack_any({"a": 1})),
    ],
)
def test_snapshots_that_make_no_sense_are_malformed(body: bytes) -> None:
    decode_request_untrusted(RequestType.INSTALL_SNAPSHOT, snapshot_of())
    with pytest.raises(MalformedMessage):
        decode_request_untrusted(RequestType.INSTALL_SNAPSHOT, body)


@pytest.mark.parametrize(
    ("error", "body"),
    [
        (b"\xa0", b"\xc0"),
        (b"\xa0", b"\x01"),
        (b"\x01", b"\x80"),
        (b"\xa0", pack_any({"Term": -1})),
        (b"\xa0", pack_any({"Success": 2})),
    ],
)
def test_answers_that_make_no_sense_are_malformed(error: bytes, body: bytes) -> None:
    with pytest.raises(MalformedMessage):
        decode_reply_untrusted(AppendEntries(1, A), error, body)


def test_what_a_peer_says_of_an_error_is_text_of_bounded_length() -> None:
    reply = decode_reply_untrusted(TimeoutNow(), pack_any(b"\xff" * 5000), b"\xc0")
    assert isinstance(reply, Refusal)
    assert len(reply.text) == 1024
    reply.text.encode()
    assert len(encode_reply(Refusal("x" * 5000), 2)) < 1100


def test_a_message_is_cut_off_when_it_is_too_long_and_not_when_it_is_whole() -> None:
    limits = RaftWireLimits(message_bytes_max=1000)
    reader = RequestReader(limits)
    reader.receive(b"\x00\x81\xa4Data\xdb\x7f\xff\xff\xff")
    with pytest.raises(MalformedMessage, match="more than 1000 bytes"):
        reader.next()
    with pytest.raises(MalformedMessage, match="a message of"):
        decode_request_untrusted(RequestType.TIMEOUT_NOW, bytes(1001), limits)


def test_a_message_of_very_many_parts_is_cut_off_early() -> None:
    reader = RequestReader(RaftWireLimits(entries_max=10, servers_max=1))
    reader.receive(b"\x00\xdd\x7f\xff\xff\xff" + bytes(100_000))
    with pytest.raises(MalformedMessage, match="more than"):
        reader.next()


@settings(max_examples=300)
@given(st.binary(max_size=60), st.sampled_from(RequestType), st.data())
def test_arbitrary_bytes_are_malformed_or_a_message(
    junk: bytes, kind: RequestType, data: st.DataObject
) -> None:
    reader = RequestReader()
    try:
        cut = data.draw(st.integers(0, len(junk)))
        reader.receive(bytes((kind,)) + junk[:cut])
        read_all(reader)
        reader.receive(junk[cut:])
        read_all(reader)
    except MalformedMessage:
        pass
    replies = ReplyReader()
    replies.asked(RequestVote(1, A, 0, 0))
    with suppress(MalformedMessage):
        replies.receive(junk)
    with suppress(MalformedMessage):
        decode_configuration_untrusted(junk)


@settings(max_examples=200)
@given(REQUESTS, st.data())
def test_damaged_messages_are_malformed_or_another_message(
    request: Request, data: st.DataObject
) -> None:
    sent = bytearray(encode_request(request, 2))
    for _ in range(data.draw(st.integers(1, 3))):
        sent[data.draw(st.integers(0, len(sent) - 1))] = data.draw(st.integers(0, 255))
    reader = RequestReader()
    reader.receive(bytes(sent))
    try:
        for message in read_all(reader):
            if isinstance(message, Asked):
                encode_request(message.request, message.protocol & 3)
    except MalformedMessage:
        pass
