"""Whole datagrams: layers in every combination, nesting, limits, what is lost or raised."""

from __future__ import annotations

from itertools import count, pairwise, product

import pytest

from swimnomad.errors import MalformedMessage, UsageError
from swimnomad.wire.codec import encode
from swimnomad.wire.compound import make_compound
from swimnomad.wire.compression import wrap
from swimnomad.wire.crc import add_crc
from swimnomad.wire.keyring import Keyring
from swimnomad.wire.messages import Alive, Nack, Ping
from swimnomad.wire.packets import Packet, PacketCodec, PacketSettings

DEFAULTS = PacketSettings()
KEY, OTHER_KEY = bytes(16), b"o" * 16
PING = encode(Ping(1, "n1"))
NACK = encode(Nack(2))
LONG = make_compound(
    [encode(Alive(f"server-{i}", 1, bytes(4), 4648, b"\xff\x80", bytes(6))) for i in range(6)]
)


def codec(settings: PacketSettings = DEFAULTS, key: bytes | None = None) -> PacketCodec:
    numbers = count()
    return PacketCodec(settings, Keyring(primary=key), lambda: next(numbers).to_bytes(12, "big"))


@pytest.mark.parametrize(
    ("compression", "label", "key", "crc", "version"),
    list(product((False, True), ("", "pool"), (None, KEY), (False, True), (0, 1))),
)
def test_every_combination_of_layers_survives_the_round_trip(
    compression: bool, label: str, key: bytes | None, crc: bool, version: int
) -> None:
    """gossip 40.9, 40.17."""
    settings = PacketSettings(compression=compression, label=label, encryption_version=version)
    packets = codec(settings, key)
    for message in (PING, LONG):
        data = packets.pack(message, crc)
        found = packets.unpack_untrusted(data)
        if message is LONG:
            assert make_compound(found.messages) == LONG
        else:
            assert found == Packet((PING,))
        assert not found.problems
        if not compression:
            assert len(data) <= len(message) + 5 * crc + packets.overhead


def test_compression_is_used_only_when_it_makes_the_datagram_shorter() -> None:
    packets = codec()
    assert packets.pack(PING) == PING
    assert packets.pack(LONG) == wrap(LONG)
    assert codec(PacketSettings(compression=False)).pack(LONG) == LONG


def test_the_overhead_is_that_of_label_and_envelope() -> None:
    """gossip 11.2."""
    ring = Keyring()
    packets = PacketCodec(PacketSettings(label="blah"), ring, bytes)
    assert packets.overhead == 6
    ring.add(KEY)
    assert packets.overhead == 6 + 29
    assert codec(PacketSettings(encryption_version=0), KEY).overhead == 45
    assert codec(PacketSettings(verify_outgoing=False), KEY).overhead == 0
    assert codec().overhead == 0


def test_the_published_datagrams_hold() -> None:
    message = bytes.fromhex("0082a44e6f6465a26e31a55365714e6f2a")
    ring = Keyring(primary=bytes(range(16)))
    packets = PacketCodec(PacketSettings(label="blah"), ring, lambda: bytes(range(12)))
    wire = (
        "f404626c616801000102030405060708090a0b93ee0380097f92f625e3c4d953d23e67997c043fcfb3ec1d4a"
        "e63aaf84f447b621"
    )
    assert packets.pack(message).hex() == wire
    assert packets.unpack_untrusted(bytes.fromhex(wire)) == Packet((message,))


def test_a_removed_key_opens_no_more() -> None:
    """gossip 40.10."""
    ring = Keyring([OTHER_KEY], primary=KEY)
    sealed = codec(key=OTHER_KEY).pack(PING)
    packets = PacketCodec(PacketSettings(), ring, bytes)
    assert packets.unpack_untrusted(sealed).messages == (PING,)
    ring.remove(OTHER_KEY)
    with pytest.raises(MalformedMessage, match="No installed keys"):
        packets.unpack_untrusted(sealed)


def test_neighbouring_steps_of_the_encryption_roll_out_understand_each_other() -> None:
    """gossip 40.13: the datagrams of it."""
    steps = [
        codec(),
        codec(PacketSettings(verify_incoming=False, verify_outgoing=False), KEY),
        codec(PacketSettings(verify_incoming=False), KEY),
        codec(key=KEY),
    ]
    for older, newer in pairwise(steps):
        assert newer.unpack_untrusted(older.pack(PING, crc=True)).messages == (PING,)
        assert older.unpack_untrusted(newer.pack(PING, crc=True)).messages == (PING,)
    with pytest.raises(MalformedMessage):
        steps[3].unpack_untrusted(steps[1].pack(PING))


@pytest.mark.parametrize(
    ("ours", "theirs"), [("", "pool"), ("pool", ""), ("pool", "Pool"), ("pool", "pools")]
)
def test_another_label_is_another_pool(ours: str, theirs: str) -> None:
    """gossip 40.17."""
    for key in (None, KEY):
        data = codec(PacketSettings(label=theirs), key).pack(PING)
        with pytest.raises(MalformedMessage, match="not ours"):
            codec(PacketSettings(label=ours), key).unpack_untrusted(data)


def test_behind_a_proxy_the_label_is_only_authenticated() -> None:
    behind = codec(PacketSettings(label="pool", skip_inbound_label_check=True), KEY)
    labelled = codec(PacketSettings(label="pool"), KEY).pack(PING)
    with pytest.raises(MalformedMessage, match="unexpected label"):
        behind.unpack_untrusted(labelled)
    assert behind.unpack_untrusted(labelled[6:]).messages == (PING,)


def test_compounds_and_compression_nest_in_any_order() -> None:
    nested = make_compound([NACK, wrap(make_compound([wrap(PING), NACK])), PING])
    assert codec().unpack_untrusted(wrap(nested)) == Packet((NACK, PING, NACK, PING))


def test_nesting_has_a_limit() -> None:
    data = PING
    for _ in range(8):
        data = wrap(data)
    assert codec().unpack_untrusted(data) == Packet((PING,))
    found = codec().unpack_untrusted(make_compound([wrap(data)[0:], NACK]))
    assert found == Packet((NACK,), ("nested more than 8 deep",))


def test_what_can_be_saved_of_a_compound_is() -> None:
    """gossip 40.18, 40.19."""
    bad = b"\x09\x80"
    data = b"\x07\x05" + bytes((0, len(NACK), 0, 0, 0, len(bad), 0, len(PING), 0, 9))
    found = codec().unpack_untrusted(data + NACK + bad + PING + b"cut")
    assert found.messages == (NACK, PING)
    assert found.problems == (
        "compound was truncated, 1 messages lost",
        "empty message",
        "unexpected EOF",
    )


def test_a_compound_without_its_table_is_a_problem() -> None:
    assert codec().unpack_untrusted(b"\x07").problems == ("missing compound length byte",)
    assert codec().unpack_untrusted(b"\x07\x02\x00").problems == ("truncated len slice",)


def test_all_parts_of_a_datagram_share_one_limit_of_expansion() -> None:
    settings = PacketSettings(decompressed_bytes_max=1000)
    part = wrap(b"\x08" + bytes(599))
    found = codec(settings).unpack_untrusted(make_compound([part, part, NACK]))
    assert found.messages == (b"\x08" + bytes(599), NACK)
    assert found.problems == ("expands to more than 400 bytes",)


def test_the_number_of_messages_has_a_limit() -> None:
    settings = PacketSettings(messages_max=10)
    assert len(codec(settings).unpack_untrusted(make_compound([NACK] * 10)).messages) == 10
    inner = make_compound([NACK] * 6)
    found = codec(settings).unpack_untrusted(make_compound([inner, inner, inner]))
    assert found == Packet((NACK,) * 10, ("more than 10 messages in a datagram",))


def test_a_checksum_counts_at_the_outermost_layer_only() -> None:
    """gossip 40.15."""
    assert codec().unpack_untrusted(add_crc(PING)) == Packet((PING,))
    # Deeper it is a message of a type that does not belong there.
    assert codec().unpack_untrusted(make_compound([add_crc(PING)])) == Packet((add_crc(PING),))
    assert codec().unpack_untrusted(b"\x0c\x00") == Packet((b"\x0c\x00",))
    with pytest.raises(MalformedMessage, match="CRC"):
        codec().unpack_untrusted(add_crc(PING)[:-1])


def test_nothing_inside_the_layers_is_refused() -> None:
    """gossip 40.18."""
    with pytest.raises(MalformedMessage, match="empty datagram"):
        codec().unpack_untrusted(b"")
    with pytest.raises(MalformedMessage, match="missing message type"):
        codec().unpack_untrusted(add_crc(b""))
    with pytest.raises(MalformedMessage, match="missing message type"):
        codec(PacketSettings(label="pool")).unpack_untrusted(b"\xf4\x04pool")
    with pytest.raises(MalformedMessage, match="label header"):
        codec().unpack_untrusted(b"\xf4")


def test_an_empty_message_is_never_sent() -> None:
    with pytest.raises(AssertionError):
        codec().pack(b"")


def test_impossible_settings_are_refused() -> None:
    with pytest.raises(UsageError, match="encryption version is 0 or 1, not 2"):
        codec(PacketSettings(encryption_version=2))
    with pytest.raises(UsageError, match="at most 255 bytes"):
        codec(PacketSettings(label="l" * 256))
