"""Serf bodies, tags and coordinates: published examples, nil, and what is refused."""

from __future__ import annotations

import pytest

from swimnomad.errors import MalformedMessage
from swimnomad.wire.coordinates import (
    CoordinatePayload,
    decode_coordinate_untrusted,
    encode_coordinate,
)
from swimnomad.wire.serf_messages import (
    BufferedEvent,
    ConflictMember,
    ConflictResponse,
    EventSlot,
    JoinIntent,
    KeyRequest,
    KeyResponse,
    LeaveIntent,
    MemberState,
    NodeFilter,
    Query,
    QueryFlag,
    QueryResponse,
    Relay,
    ResponseFlag,
    SerfMessage,
    TagFilter,
    UserEvent,
    decode_filter_untrusted,
    decode_serf_untrusted,
    encode_filter,
    encode_serf,
)
from swimnomad.wire.tags import decode_tags, encode_tags

LOAD_QUERY = Query(
    ltime=1,
    id=0x69F8631F,
    ip=bytes((127, 0, 0, 21)),
    port=7946,
    source_node="n1",
    filters=(
        encode_filter(NodeFilter(("n1", "py1"))),
        encode_filter(TagFilter("foo", "b.*")),
    ),
    flags=QueryFlag.ACK,
    relay_factor=1,
    timeout_ns=1_000_000_000,
    name="load",
    payload=b"payload",
)
CONFLICT_RELAY = Relay(
    ip=bytes((127, 0, 0, 31)),
    port=7946,
    node="py1",
    inner=encode_serf(QueryResponse(0x32, 0x4E, "n3", payload=encode_serf(ConflictResponse(None)))),
)

EXAMPLES: list[tuple[SerfMessage, str]] = [
    (JoinIntent(1, "n1"), "0182a54c54696d6501a44e6f6465a26e31"),
    (LeaveIntent(2, "n3"), "0083a54c54696d6502a44e6f6465a26e33a55072756e65c2"),
    (LeaveIntent(4, "n3", prune=True), "0083a54c54696d6504a44e6f6465a26e33a55072756e65c3"),
    (
        LOAD_QUERY,
        "048ba441646472a47f000015a746696c7465727392a90092a26e31a3707931b30182a445787072a3622e2aa3"
        "546167a3666f6fa5466c61677301a24944ce69f8631fa54c54696d6501a44e616d65a46c6f6164a75061796c"
        "6f6164a77061796c6f6164a4506f7274cd1f0aab52656c6179466163746f7201aa536f757263654e6f6465a2"
        "6e31a754696d656f7574ce3b9aca00",
    ),
    (
        CONFLICT_RELAY,
        "0982a8446573744164647283a24950a47f00001fa4506f7274cd1f0aa45a6f6e65a0a8446573744e616d65a3"
        "7079310585a5466c61677300a446726f6da26e33a249444ea54c54696d6532a75061796c6f6164a206c0",
    ),
    (ConflictResponse(None), "06c0"),
]
OTHERS: list[SerfMessage] = [
    UserEvent(3, "deploy", b"1.0", coalesce=True),
    UserEvent(3, "deploy", None),
    QueryResponse(1, 2, "n1", ResponseFlag.ACK),
    KeyRequest(None),
    KeyRequest(b""),
    KeyRequest(bytes(32)),
    KeyResponse(result=True),
    KeyResponse(False, "no", ("a2V5",), "a2V5"),
    KeyResponse(True, keys=()),
    ConflictResponse(
        ConflictMember("n", bytes(4), 1, {"role": "web", "dc": "x"}, 1, 1, 5, 2, 2, 5, 4)
    ),
    MemberState(0),
    MemberState(
        ltime=9,
        status_ltimes={"b": 1, "a": 2},
        left_members=("b",),
        event_ltime=7,
        events=(None, EventSlot(6, (BufferedEvent("e", b"p"), BufferedEvent("f"))), EventSlot(7)),
        query_ltime=8,
    ),
    Query(1, 2, None, 3, "", None, 0, 0, -1, "q"),
    Query(1, 2, None, 3, "", (None, b""), 99, 255, 2**63 - 1, "q", b""),
    Relay(bytes(16), 1, "n", b"\x05\x80", zone="eth0"),
    Relay(None, 1, "n", b""),
]


@pytest.mark.parametrize(("message", "wire"), EXAMPLES)
def test_the_published_examples_hold_both_ways(message: SerfMessage, wire: str) -> None:
    """serf 35.48: a relay keeps address, name and the very bytes of its message."""
    assert encode_serf(message).hex() == wire
    assert decode_serf_untrusted(bytes.fromhex(wire)) == message


@pytest.mark.parametrize("message", OTHERS)
def test_every_body_survives_the_round_trip(message: SerfMessage) -> None:
    assert decode_serf_untrusted(encode_serf(message)) == message


def test_an_idle_agent_sends_512_empty_slots() -> None:
    state = MemberState(1, {"n1": 1}, events=(None,) * 512)
    data = encode_serf(state)
    assert b"\xa6Events\xdc\x02\x00" + b"\xc0" * 512 in data
    assert decode_serf_untrusted(data) == state


@pytest.mark.parametrize("events", [b"\xc0", b"\x90"])
def test_a_state_without_events_is_read(events: bytes) -> None:
    assert decode_serf_untrusted(b"\x02\x81\xa6Events" + events) == MemberState(0)


def test_events_nil_and_empty_read_alike() -> None:
    for events in (b"\xc0", b"\x90"):
        slot = b"\x81\xa6Events" + events
        state = decode_serf_untrusted(b"\x02\x81\xa6Events\x91" + slot)
        assert state == MemberState(0, events=(EventSlot(0),))


def test_unknown_keys_of_a_relay_header_do_not_shift_its_message() -> None:
    header = b"\x82\xa8DestName\xa1n\xa3New\x91\x81\x01\x02"
    assert decode_serf_untrusted(b"\x09" + header + b"\x05rest") == Relay(None, 0, "n", b"\x05rest")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x0a\x80",
        b"\xff",
        b"\x00",
        b"\x09",
        b"\x09\xa5abc",
        b"\x06\x05",
        b"\x02\x81\xa6Events\x05",
    ],
    ids=bytes.hex,
)
def test_what_is_no_serf_message_is_refused(data: bytes) -> None:
    with pytest.raises(MalformedMessage):
        decode_serf_untrusted(data)


# --- filters --------------------------------------------------------------------------------------


@pytest.mark.parametrize("data", [None, b"", b"\x02\x80", b"\x00", b"\x00\x80", b"\x01\xa0"])
def test_what_is_no_filter_is_refused(data: bytes | None) -> None:
    with pytest.raises(MalformedMessage):
        decode_filter_untrusted(data)


def test_a_filter_of_no_names_is_read() -> None:
    assert decode_filter_untrusted(b"\x00\xc0") == NodeFilter(())
    assert decode_filter_untrusted(b"\x01\x80") == TagFilter("", "")


# --- tags -----------------------------------------------------------------------------------------


def test_the_published_tags_hold() -> None:
    """serf 35.42."""
    assert encode_tags({"foo": "bar", "role": "x"}).hex() == "ff82a3666f6fa3626172a4726f6c65a178"
    assert encode_tags({}) == b"\xff\x80"
    assert encode_tags({"role": "web", "dc": "x"}, 2) == b"web"
    assert encode_tags({"dc": "x"}, 2) == b""


@pytest.mark.parametrize(
    ("meta", "tags"),
    [
        (None, {"role": ""}),
        (b"", {"role": ""}),
        (b"web", {"role": "web"}),
        (b"\xff", {}),
        (b"\xff\x80", {}),
        (b"\xff\xc0", {}),
        (b"\xff\x05", {}),
        (b"\xff\x82\xa1a\xa1b\xa1c", {"a": "b"}),
        (b"\xff\x82\xa1a\xa1b\xa1c\x05", {"a": "b"}),
        (b"\xff\x82\xa1a\xa1b\x05\xa1c", {"a": "b"}),
        (b"\xff\x82\xa1a\xa1b\xa1c\xc1", {"a": "b"}),
        (b"\xff\x81\xa1a\xd9\x01b", {"a": "b"}),
        (b"\xff\x81\xa1a\xc0", {"a": ""}),
        (b"\xff\xdf\xff\xff\xff\xff\xa1a\xa1b", {"a": "b"}),
    ],
)
def test_tags_are_read_as_far_as_they_can_be(meta: bytes | None, tags: dict[str, str]) -> None:
    assert decode_tags(meta) == tags


def test_tags_that_are_not_utf8_survive() -> None:
    meta = b"\xff\x81\xa1\x80\xa1\xff"
    assert encode_tags(decode_tags(meta)) == meta
    assert encode_tags(decode_tags(b"\x80web"), 2) == b"\x80web"


# --- coordinates ----------------------------------------------------------------------------------


def test_the_coordinate_of_a_fresh_node_has_130_bytes() -> None:
    """serf 34: the published payload."""
    coordinate = CoordinatePayload((0.0,) * 8, error=1.5, adjustment=0.0, height=1e-5)
    payload = encode_coordinate(coordinate)
    assert len(payload) == 130
    assert payload[:2] == b"\x01\x84"
    assert decode_coordinate_untrusted(payload) == coordinate


def test_a_coordinate_without_dimensions_is_read() -> None:
    assert decode_coordinate_untrusted(b"\x01\x80") == CoordinatePayload((), 0.0, 0.0, 0.0)


@pytest.mark.parametrize("payload", [b"", b"\x02\x80", b"\x01", b"\x01\x81\xa3Vec\x05"])
def test_other_ack_payloads_are_refused(payload: bytes) -> None:
    """serf 35.34: an unknown version byte."""
    with pytest.raises(MalformedMessage):
        decode_coordinate_untrusted(payload)
