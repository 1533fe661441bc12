"""LZW as Go writes it: least significant bit first, 8-bit literals, codes of 9 to 12 bits.

Code 256 clears the table, 257 ends the data. The encoder gives the very bytes of the reference;
the decoder takes what the reference takes. Bytes behind the end code are ignored.

Source: gossip.md §7; compress/lzw of Go.
"""

from __future__ import annotations

from collections.abc import Sequence

from swimnomad.errors import MalformedMessage


class ExpandsTooFar(MalformedMessage):
    """Compressed data expands to more than is allowed."""


_CLEAR = 256
_END = 257
_WIDTH_MIN = 9
_WIDTH_MAX = 12
_CODE_LAST = 4095
"""When the counter of codes reaches this the encoder clears the table instead of using it."""

_CODES_PER_TABLE = _CODE_LAST - _END
"""Codes written from one clear to the next."""

_WIDTH_ENDS = tuple((width, (1 << width) - _END) for width in range(_WIDTH_MIN, _WIDTH_MAX))
"""Width, and how many codes after a clear are written in it or a smaller one.

The counter stands at 257 after a clear and grows by one with each code; the width grows when the
counter reaches the next power of two, that is, after the code that made it so.
"""

_LITERALS: tuple[bytes | None, ...] = (*(bytes((byte,)) for byte in range(256)), None, None)
_CHUNK_BYTES = 12
"""Input taken at a time: enough that it is seldom, and that the number stays small."""

UNLIKE = 1 << 24
"""A symbol for `count_codes` that differs from every byte and may stand once."""

_BITS = {
    width: tuple(format(code, f"0{width}b") for code in range(1 << width))
    for width in range(_WIDTH_MIN, _WIDTH_MAX + 1)
}
"""Binary digits of each code in each width."""


def compress(data: bytes) -> bytes:
    """The bytes that the reference makes of `data`."""
    return _pack(_codes(data, _CODES_PER_TABLE))


def compress_within(data: bytes, size_max: int) -> bytes | None:
    """The same if it has at most `size_max` bytes, else None, which is found out sooner."""
    codes_max = code_count_max(size_max)
    if codes_max < 1 and data:
        return None
    tables = _codes(data, codes_max)
    if sum(map(len, tables)) > codes_max:
        return None
    packed = _pack(tables)
    return packed if len(packed) <= size_max else None


def count_codes(symbols: Sequence[int]) -> int:
    """Number of codes for up to 3838 symbols, bytes or `UNLIKE`."""
    assert len(symbols) <= _CODES_PER_TABLE
    return len(_codes(symbols, _CODES_PER_TABLE)[0])


def code_count_max(size: int) -> int:
    """Most codes that may fit into `size` bytes; that many do if they are below 255."""
    return 8 * size // _WIDTH_MIN - 2  # clear and end take one each


def _codes(data: Sequence[int], codes_max: int) -> list[list[int]]:
    """The codes of each table, from one clear to the next, each code times 256.

    If more than `codes_max` are needed the search may end early, with more than that.
    """
    tables: list[list[int]] = [[]]
    if not data:
        return tables
    # Codes are kept times 256: adding the next byte gives the key of the table at once.
    table: dict[int, int] = {}
    codes = tables[0]
    append, get = codes.append, table.get
    counter = _END << 8
    stop = (_END + min(codes_max, _CODES_PER_TABLE)) << 8
    rest = iter(data)
    current = next(rest) << 8
    for byte in rest:
        if (longer := get(current | byte)) is not None:
            current = longer
            continue
        append(current)
        counter += 256
        if counter != stop:
            table[current | byte] = counter
        elif codes_max < _CODES_PER_TABLE:
            break  # what was not looked at needs one code more at least
        else:
            codes = []
            tables.append(codes)
            table = {}
            append, get = codes.append, table.get
            counter = _END << 8
        current = byte << 8
    append(current)
    if len(codes) == _CODES_PER_TABLE:
        tables.append([])
    return tables


def _pack(tables: list[list[int]]) -> bytes:
    """The codes as bits, with a clear before each table and the end code after the last."""
    digits: list[str] = [_BITS[_WIDTH_MIN][_CLEAR]]
    for table in tables[:-1]:
        digits += _table_digits(table)
        digits.append(_BITS[_WIDTH_MAX][_CLEAR])
    digits += _table_digits(tables[-1])
    digits.append(_BITS[_width_after(len(tables[-1]))][_END])
    # The first code stands in the lowest bits, so it comes last in a number written as usual.
    # Powers of two are converted in linear time.
    digits.reverse()
    text = "".join(digits)
    return int(text, 2).to_bytes((len(text) + 7) // 8, "little")


def _table_digits(codes: list[int]) -> list[str]:
    """Binary digits of the codes from one clear to the next."""
    digits: list[str] = []
    start = 0
    for width, end in _WIDTH_ENDS:
        bits = _BITS[width]
        digits += [bits[code >> 8] for code in codes[start:end]]
        start = end
    bits = _BITS[_WIDTH_MAX]
    digits += [bits[code >> 8] for code in codes[start:]]
    return digits


def _width_after(written: int) -> int:
    """Width of the code that follows `written` ones since the last clear."""
    for width, end in _WIDTH_ENDS:
        if written < end:
            return width
    return _WIDTH_MAX


def decompress_untrusted(data: bytes, limit: int) -> bytes:
    """What the reference reads from `data`.

    Raises:
        MalformedMessage: At a code that cannot be, or at an end of input before the end code;
            `ExpandsTooFar` if the result has more than `limit` bytes.
    """
    table = list(_LITERALS)  # what each code means; None for clear and end
    output: list[bytes] = []
    size = 0
    width, threshold = _WIDTH_MIN, 1 << _WIDTH_MIN
    last: bytes | None = None  # what the code before meant; None after a clear or in a full table
    bits = available = position = 0
    while True:
        if available < width:
            chunk = data[position : position + _CHUNK_BYTES]
            bits |= int.from_bytes(chunk, "little") << available
            available += 8 * len(chunk)
            position += _CHUNK_BYTES
            if available < width:
                raise MalformedMessage("unexpected EOF")
        code = bits & (threshold - 1)
        bits >>= width
        available -= width
        if code < len(table):
            piece = table[code]
            if piece is None:
                if code == _END:
                    return b"".join(output)
                table = list(_LITERALS)
                width, threshold, last = _WIDTH_MIN, 1 << _WIDTH_MIN, None
                continue
        elif code == len(table) and last is not None:
            piece = last + last[:1]
        else:
            raise MalformedMessage("lzw: invalid code")
        output.append(piece)
        size += len(piece)
        if size > limit:
            raise ExpandsTooFar(f"expands to more than {limit} bytes")
        if last is not None:
            table.append(last + piece[:1])
        last = piece
        if len(table) >= threshold:
            if width == _WIDTH_MAX:
                last = None  # the table is full: no more entries until it is cleared
            else:
                width += 1
                threshold <<= 1
