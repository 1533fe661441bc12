"""Whatever can be said survives the way over the wire."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from swimnomad.wire import lzw
from swimnomad.wire.codec import decode_untrusted, encode
from swimnomad.wire.compound import make_compound, split_compound_untrusted
from swimnomad.wire.compression import wrap, wrap_if_shorter
from swimnomad.wire.coordinates import (
    CoordinatePayload,
    decode_coordinate_untrusted,
    encode_coordinate,
)
from swimnomad.wire.frames import StreamCodec, StreamSettings
from swimnomad.wire.keyring import Keyring
from swimnomad.wire.messages import (
    Ack,
    Alive,
    Dead,
    ErrorReply,
    IndirectPing,
    Nack,
    NodeRecord,
    PacketMessage,
    Ping,
    PushPull,
    StreamMessage,
    Suspect,
    UserMessage,
)
from swimnomad.wire.packets import PacketCodec, PacketSettings
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
    QueryResponse,
    Relay,
    SerfMessage,
    TagFilter,
    UserEvent,
    decode_filter_untrusted,
    decode_serf_untrusted,
    encode_filter,
    encode_serf,
)
from swimnomad.wire.tags import decode_tags, encode_tags


def integers(bits: int) -> st.SearchStrategy[int]:
    return st.integers(0, 2**bits - 1)


# Names are bytes on the wire; those that are not UTF-8 become surrogate escapes.
names = st.binary(max_size=40).map(lambda name: name.decode("utf-8", "surrogateescape"))
blobs = st.none() | st.binary(max_size=300)
sources = st.tuples(st.none() | st.binary(min_size=1, max_size=16), integers(16), names)
tags = st.dictionaries(names, names, max_size=20)

claims = st.builds(Suspect, names, integers(32), names) | st.builds(
    Dead, names, integers(32), names
)
packet_messages: st.SearchStrategy[PacketMessage] = st.one_of(
    st.builds(lambda n, node, source: Ping(n, node, *source), integers(32), names, sources),
    st.builds(
        lambda n, node, ip, port, nack, source: IndirectPing(n, node, ip, port, nack, *source),
        integers(32),
        names,
        blobs,
        integers(16),
        st.booleans(),
        sources,
    ),
    st.builds(Ack, integers(32), blobs),
    st.builds(Nack, integers(32)),
    claims,
    st.builds(Alive, names, integers(32), blobs, integers(16), blobs, blobs),
    st.builds(UserMessage, st.binary(max_size=300)),
)
records = st.builds(
    NodeRecord,
    names,
    integers(32),
    blobs,
    integers(16),
    blobs,
    blobs,
    st.integers(-(2**63), 2**63 - 1),
)
stream_messages: st.SearchStrategy[StreamMessage] = st.one_of(
    st.builds(lambda n, node, source: Ping(n, node, *source), integers(32), names, sources),
    st.builds(Ack, integers(32), blobs),
    st.builds(ErrorReply, names),
    st.builds(UserMessage, st.binary(max_size=300)),
    st.builds(
        PushPull, st.booleans(), st.lists(records, max_size=5).map(tuple), st.binary(max_size=300)
    ),
)
slots = st.builds(
    EventSlot, integers(64), st.lists(st.builds(BufferedEvent, names, blobs), max_size=3).map(tuple)
)
serf_messages: st.SearchStrategy[SerfMessage] = st.one_of(
    st.builds(LeaveIntent, integers(64), names, st.booleans()),
    st.builds(JoinIntent, integers(64), names),
    st.builds(
        MemberState,
        integers(64),
        st.dictionaries(names, integers(64), max_size=20),
        st.lists(names, max_size=20).map(tuple),
        integers(64),
        st.lists(st.none() | slots, max_size=20).map(tuple),
        integers(64),
    ),
    st.builds(UserEvent, integers(64), names, blobs, st.booleans()),
    st.builds(
        Query,
        integers(64),
        integers(32),
        blobs,
        integers(16),
        names,
        st.none() | st.lists(blobs, max_size=3).map(tuple),
        integers(32),
        integers(8),
        st.integers(-(2**63), 2**63 - 1),
        names,
        blobs,
    ),
    st.builds(QueryResponse, integers(64), integers(32), names, integers(32), blobs),
    st.builds(
        ConflictResponse,
        st.none()
        | st.builds(
            ConflictMember,
            names,
            blobs,
            integers(16),
            tags,
            st.integers(-(2**63), 2**63 - 1),
            *[integers(8)] * 6,
        ),
    ),
    st.builds(KeyRequest, blobs),
    st.builds(
        KeyResponse, st.booleans(), names, st.none() | st.lists(names, max_size=3).map(tuple), names
    ),
    st.builds(Relay, blobs, integers(16), names, st.binary(max_size=100), names),
)
keys = st.none() | st.sampled_from([16, 24, 32]).flatmap(
    lambda n: st.binary(min_size=n, max_size=n)
)
nonces = st.binary(min_size=12, max_size=12)
labels = st.text(max_size=20)
# Few letters: long runs that fill the table of the compressor.
compressible = st.one_of(
    st.binary(max_size=400),
    st.lists(st.sampled_from([b"a", b"ab", b"server-", b"\0" * 9]), max_size=400).map(b"".join),
)


@given(packet_messages)
def test_packet_messages_survive(message: PacketMessage) -> None:
    assert decode_untrusted(encode(message)) == message


@given(
    st.lists(packet_messages, min_size=1, max_size=20),
    keys,
    nonces,
    labels,
    st.booleans(),
    st.booleans(),
    st.sampled_from([0, 1]),
)
def test_datagrams_survive(
    messages: list[PacketMessage],
    key: bytes | None,
    nonce: bytes,
    label: str,
    compression: bool,
    crc: bool,
    version: int,
) -> None:
    packets = PacketCodec(
        PacketSettings(compression=compression, label=label, encryption_version=version),
        Keyring(primary=key),
        lambda: nonce,
    )
    parts = [encode(message) for message in messages]
    found = packets.unpack_untrusted(
        packets.pack(parts[0] if len(parts) == 1 else make_compound(parts), crc)
    )
    assert [decode_untrusted(part) for part in found.messages] == messages
    assert not found.problems


@given(st.data(), stream_messages, keys, nonces, labels, st.booleans(), st.sampled_from([0, 1]))
def test_streams_survive_however_they_are_cut(
    data: st.DataObject,
    message: StreamMessage,
    key: bytes | None,
    nonce: bytes,
    label: str,
    compression: bool,
    version: int,
) -> None:
    streams = StreamCodec(
        StreamSettings(compression=compression, label=label, encryption_version=version),
        Keyring(primary=key),
        lambda: nonce,
    )
    dialer = isinstance(message, Ping | UserMessage) or (
        isinstance(message, PushPull) and data.draw(st.booleans())
    )
    wire = streams.pack(message, dialer)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(wire)), max_size=8)))
    reader = streams.reader(not dialer)
    found = [
        reader.feed(wire[start:end])
        for start, end in zip([0, *cuts], [*cuts, len(wire)], strict=True)
    ]
    assert [answer for answer in found if answer is not None] == [message]


@given(serf_messages)
def test_serf_messages_survive(message: SerfMessage) -> None:
    assert decode_serf_untrusted(encode_serf(message)) == message


@given(st.lists(names, max_size=20), names, names)
def test_query_filters_survive(nodes: list[str], tag: str, expression: str) -> None:
    for query_filter in (NodeFilter(tuple(nodes)), TagFilter(tag, expression)):
        assert decode_filter_untrusted(encode_filter(query_filter)) == query_filter


@given(tags)
def test_tags_survive(wanted: dict[str, str]) -> None:
    found = decode_tags(encode_tags(wanted))
    assert found == wanted
    assert list(found) == list(wanted)


@given(st.lists(st.floats(allow_nan=False), max_size=10), *[st.floats(allow_nan=False)] * 3)
def test_coordinates_survive(
    vec: list[float], error: float, adjustment: float, height: float
) -> None:
    coordinate = CoordinatePayload(tuple(vec), error, adjustment, height)
    assert decode_coordinate_untrusted(encode_coordinate(coordinate)) == coordinate


@given(st.lists(st.binary(min_size=1, max_size=50), min_size=1, max_size=127), st.integers(0, 60))
def test_a_cut_compound_yields_its_whole_parts(parts: list[bytes], cut: int) -> None:
    """gossip 40.19."""
    data = make_compound(parts)
    table = 2 + 2 * len(parts)
    found, lost = split_compound_untrusted(data[: max(table, len(data) - cut)])
    assert found == parts[: len(found)]
    assert lost == len(parts) - len(found)
    assert sum(map(len, found)) <= max(0, len(data) - cut - table)


@given(compressible)
def test_compression_survives_and_is_used_when_it_pays(data: bytes) -> None:
    stream = lzw.compress(data)
    assert lzw.decompress_untrusted(stream, len(data)) == data
    if data:
        wrapped = wrap(data)
        assert wrap_if_shorter(data) == (wrapped if len(wrapped) < len(data) else data)


@given(compressible, st.integers(0, 500))
def test_a_limit_of_the_compressed_size_is_exact(data: bytes, limit: int) -> None:
    stream = lzw.compress(data)
    assert lzw.compress_within(data, limit) == (stream if len(stream) <= limit else None)


@settings(max_examples=20)
@given(st.integers(0, 2**32), st.sampled_from([2, 16, 256]), st.integers(3000, 12_000))
def test_long_data_survives_compression(seed: int, letters: int, size: int) -> None:
    import random

    rng = random.Random(seed)
    data = bytes(rng.randrange(letters) for _ in range(size))
    assert lzw.decompress_untrusted(lzw.compress(data), size) == data
