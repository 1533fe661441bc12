"""The MessagePack dialect of the gossip channel: Go structs in the old raw form.

Writing: a record is a map whose keys stand in ascending byte order of their names; text and bytes
are both written raw (`a0…bf`, `da`, `db`), never as str8 or bin; nil and empty differ.

Reading is lenient, as the reference is: keys in any order, unknown and missing keys, nil for
anything, integers of any width, text as bin, records as arrays in declaration order. Whatever the
bytes, only `MalformedMessage` is raised.

There are two parsers and one converter. The C parser of `msgpack` handles what peers really send.
Whatever it refuses (unhashable keys, odd extension types, deep nesting, long lists) goes through
the parser of this file, which is slow but walks any input in linear time and memory. Both give
plain objects to the schema, which alone decides what is acceptable.

Source: gossip.md §3.
"""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from operator import attrgetter
from typing import Any, Final, Generic, NamedTuple, TypeVar

import msgpack  # type: ignore[import-untyped]  # the package ships no types

from swimnomad.errors import MalformedMessage

T = TypeVar("T")
Buffer = bytes | bytearray

DEPTH_MAX = 16
"""Nesting of what a schema may look at (the deepest record needs 5); deeper values are skipped."""

OBJECTS_MAX = 1 << 20
"""Objects in one record, those inside others counted: a byte on the wire is many in memory."""

_UNLIMITED = 1 << 62

_FAST_LIST_MAX = 1024
"""Longest list left to the C parser: it reserves the announced length at each nesting level."""

# A shared packer keeps its buffer; packing builtin types never runs Python code, so it cannot be
# entered twice.
_pack: Final[Callable[[object], bytes]] = msgpack.Packer(
    use_bin_type=False, unicode_errors="surrogateescape"
).pack
_unpack: Final[Callable[..., Any]] = msgpack.unpackb


def pack(value: object) -> bytes:
    """MessagePack of plain objects in the old raw form; dictionaries keep their order."""
    return _pack(value)


# --- finding the end of an object -----------------------------------------------------------------


def _token_table() -> tuple[tuple[int, int, str], ...]:
    """For each first byte: size of head and fixed body, number of children, what follows.

    What follows: empty, or `raw` (a length, then as many bytes), `list`, `map` (a length, then as
    many children), `bad`. For these the size is that of the head alone.
    """
    table: list[tuple[int, int, str]] = []
    table += [(1, 0, "")] * 128  # positive fixint
    table += [(1, 2 * count, "") for count in range(16)]  # fixmap
    table += [(1, count, "") for count in range(16)]  # fixarray
    table += [(1 + length, 0, "") for length in range(32)]  # fixraw
    table += [(1, 0, ""), (1, 0, "bad"), (1, 0, ""), (1, 0, "")]  # nil, never used, false, true
    table += [(2, 0, "raw"), (3, 0, "raw"), (5, 0, "raw")]  # bin
    table += [(3, 0, "raw"), (4, 0, "raw"), (6, 0, "raw")]  # ext: length, then a type byte
    table += [(5, 0, ""), (9, 0, "")]  # floats
    table += [(2, 0, ""), (3, 0, ""), (5, 0, ""), (9, 0, "")] * 2  # unsigned, signed
    table += [(3, 0, ""), (4, 0, ""), (6, 0, ""), (10, 0, ""), (18, 0, "")]  # fixext
    table += [(2, 0, "raw"), (3, 0, "raw"), (5, 0, "raw")]  # str
    table += [(3, 0, "list"), (5, 0, "list"), (3, 0, "map"), (5, 0, "map")]
    table += [(1, 0, "")] * 32  # negative fixint
    assert len(table) == 256
    return tuple(table)


_TOKENS = _token_table()
_EXT_HEADS = {0xC7: 1, 0xC8: 2, 0xC9: 4}
"""Width of the length of the ext forms, whose head has one byte more."""


def scan_untrusted(
    data: Buffer, position: int, pending: int, objects_max: int = _UNLIMITED
) -> tuple[int, int]:
    """Walk over `pending` objects that begin at `position`, as far as the bytes reach.

    The objects are whole if the returned number is 0 and the returned position lies within
    `data`. Otherwise call again with what was returned once more bytes are there: nothing is
    looked at twice. The position may lie behind the end: it is the number of bytes needed.

    Returns:
        Position behind what was walked, objects still pending.

    Raises:
        MalformedMessage: At a byte that begins no object, or after `objects_max` objects, those
            inside others counted.
    """
    end = len(data)
    for _ in range(objects_max + 1):
        if not pending or position >= end:
            return position, pending
        first = data[position]
        size, children, follows = _TOKENS[first]
        if follows:
            if follows == "bad":
                raise MalformedMessage(f"byte {first:#x} begins no MessagePack object")
            if position + size > end:
                return position, pending  # the length itself is not whole yet
            width = _EXT_HEADS.get(first, size - 1)
            length = int.from_bytes(data[position + 1 : position + 1 + width], "big")
            if follows == "raw":
                size += length
            else:
                children = length if follows == "list" else 2 * length
        position += size
        pending += children - 1
    raise MalformedMessage(f"more than {objects_max} objects in one")


# --- the lenient parser ---------------------------------------------------------------------------


class _Opaque:
    """Stands for a value no field accepts: an extension, or something nested too deeply."""


_OPAQUE = _Opaque()
_NUMBERS = {
    0xCA: struct.Struct(">f"),
    0xCB: struct.Struct(">d"),
    0xCC: struct.Struct(">B"),
    0xCD: struct.Struct(">H"),
    0xCE: struct.Struct(">I"),
    0xCF: struct.Struct(">Q"),
    0xD0: struct.Struct(">b"),
    0xD1: struct.Struct(">h"),
    0xD2: struct.Struct(">i"),
    0xD3: struct.Struct(">q"),
}
_CONSTANTS = {0xC0: None, 0xC2: False, 0xC3: True}


class _Parser:
    """Reads one whole object, whose bytes `scan_untrusted` has already walked."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = 0

    def value(self, depth: int = 0) -> object:
        """The object at the present position as plain Python; pairs with odd keys are skipped."""
        start = self._position
        first = self._data[start]
        size, children, follows = _TOKENS[first]
        if first in _EXT_HEADS or 0xD4 <= first <= 0xD8 or depth > DEPTH_MAX:
            self._position, _ = scan_untrusted(self._data, start, 1)
            return _OPAQUE
        self._position = start + size
        if follows:
            length = int.from_bytes(self._data[start + 1 : start + size], "big")
            if follows == "raw":
                return self._raw(length)
            return self._map(length, depth) if follows == "map" else self._list(length, depth)
        if first < 0x80:
            return first
        if first >= 0xE0:
            return first - 256
        if first < 0xA0:
            return self._map(children // 2, depth) if first < 0x90 else self._list(children, depth)
        if first < 0xC0:
            self._position = start + 1
            return self._raw(first & 31)
        if first in _CONSTANTS:
            return _CONSTANTS[first]
        number: object = _NUMBERS[first].unpack_from(self._data, start + 1)[0]
        return number

    def _raw(self, length: int) -> bytes:
        start = self._position
        self._position = start + length
        return self._data[start : start + length]

    def _list(self, length: int, depth: int) -> list[object]:
        return [self.value(depth + 1) for _ in range(length)]

    def _map(self, length: int, depth: int) -> dict[bytes, object]:
        result: dict[bytes, object] = {}
        for _ in range(length):
            key, value = self.value(depth + 1), self.value(depth + 1)
            if type(key) is bytes:
                result[key] = value
        return result


def parse_untrusted(data: bytes) -> object:
    """The first object of `data`, by the parser of this file; what follows it is ignored.

    Raises:
        MalformedMessage: If the object is not whole or contains the byte `c1`.
    """
    return _take_untrusted(data, 0)[0]


def parse_partial_untrusted(data: bytes) -> Iterator[tuple[object, object]]:
    """The pairs of a map in their order; ends without a word where they become unreadable."""
    with contextlib.suppress(MalformedMessage):
        first = data[0] if data else 0xC0
        size, children, follows = _TOKENS[first]
        if follows == "map":
            children = 2 * int.from_bytes(data[1:size], "big")
        elif not 0x80 <= first < 0x90:
            return
        start = size
        for _ in range(children // 2):
            key, start = _take_untrusted(data, start)
            value, start = _take_untrusted(data, start)
            yield key, value


def _take_untrusted(data: bytes, start: int) -> tuple[object, int]:
    end, pending = scan_untrusted(data, start, 1)
    if pending or end > len(data):
        raise MalformedMessage("unexpected EOF")
    return _Parser(data[start:end]).value(), end


def load_untrusted(data: bytes) -> object:
    """The first object of `data` as plain objects: raw and bin as bytes, keys as bytes.

    Raises:
        MalformedMessage: If there is no whole object.
    """
    if len(data) > OBJECTS_MAX:  # only then can there be more objects
        scan_untrusted(data, 0, 1, OBJECTS_MAX)
    try:
        return _unpack(data, raw=True, max_array_len=_FAST_LIST_MAX)
    except Exception:  # whatever it was: the lenient parser knows better
        return _load_long_untrusted(data)


def _load_long_untrusted(data: bytes) -> object:
    """As `parse_untrusted`, but leave long lists to the C parser once they are known to be whole.

    Then every announced length is borne out by as many bytes, and reserving it is harmless.
    """
    if len(data) > _FAST_LIST_MAX:
        walker = msgpack.Unpacker(max_buffer_size=len(data))
        walker.feed(data)
        with contextlib.suppress(Exception):
            walker.skip()
            return _unpack(data[: walker.tell()], raw=True)
    return parse_untrusted(data)


# --- kinds of fields ------------------------------------------------------------------------------


class Kind(NamedTuple):
    """A type of field: how a plain object becomes a value, and back.

    `read` turns nil into the zero value. `write` is None if the packer takes the value as it is.
    `pack` gives the bytes themselves, for what the packer cannot write; only the records of
    `go_dialect` look at it.
    """

    read: Callable[[Any], Any]
    write: Callable[[Any], object] | None = None
    pack: Callable[[Any], bytes] | None = None


def _integer(low: int, high: int) -> Kind:
    def read(value: object) -> int:
        if type(value) is int and low <= value <= high:
            return value
        if value is None:
            return 0
        raise MalformedMessage(f"expected an integer from {low} to {high}")

    return Kind(read)


def _read_bool(value: object) -> bool:
    if value is None:
        return False
    if type(value) in (bool, int) and value in (0, 1):
        return value == 1
    raise MalformedMessage("expected a boolean")


def _read_float(value: object) -> float:
    if type(value) is float:
        return value
    if value is None:
        return 0.0
    if type(value) is int:
        return float(value)
    raise MalformedMessage("expected a number")


def _read_text(value: object) -> str:
    if type(value) is bytes:
        return value.decode("utf-8", "surrogateescape")
    if value is None:
        return ""
    raise MalformedMessage("expected text")


def _read_bytes(value: object) -> bytes | None:
    if type(value) is bytes or value is None:
        return value
    raise MalformedMessage("expected bytes")


U8 = _integer(0, 0xFF)
U16 = _integer(0, 0xFFFF)
U32 = _integer(0, 0xFFFF_FFFF)
U64 = _integer(0, 0xFFFF_FFFF_FFFF_FFFF)
I64 = _integer(-(2**63), 2**63 - 1)
BOOL = Kind(_read_bool)
FLOAT = Kind(_read_float)
TEXT = Kind(_read_text)
"""A string; bytes that are not UTF-8 survive as surrogate escapes."""
BYTES = Kind(_read_bytes)
"""Bytes or None for nil."""


def list_of(item: Kind) -> Kind:
    """A list as a tuple, or None for nil."""
    read_item, write_item = item.read, item.write

    def read(value: object) -> tuple[object, ...] | None:
        if type(value) is list:
            return tuple(map(read_item, value))
        if value is None:
            return None
        raise MalformedMessage("expected a list")

    def write(value: Iterable[object] | None) -> object:
        if value is None:
            return None
        return list(value) if write_item is None else list(map(write_item, value))

    return Kind(read, write)


def map_of(item: Kind) -> Kind:
    """A map from text; nil reads as an empty one."""

    def read(value: object) -> dict[str, object]:
        if type(value) is dict:
            return {_read_text(key): item.read(entry) for key, entry in value.items()}
        if value is None:
            return {}
        raise MalformedMessage("expected a map")

    def write(value: Mapping[str, object]) -> object:
        return dict(value)

    return Kind(read, write)


# --- schemas --------------------------------------------------------------------------------------


class Field(NamedTuple):
    """One field of a record: `key` on the wire, `name` of the attribute that holds it."""

    key: str
    name: str
    kind: Kind
    omit_empty: bool = False


class Schema(Generic[T]):
    """How one class of values stands on the wire.

    Args:
        make: Builds the value from the fields in the order of `fields`.
        fields: The fields, in the order of the constructor.
        declared: Keys in the declaration order of the reference, for records sent as arrays.
    """

    def __init__(self, make: Callable[..., T], declared: str, *fields: Field) -> None:
        self._make = make
        self._readers = tuple((field.key.encode(), field.kind.read) for field in fields)
        self._declared = tuple(key.encode() for key in declared.split())
        assert set(self._declared) == {field.key.encode() for field in fields}
        written = sorted(fields, key=lambda field: field.key)
        self._keys = tuple(field.key for field in written)
        get: Callable[[T], Any] = attrgetter(*(field.name for field in written))
        self._values = get if len(written) > 1 else lambda value: (get(value),)
        self._writers = [(field.key, field.kind.write) for field in written if field.kind.write]
        self._omittable = tuple(field.key for field in written if field.omit_empty)

    def to_map(self, value: T) -> dict[str, object]:
        """The record as a dictionary whose order is that of the wire."""
        # `strict` would cost a tenth of the whole; the two have one length by construction.
        record: dict[str, object] = dict(zip(self._keys, self._values(value)))  # noqa: B905
        if self._omittable:
            for key in self._omittable:
                if not record[key]:
                    del record[key]
        if self._writers:
            for key, write in self._writers:
                record[key] = write(record[key])
        return record

    def encode(self, value: T) -> bytes:
        """The record in MessagePack."""
        return _pack(self.to_map(value))

    def from_object(self, record: object) -> T:
        """Build a value from what a parser made of the bytes; nil gives one of zero values.

        Raises:
            MalformedMessage: If it is neither map, array nor nil, or a field does not fit.
        """
        if type(record) is dict:
            get = record.get
            return self._make(*[read(get(key)) for key, read in self._readers])
        if type(record) is list:
            return self.from_object(dict(zip(self._declared, record, strict=False)))
        if record is None:
            return self.from_object({})
        raise MalformedMessage("expected a record")

    def decode_untrusted(self, data: bytes) -> T:
        """Read one record; bytes behind it are ignored.

        Raises:
            MalformedMessage: If there is no whole record or a field does not fit.
        """
        return self.from_object(load_untrusted(data))

    @property
    def nested(self) -> Kind:
        """The record as a field of another one."""
        return Kind(self.from_object, self.to_map)

    @property
    def nullable(self) -> Kind:
        """The record as a field that may be nil, which is None."""

        def read(record: object) -> T | None:
            return None if record is None else self.from_object(record)

        def write(value: T | None) -> object:
            return None if value is None else self.to_map(value)

        return Kind(read, write)
