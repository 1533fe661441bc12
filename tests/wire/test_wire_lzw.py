"""LZW beyond the recorded streams: clears, full tables, limits, and the estimates before it."""

from __future__ import annotations

import random

import pytest

from swimnomad.errors import MalformedMessage
from swimnomad.wire import estimate, lzw
from swimnomad.wire.codec import encode
from swimnomad.wire.compression import unwrap_untrusted, wrap, wrap_if_shorter
from swimnomad.wire.messages import Ping

MIB = 1024 * 1024


def bits(*codes: tuple[int, int]) -> bytes:
    """A stream of codes given with their widths."""
    number = shift = 0
    for code, width in codes:
        number |= code << shift
        shift += width
    return number.to_bytes((shift + 7) // 8, "little")


def test_the_published_streams_hold() -> None:
    for data, stream in (
        (b"", "000302"),
        (b"testing", "00e9949943278d9b330101"),
        (b"a" * 10, "00c3081c483020"),
    ):
        assert lzw.compress(data).hex() == stream
        assert lzw.decompress_untrusted(bytes.fromhex(stream), 10) == data


@pytest.mark.parametrize("size", [3837, 3838, 3839, 7676, 7677])
def test_the_table_is_cleared_in_time(size: int) -> None:
    """A table is full after 3838 codes; the last code of the data may be the one that fills it."""
    data = bytes(i * step & 255 for step in range(1, 256, 2) for i in range(256))[:size]
    stream = lzw.compress(data)
    assert lzw.decompress_untrusted(stream, size) == data
    assert lzw.compress_within(data, len(stream)) == stream


def test_a_sender_may_leave_a_full_table_uncleared() -> None:
    """The reference reads on with the table as it is; entry 4095 can be used, too."""
    codes = [(256, 9), (0, 9)]
    width, table = 9, 258
    while table < 4096:
        codes.append((0, width))
        table += 1
        width += table >= 1 << width and width < 12
    codes += [(0, 12), (4095, 12), (258, 12), (257, 12)]
    data = lzw.decompress_untrusted(bits(*codes), MIB)
    assert data == b"\0" * (1 + (4096 - 258) + 1 + 2 + 2)


def test_a_code_that_names_the_entry_being_made_repeats_the_last() -> None:
    assert lzw.decompress_untrusted(bits((256, 9), (97, 9), (258, 9), (257, 9)), 9) == b"aaa"


@pytest.mark.parametrize("codes", [[(258, 9)], [(97, 9), (259, 9)], [(97, 9), (256, 9), (258, 9)]])
def test_a_code_ahead_of_the_table_is_refused(codes: list[tuple[int, int]]) -> None:
    with pytest.raises(MalformedMessage, match="lzw: invalid code"):
        lzw.decompress_untrusted(bits((256, 9), *codes, (257, 9)), 100)


def test_expansion_stops_at_the_limit() -> None:
    """gossip 40.20: 20 MiB and a byte pass, more than 40 MiB do not."""
    accepted = bytes(20 * MIB + 1)
    assert unwrap_untrusted(wrap(accepted)[1:], 40 * MIB) == accepted
    stream = lzw.compress(bytes(1000))
    assert lzw.decompress_untrusted(stream, 1000) == bytes(1000)
    with pytest.raises(MalformedMessage, match="more than 999 bytes"):
        lzw.decompress_untrusted(stream, 999)


def test_an_unknown_algorithm_is_refused() -> None:
    with pytest.raises(MalformedMessage, match=r"^Cannot decompress unknown algorithm 1$"):
        unwrap_untrusted(b"\x82\xa4Algo\x01\xa3Buf\xa0", MIB)


def test_a_compress_message_without_a_stream_is_refused() -> None:
    with pytest.raises(MalformedMessage, match="unexpected EOF"):
        unwrap_untrusted(b"\x80", MIB)


@pytest.mark.parametrize("size", [10, 16_384, 16_385, 200_000])
def test_what_was_just_expanded_is_expanded_the_same_again(size: int) -> None:
    """Also with another limit, and beyond the size up to which results are remembered."""
    data = bytes(size)
    body = wrap(data)[1:]
    for _ in range(3):
        assert unwrap_untrusted(body, MIB) == data
        assert unwrap_untrusted(body, size) == data
        with pytest.raises(MalformedMessage, match=f"more than {size - 1} bytes"):
            unwrap_untrusted(body, size - 1)


def test_damage_is_found_again() -> None:
    for _ in range(2):
        with pytest.raises(MalformedMessage, match="lzw: invalid code"):
            unwrap_untrusted(b"\x82\xa4Algo\x00\xa3Buf\xa2\xff\xff", MIB)


def test_what_was_just_compressed_is_compressed_the_same_again() -> None:
    rng = random.Random(3)
    for message in (b"ab" * 300, rng.randbytes(300), b"ab" * 3000):
        wrapped = wrap(message)
        expected = wrapped if len(wrapped) < len(message) else message
        for _ in range(3):
            assert wrap_if_shorter(message) == expected


# --- estimates ------------------------------------------------------------------------------------


def ping(sequence: int, node: str = "server-2.global", source: str = "server-1.global") -> bytes:
    return encode(Ping(sequence, node, bytes((10, 0, 0, 7)), 4648, source))


@pytest.mark.parametrize("sequence", [0, 1, 127, 128, 255, 256, 65_535, 70_000, 0xFEDC_BA98])
def test_the_number_of_codes_of_a_ping_is_known_without_compressing_it(sequence: int) -> None:
    message = ping(sequence)
    assert estimate.ping_codes_min(message) == lzw.count_codes(message)


def test_a_ping_whose_number_occurs_elsewhere_is_not_estimated() -> None:
    assert estimate.ping_codes_min(ping(0x64)) == 0  # "od" stands in "Node", too
    assert estimate.ping_codes_min(ping(2**32 - 1)) == 0
    assert estimate.ping_codes_min(b"\x00\x80") == 0
    assert estimate.ping_codes_min(b"\x00\x81\xa5SeqNo") == 0
    assert estimate.ping_codes_min(b"\x00\x81\xa5SeqNo\xce\x00") == 0


def test_what_a_ping_needs_is_known_once_one_to_that_node_was_counted() -> None:
    first, second = (
        encode(Ping(number, "a node probed nowhere else", b"\x7f\x00\x00\x01", 7946, "me"))
        for number in (0xF1F2F3, 0xF4F5F6)
    )
    assert estimate.ping_codes_known(second) == 0
    assert estimate.ping_codes_min(first) == lzw.count_codes(first)
    assert estimate.ping_codes_known(second) == lzw.count_codes(second)
    assert estimate.ping_codes_known(b"\x00\x80") == 0


def test_a_ping_without_source_ends_with_its_number() -> None:
    message = encode(Ping(300, "n1"))
    assert estimate.ping_codes_min(message) == lzw.count_codes(message)


def test_estimates_change_no_outcome() -> None:
    rng = random.Random(7)
    shorter = 0
    for _ in range(3000):
        if rng.random() < 0.5:
            name = rng.choice(
                ["a", "o" * rng.randrange(1, 90), "SeqNo", f"server-{rng.randrange(9)}"]
            )
            message = ping(rng.randrange(1 << rng.choice((6, 8, 16, 32))), name, name[::-1])
        else:
            letters = rng.choice((2, 4, 16, 256))
            message = bytes(rng.randrange(letters) for _ in range(rng.randrange(1, 300)))
        wrapped = wrap(message)
        expected = wrapped if len(wrapped) < len(message) else message
        assert wrap_if_shorter(message) == expected
        shorter += expected is wrapped
    assert shorter > 100


@pytest.mark.parametrize(
    "size", [30, 31, 32, 33, 45, 46, 47, 65_535 + 17, 65_535 + 18, 65_535 + 20]
)
def test_the_outcome_is_right_where_the_length_of_the_stream_grows(size: int) -> None:
    for period in (1, 2, 3, 5, 8, 13, 21, 400, 65_000):
        pattern = bytes(i * 167 >> 3 & 255 for i in range(period))
        message = (pattern * (size // period + 1))[:size]
        wrapped = wrap(message)
        expected = wrapped if len(wrapped) < len(message) else message
        assert wrap_if_shorter(message) == expected
