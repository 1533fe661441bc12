"""Keyring, envelopes, labels, checksums, compounds: what the recorded vectors do not show."""

from __future__ import annotations

import subprocess
import sys

import pytest

from swimnomad.errors import KeyringError, MalformedMessage, UsageError
from swimnomad.wire.compound import make_compound, split_compound_untrusted
from swimnomad.wire.crc import add_crc, strip_crc_untrusted
from swimnomad.wire.encryption import OVERHEAD_BYTES, open_untrusted, seal
from swimnomad.wire.keyring import Keyring
from swimnomad.wire.labels import (
    check_label_untrusted,
    label_bytes,
    label_header,
    strip_label_untrusted,
)

KEY_1, KEY_2, KEY_3 = bytes(16), b"2" * 24, b"3" * 32
NONCE = bytes(range(12))
PLAIN = bytes.fromhex(
    "0085a44e6f6465a26e31a55365714e6f2aaa536f7572636541646472a47f000001aa536f757263654e6f6465"
    "a27079aa536f75726365506f7274cd1f0a"
)

# --- keyring --------------------------------------------------------------------------------------


def test_an_empty_ring_means_that_encryption_is_off() -> None:
    ring = Keyring()
    assert (ring.keys, ring.primary, ring.enabled) == ((), None, False)


def test_the_primary_comes_first_and_no_key_twice() -> None:
    """gossip 40.11."""
    ring = Keyring([KEY_1, KEY_2, KEY_1], primary=KEY_2)
    assert ring.keys == (KEY_2, KEY_1)
    assert ring.primary == KEY_2
    assert ring.enabled


def test_the_first_key_of_an_empty_ring_becomes_the_primary() -> None:
    """gossip 40.11."""
    ring = Keyring()
    ring.add(KEY_1)
    ring.add(KEY_2)
    ring.add(KEY_2)
    assert ring.keys == (KEY_1, KEY_2)


def test_using_a_key_moves_it_to_the_front() -> None:
    """gossip 40.11."""
    ring = Keyring([KEY_1, KEY_2, KEY_3], primary=KEY_1)
    ring.use(KEY_3)
    assert ring.keys == (KEY_3, KEY_1, KEY_2)
    with pytest.raises(KeyringError, match=r"^Requested key is not in the keyring$"):
        ring.use(b"4" * 16)
    assert ring.keys == (KEY_3, KEY_1, KEY_2)


def test_the_primary_cannot_be_removed_but_any_other_key_can() -> None:
    """gossip 40.11."""
    ring = Keyring([KEY_2], primary=KEY_1)
    with pytest.raises(KeyringError, match=r"^Removing the primary key is not allowed$"):
        ring.remove(KEY_1)
    ring.remove(KEY_3)
    assert ring.keys == (KEY_1, KEY_2)
    ring.remove(KEY_2)
    assert list(ring.keys) == [KEY_1]


def test_wrong_keys_are_refused() -> None:
    """gossip 40.11."""
    with pytest.raises(KeyringError, match="primary"):
        Keyring([KEY_1])
    for length in (0, 15, 17, 31, 33):
        with pytest.raises(KeyringError, match=r"^key size must be 16, 24 or 32 bytes$"):
            Keyring().add(bytes(length))


# --- envelopes ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "aad", "envelope"),
    [
        (
            1,
            b"",
            "01000102030405060708090a0b93ee0380097f92f625e3c4d953d23e67999f7878f3b4f70f665cef66c5175831b0",
        ),
        (
            0,
            b"",
            "00000102030405060708090a0b93ee0380097f92f625e3c4d953d23e67992915e95ce2f2f9e92efe221b4bad63cadf1b08930bd5f65aacc700bd6983b9",
        ),
        (
            1,
            b"blah",
            "01000102030405060708090a0b93ee0380097f92f625e3c4d953d23e67997c043fcfb3ec1d4ae63aaf84f447b621",
        ),
    ],
)
def test_the_published_envelopes_hold(version: int, aad: bytes, envelope: str) -> None:
    key, plain = bytes(range(16)), bytes.fromhex("0082a44e6f6465a26e31a55365714e6f2a")
    assert seal(key, NONCE, plain, aad, version).hex() == envelope
    assert open_untrusted([key], bytes.fromhex(envelope), aad) == plain


@pytest.mark.parametrize("version", [0, 1])
def test_any_key_of_the_ring_opens_until_it_is_removed(version: int) -> None:
    """gossip 40.10."""
    ring = Keyring([KEY_2, KEY_3], primary=KEY_1)
    envelope = seal(KEY_3, NONCE, PLAIN, b"aad", version)
    assert open_untrusted(ring.keys, envelope, b"aad") == PLAIN
    ring.remove(KEY_3)
    with pytest.raises(MalformedMessage, match="No installed keys"):
        open_untrusted(ring.keys, envelope, b"aad")


def test_no_envelope_is_longer_than_announced() -> None:
    for version, overhead in OVERHEAD_BYTES.items():
        lengths = [len(seal(KEY_1, NONCE, bytes(n), b"", version)) - n for n in range(40)]
        assert max(lengths) == overhead


def sealed_padding(padding: bytes) -> bytes:
    """An envelope of version 0 whose plaintext block ends as given."""
    block = bytes(16 - len(padding)) + padding
    return b"\0" + seal(KEY_1, NONCE, block)[1:]


@pytest.mark.parametrize("padding", [b"\0", b"\x11", b"\xff", b"\x01\x02", b"\x03\x02\x03"])
def test_wrong_padding_is_refused(padding: bytes) -> None:
    with pytest.raises(MalformedMessage, match="padding"):
        open_untrusted([KEY_1], sealed_padding(padding))


def test_right_padding_is_taken_off() -> None:
    assert open_untrusted([KEY_1], sealed_padding(b"\x02\x02")) == bytes(14)
    assert open_untrusted([KEY_1], sealed_padding(b"\x10" * 16)) == b""


def test_the_library_is_imported_by_the_first_key_only() -> None:
    program = (
        "import sys\n"
        "from swimnomad.wire.packets import PacketCodec, PacketSettings\n"
        "from swimnomad.wire.frames import StreamCodec, StreamSettings\n"
        "from swimnomad.wire.keyring import Keyring\n"
        "from swimnomad.wire.messages import Ack\n"
        "PacketCodec(PacketSettings(), Keyring(), bytes).unpack_untrusted(b'x')\n"
        "StreamCodec(StreamSettings(), Keyring(), bytes).pack(Ack(1), True)\n"
        "sys.exit('cryptography' in sys.modules)\n"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


# --- labels ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 31, 255])
def test_labels_are_put_on_and_taken_off(size: int) -> None:
    """gossip 40.16."""
    label = label_bytes("l" * size)
    assert strip_label_untrusted(label_header(label) + b"rest") == (label, b"rest")


def test_no_label_has_no_header() -> None:
    assert label_header(b"") == b""
    for data in (b"", b"rest"):
        assert strip_label_untrusted(data) == (b"", data)


def test_a_label_of_256_bytes_is_refused() -> None:
    """gossip 40.16."""
    with pytest.raises(UsageError, match="at most 255 bytes, not 256"):
        label_bytes("ż" * 128)


@pytest.mark.parametrize("data", [b"\xf4", b"\xf4\x00", b"\xf4\x00rest", b"\xf4\x03ab"])
def test_label_headers_that_are_empty_or_cut_off_are_refused(data: bytes) -> None:
    """gossip 40.16."""
    with pytest.raises(MalformedMessage, match="label header"):
        strip_label_untrusted(data)


def test_only_the_same_label_passes() -> None:
    """gossip 40.17."""
    check_label_untrusted(b"pool", b"pool", skip_check=False)
    check_label_untrusted(b"", b"", skip_check=False)
    check_label_untrusted(b"", b"pool", skip_check=True)
    for found, configured in ((b"", b"pool"), (b"pool", b""), (b"pool", b"Pool")):
        with pytest.raises(MalformedMessage, match="not ours"):
            check_label_untrusted(found, configured, skip_check=False)
    with pytest.raises(MalformedMessage, match="unexpected label"):
        check_label_untrusted(b"pool", b"pool", skip_check=True)


# --- checksums and compounds ----------------------------------------------------------------------


def test_a_checksum_takes_five_bytes() -> None:
    """gossip 40.14: the published example, and a wrong one is refused (gossip 40.15)."""
    message = bytes.fromhex("0082a44e6f6465a26e31a55365714e6f2a")
    data = add_crc(message)
    assert data.hex() == "0cd9932662" + message.hex()
    assert strip_crc_untrusted(data) == message
    for position in range(1, len(data)):
        damaged = bytearray(data)
        damaged[position] ^= 1
        with pytest.raises(MalformedMessage, match="CRC"):
            strip_crc_untrusted(bytes(damaged))


@pytest.mark.parametrize("data", [b"", b"\x0c", b"\x0c\0\0\0", b"\x02rest"])
def test_without_a_whole_header_nothing_is_checked(data: bytes) -> None:
    assert strip_crc_untrusted(data) == data


def test_the_published_compound_holds() -> None:
    ping = bytes.fromhex("0082a44e6f6465a26e31a55365714e6f2a")
    compound = make_compound([ping, ping])
    assert compound.hex() == "070200110011" + 2 * ping.hex()
    assert split_compound_untrusted(compound) == ([ping, ping], 0)


@pytest.mark.parametrize("parts", [[], [b""], [b"a", b""], [b"a"] * 128, [bytes(65_536)]])
def test_compounds_that_somebody_could_not_read_are_never_made(parts: list[bytes]) -> None:
    with pytest.raises(UsageError, match="compound"):
        make_compound(parts)


def test_the_largest_compound_is_read_back() -> None:
    parts = [bytes((number,)) * 65_535 for number in range(127)]
    assert split_compound_untrusted(make_compound(parts)) == (parts, 0)
