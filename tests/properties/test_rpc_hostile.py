"""Whatever a peer writes on the RPC port, its reader returns or raises `MalformedMessage`.

And what it keeps of it stays small, and does not depend on where the bytes were cut.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swimnomad.errors import MalformedMessage
from swimnomad.rpc.calls import ClientCalls, ServerCalls
from swimnomad.rpc.failures import parse_coded, quoted, relayed
from swimnomad.rpc.objects import ObjectSplitter
from swimnomad.rpc.streaming import (
    ClientHandshake,
    HandshakeAnswered,
    ServerHandshake,
    WrapperReader,
)
from swimnomad.rpc.yamux import DataReceived, Role, StreamOpened, YamuxLimits, YamuxSession
from swimnomad.rpc.yamux_frames import Header
from swimnomad.wire.dialect import TEXT, U64, Field, load_untrusted
from swimnomad.wire.go_dialect import (
    ANY,
    DURATION,
    INT,
    TIME,
    Record,
    list_of,
    map_of,
    optional,
)

FILE = Path(__file__).parent.parent / "vectors" / "nomad-rpc.json"
BYTES_MAX = 2000


def recorded() -> list[bytes]:
    """Some of the bytes real peers wrote, without a type byte."""
    found = []
    vectors: list[dict[str, Any]] = json.loads(FILE.read_text())
    for vector in vectors:
        for message in vector.get("messages") or []:
            data = bytes.fromhex(message["hex"])
            found.append(data[1:] if message.get("type_byte") else data)
    return found


RECORDED = recorded()


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """Recorded bytes, some of them changed, cut out or doubled."""
    data = bytearray(b"".join(draw(st.lists(st.sampled_from(RECORDED), min_size=1, max_size=3))))
    for _ in range(draw(st.integers(0, 3))):
        if not data:
            break
        at = draw(st.integers(0, len(data) - 1))
        match draw(st.integers(0, 2)):
            case 0:
                data[at] = draw(st.integers(0, 255))
            case 1:
                del data[at : at + draw(st.integers(1, 20))]
            case _:
                data[at:at] = data[at : at + draw(st.integers(1, 20))]
    return bytes(data)


FRAMES = st.builds(
    lambda header, payload: Header(*header).to_bytes() + payload,
    st.tuples(
        st.sampled_from((0, 0, 0, 0, 0, 0, 1)),
        st.sampled_from((0, 0, 1, 1, 2, 3, 4)),
        st.integers(0, 15),
        st.integers(0, 6),
        st.one_of(st.integers(0, 30), st.sampled_from((262_144, 262_145, 2**32 - 1))),
    ),
    st.binary(max_size=30),
)
BYTES = st.one_of(st.binary(max_size=300), damaged(), st.lists(FRAMES, max_size=30).map(b"".join))
CUTS = st.lists(st.integers(1, 400), max_size=20)


def pieces(data: bytes, cuts: Sequence[int]) -> list[bytes]:
    """The data in pieces of the given sizes, the rest as one."""
    found = []
    for size in cuts:
        found.append(data[:size])
        data = data[size:]
    return [*found, data]


class Reader(Protocol):
    """What takes bytes and gives values."""

    def receive(self, data: bytes, /) -> object: ...


def asking_client() -> ClientCalls:
    client = ClientCalls(BYTES_MAX)
    for sequence in range(20):
        client.request(sequence, "Status.Ping")
    return client


READERS: dict[str, Callable[[], Reader]] = {
    "objects": lambda: ObjectSplitter(BYTES_MAX),
    "server calls": lambda: ServerCalls(BYTES_MAX),
    "client calls": asking_client,
    "server handshake": lambda: ServerHandshake(BYTES_MAX),
    "client handshake": ClientHandshake,
    "wrappers": lambda: WrapperReader(BYTES_MAX),
}


def outcome(reader: Reader, parts: list[bytes]) -> tuple[list[object], str]:
    """Everything a reader gave, and why it refused to go on, if it did."""
    given_: list[object] = []
    # The last receives nothing: it tells what was malformed behind whole values.
    for part in [*parts, b""]:
        try:
            found = reader.receive(part)
        except MalformedMessage as error:
            return given_, "too long" if "more than" in str(error) else "malformed"
        if isinstance(found, HandshakeAnswered):
            return [found.error], ""  # how much follows depends on the cut
        if isinstance(found, list):
            given_ += found
    return given_, ""


@pytest.mark.parametrize("name", sorted(READERS))
@given(data=BYTES, cuts=CUTS)
def test_readers_return_or_refuse_wherever_bytes_are_cut(
    name: str, data: bytes, cuts: list[int]
) -> None:
    whole, refusal = outcome(READERS[name](), [data])
    parts, other_refusal = outcome(READERS[name](), pieces(data, cuts))
    assert parts == whole
    if "too long" not in (refusal, other_refusal):  # which may be known sooner or later
        assert refusal == other_refusal


@given(data=BYTES, cuts=CUTS)
def test_what_a_splitter_keeps_is_bounded(data: bytes, cuts: list[int]) -> None:
    splitter = ObjectSplitter(100)
    for part in pieces(data, cuts):
        try:
            splitter.receive(part)
        except MalformedMessage:
            break
        assert splitter.buffered_bytes <= 100


LIMITS = YamuxLimits(
    backlog=3, streams_max=4, unread_bytes_max=500, answers_bytes_max=60, unacked_max=3
)


@given(data=BYTES, cuts=CUTS, role=st.sampled_from(Role), serves=st.booleans())
def test_sessions_take_anything(data: bytes, cuts: list[int], role: Role, serves: bool) -> None:
    session = YamuxSession(role, LIMITS)
    while session.can_open:
        session.open_stream()
    session.take_output()
    unread = 0
    for part in pieces(data, cuts):
        for event in session.receive(part, 1.0):
            match event:
                case StreamOpened(stream) if serves:
                    session.accepted(stream)
                case DataReceived(stream, received):
                    unread += len(received)
                    if serves:
                        session.consumed(stream, 0)
                case _:
                    pass
        assert session.stream_count <= 3 + 4
        assert session.output_bytes <= 60 + 12 * (1 + len(data) // 12)
        assert len(session._partial) < 12
    session.on_time(session.next_deadline)
    session.take_output()


@given(FRAMES)
def test_headers_come_back(data: bytes) -> None:
    header = Header.from_bytes(data)
    assert header.to_bytes() == data[:12]


KINDS = (ANY, DURATION, INT, TIME, list_of(TEXT), map_of(ANY), optional(list_of(U64)))
RECORD = Record(
    lambda *values: values,
    "F0 F1 F2 F3 F4 F5 F6",
    *(Field(f"F{number}", "real", kind) for number, kind in enumerate(KINDS)),
)


@given(BYTES)
def test_records_are_read_or_refused(data: bytes) -> None:
    try:
        RECORD.decode_untrusted(data)
    except MalformedMessage:
        return


MSGPACK = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**63), 2**64 - 1),
        st.floats(),
        st.binary(max_size=40),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.binary(max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(MSGPACK)
def test_fields_take_any_object_or_refuse_it(value: object) -> None:
    for kind in KINDS:
        try:
            kind.read(value)
        except MalformedMessage:
            continue


@given(st.text(), st.binary(max_size=60))
def test_texts_of_errors_are_taken_as_they_are(text: str, raw: bytes) -> None:
    for form in (text, raw.decode("utf-8", "surrogateescape"), "RPC Error:: " + text):
        parse_coded(form)
        relayed(form)
        assert quoted(form).isprintable()


def test_the_deepest_object_is_no_trouble() -> None:
    for depth in (100, 500, 1000, 1023, 1024, 5000):
        data = b"\x91" * depth + b"\xc0"
        value = load_untrusted(data)
        for kind in KINDS:
            if kind is not ANY or depth > 100:
                try:
                    kind.read(value)
                except MalformedMessage:
                    continue
