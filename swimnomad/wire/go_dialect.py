"""The MessagePack dialect of the RPC port: that of the gossip channel with Go's own types.

Two things differ. Integers keep the signedness of their Go type: unsigned ones are written `cc…cf`,
signed ones `d0…d3` even if they are positive (both as one byte where they fit). And records nest,
with lists, maps, times and durations in them, where nil and empty are told apart.

Reading is as lenient as in `dialect`, and by the same parsers. Writing goes piece by piece, since
the packer in C knows no signed form of a positive number; keys are packed once per class.

Source: rpc.md §5.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from operator import attrgetter
from typing import Any, Final, NamedTuple, TypeVar

from swimnomad.errors import MalformedMessage
from swimnomad.wire.dialect import I64, TEXT, Field, Kind, Schema, pack

T = TypeVar("T")
Pack = Callable[[Any], bytes]

NIL: Final = b"\xc0"
NANOSECONDS: Final = 1_000_000_000
_I64_MAX: Final = 2**63 - 1
ANY_DEPTH_MAX: Final = 64
"""Nesting of a value of any type; the parser itself may go deeper."""


class Signed(int):
    """An integer that `pack_any` writes as Go writes its signed types."""


def pack_signed(value: int) -> bytes:
    """An integer in the form of Go's signed types: 400 is `d1 01 90`."""
    if value < 128:
        return pack(value)  # negative ones have only this form
    if value <= 0x7FFF:
        return b"\xd1" + value.to_bytes(2, "big")
    if value <= 0x7FFF_FFFF:
        return b"\xd2" + value.to_bytes(4, "big")
    return b"\xd3" + value.to_bytes(8, "big")


def _pack_head(short: int, short_max: int, long: int, count: int) -> bytes:
    """The head of a list or map of so many entries."""
    if count <= short_max:
        return bytes((short | count,))
    if count <= 0xFFFF:
        return bytes((long,)) + count.to_bytes(2, "big")
    return bytes((long + 1,)) + count.to_bytes(4, "big")


def _pack_list(items: Iterable[object], pack_item: Pack) -> bytes:
    parts = [pack_item(item) for item in items]
    return _pack_head(0x90, 15, 0xDC, len(parts)) + b"".join(parts)


def _pack_map(entries: Mapping[str, object], pack_item: Pack) -> bytes:
    parts = [_pack_head(0x80, 15, 0xDE, len(entries))]
    for key, entry in entries.items():
        parts += (pack(key), pack_item(entry))
    return b"".join(parts)


def pack_any(value: object) -> bytes:
    """Plain objects (None, bool, int, `Signed`, float, str, bytes, list, tuple, map) as bytes.

    Plain integers take the unsigned form, maps keep their order.
    """
    if isinstance(value, Signed):
        return pack_signed(value)
    if isinstance(value, Mapping):
        return _pack_map(value, pack_any)
    if isinstance(value, list | tuple):
        return _pack_list(value, pack_any)
    return pack(value)


# --- kinds of fields ------------------------------------------------------------------------------


def _packer(kind: Kind) -> Pack:
    """How values of a kind become bytes."""
    if kind.pack is not None:
        return kind.pack
    write = kind.write
    return pack if write is None else lambda value: pack(write(value))


INT: Final = Kind(I64.read, None, pack_signed)
"""A signed integer of any width."""


def _read_duration(value: object) -> float:
    nanoseconds: int = I64.read(value)
    return nanoseconds / NANOSECONDS


def _pack_duration(seconds: float) -> bytes:
    nanoseconds = round(max(-1e10, min(seconds, 1e10)) * NANOSECONDS)
    return pack_signed(max(-_I64_MAX, min(nanoseconds, _I64_MAX)))  # 292 years


DURATION: Final = Kind(_read_duration, None, _pack_duration)
"""A Go duration: nanoseconds on the wire, seconds here (exact below 50 days)."""


class GoTime(NamedTuple):
    """A point in time as Go writes it.

    `seconds` count from the beginning of year 1 in UTC, `nanosecond` is 0…999,999,999, `offset`
    the time zone in minutes or None for UTC as such.
    """

    seconds: int = 0
    nanosecond: int = 0
    offset: int | None = None

    @property
    def is_zero(self) -> bool:
        """Whether this stands for no time at all."""
        return not self.seconds and not self.nanosecond

    @property
    def unix(self) -> float:
        """Seconds since 1970."""
        return self.seconds - UNIX_EPOCH + self.nanosecond / NANOSECONDS

    @classmethod
    def from_unix(cls, seconds: float) -> GoTime:
        """The time so many seconds after the beginning of 1970, in UTC."""
        whole = int(seconds // 1)
        nanosecond = min(int((seconds - whole) * NANOSECONDS), NANOSECONDS - 1)
        return cls(UNIX_EPOCH + whole, nanosecond)


UNIX_EPOCH: Final = 62_135_596_800
"""Seconds from year 1 to 1970."""
NO_TIME: Final = GoTime()
_TIME_BYTES: Final = 15


def _read_time(value: object) -> GoTime:
    if value is None:
        return NO_TIME
    if type(value) is not bytes or len(value) != _TIME_BYTES or value[0] != 1:
        raise MalformedMessage("expected a time of 15 bytes")
    nanosecond = int.from_bytes(value[9:13], "big")
    if nanosecond >= NANOSECONDS:
        raise MalformedMessage("a time has less than a second of nanoseconds")
    offset = int.from_bytes(value[13:], "big", signed=True)
    seconds = int.from_bytes(value[1:9], "big", signed=True)
    return GoTime(seconds, nanosecond, None if offset == -1 else offset)


def _pack_time(time: GoTime) -> bytes:
    offset = -1 if time.offset is None else time.offset
    return b"".join(
        (
            b"\xaf\x01",
            time.seconds.to_bytes(8, "big", signed=True),
            time.nanosecond.to_bytes(4, "big"),
            offset.to_bytes(2, "big", signed=True),
        )
    )


TIME: Final = Kind(_read_time, None, _pack_time)
"""A Go time as a `GoTime`; nil reads as the zero time."""


def _read_any(value: object, depth: int = 0) -> object:
    if type(value) is bytes:
        return value.decode("utf-8", "surrogateescape")
    if depth > ANY_DEPTH_MAX:
        raise MalformedMessage(f"more than {ANY_DEPTH_MAX} levels in a value")
    if type(value) is list:
        return [_read_any(item, depth + 1) for item in value]
    if type(value) is dict:
        return {TEXT.read(key): _read_any(entry, depth + 1) for key, entry in value.items()}
    if value is None or type(value) in (bool, int, float):
        return value
    raise MalformedMessage("expected a value")


ANY: Final = Kind(_read_any, None, pack_any)
"""A value of any type (a Go interface): None, bool, int, float, str, list, dict with text keys."""


def optional(kind: Kind) -> Kind:
    """A pointer: nil is None and not the zero value."""
    read, pack_value = kind.read, _packer(kind)
    return Kind(
        lambda value: None if value is None else read(value),
        None,
        lambda value: NIL if value is None else pack_value(value),
    )


def list_of(item: Kind) -> Kind:
    """A list as a tuple; nil is None."""
    read_item, pack_item = item.read, _packer(item)

    def read(value: object) -> tuple[object, ...] | None:
        if type(value) is list:
            return tuple(map(read_item, value))
        if value is None:
            return None
        raise MalformedMessage("expected a list")

    def pack_items(value: Iterable[object] | None) -> bytes:
        return NIL if value is None else _pack_list(value, pack_item)

    return Kind(read, None, pack_items)


def map_of(item: Kind) -> Kind:
    """A map from text as a dictionary; nil is None. Go writes maps in any order, we in theirs."""
    read_item, pack_item = item.read, _packer(item)

    def read(value: object) -> dict[str, object] | None:
        if type(value) is dict:
            return {TEXT.read(key): read_item(entry) for key, entry in value.items()}
        if value is None:
            return None
        raise MalformedMessage("expected a map")

    def pack_entries(value: Mapping[str, object] | None) -> bytes:
        return NIL if value is None else _pack_map(value, pack_item)

    return Kind(read, None, pack_entries)


# --- records --------------------------------------------------------------------------------------


class Record(Schema[T]):
    """A schema whose fields may be of the kinds of this file; fields of `dialect` work too.

    Arguments are those of `Schema`.
    """

    def __init__(self, make: Callable[..., T], declared: str, *fields: Field) -> None:
        super().__init__(make, declared, *fields)
        written = sorted(fields, key=lambda field: field.key)
        self._pieces = tuple(
            (attrgetter(field.name), pack(field.key), _packer(field.kind), field.omit_empty)
            for field in written
        )
        self._omits = any(field.omit_empty for field in fields)
        self._head = _pack_head(0x80, 15, 0xDE, len(fields))

    def encode(self, value: T) -> bytes:
        """The record in MessagePack."""
        parts = [self._head]
        for get, key, pack_value, omit_empty in self._pieces:
            item = get(value)
            if not omit_empty or item:
                parts += (key, pack_value(item))
        if self._omits:
            parts[0] = _pack_head(0x80, 15, 0xDE, len(parts) // 2)
        return b"".join(parts)

    @property
    def nested(self) -> Kind:
        """The record as a field of another one."""
        return Kind(self.from_object, None, self.encode)

    @property
    def nullable(self) -> Kind:
        """The record as a field that may be nil, which is None."""
        return optional(self.nested)
