"""What the schemas of all methods are made of: envelopes, and codecs that are no records.

Source: rpc.md §5, §8.1.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Protocol, TypeVar

from swimnomad.errors import MalformedMessage
from swimnomad.wire.dialect import BOOL, TEXT, U64, Field, Kind, load_untrusted, pack
from swimnomad.wire.go_dialect import (
    DURATION,
    NIL,
    NO_TIME,
    TIME,
    UNIX_EPOCH,
    GoTime,
    Record,
    list_of,
    map_of,
)

T = TypeVar("T")


class Codec(Protocol[T]):
    """Bytes of one object to a value and back."""

    def encode(self, value: T) -> bytes:
        """The value as one MessagePack object."""
        ...

    def decode_untrusted(self, data: bytes) -> T:
        """The value of one object.

        Raises:
            MalformedMessage: If the bytes hold no such value.
        """
        ...


class Single:
    """A codec for what is no record: one value of a kind."""

    def __init__(self, kind: Kind) -> None:
        self._kind = kind

    def encode(self, value: Any) -> bytes:  # noqa: ANN401  # as its kind has it
        """The value as one object."""
        if self._kind.pack is not None:
            return self._kind.pack(value)
        return pack(value if self._kind.write is None else self._kind.write(value))

    def decode_untrusted(self, data: bytes) -> Any:  # noqa: ANN401
        """The value of one object; see `Codec`."""
        return self._kind.read(load_untrusted(data))


class Empty:
    """A codec for a struct without fields."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make

    def encode(self, value: object) -> bytes:
        """A map without entries."""
        return b"\x80"

    def decode_untrusted(self, data: bytes) -> Any:  # noqa: ANN401
        """The value of one object; see `Codec`."""
        if not isinstance(load_untrusted(data), dict | list | None):
            raise MalformedMessage("expected a record")
        return self._make()


class Converted:
    """A codec of values that stand on the wire as another type does."""

    def __init__(
        self,
        record: Record[Any],
        to_wire: Callable[[Any], object],
        from_wire: Callable[[Any], Any],
    ) -> None:
        self._record, self._to_wire, self._from_wire = record, to_wire, from_wire

    def encode(self, value: Any) -> bytes:  # noqa: ANN401
        """The value as one object."""
        return self._record.encode(self._to_wire(value))

    def decode_untrusted(self, data: bytes) -> Any:  # noqa: ANN401
        """The value of one object; see `Codec`."""
        return self._from_wire(self._record.decode_untrusted(data))

    @property
    def kind(self) -> Kind:
        """The value as a field of a record."""

        def read(item: object) -> object:
            return self._from_wire(self._record.from_object(item))

        return Kind(read, None, self.encode)


# --- envelopes ------------------------------------------------------------------------------------

QUERY_ENVELOPE: Final = (
    Field("Region", "region", TEXT),
    Field("Namespace", "namespace", TEXT),
    Field("MinQueryIndex", "min_index", U64),
    Field("MaxQueryTime", "wait", DURATION),
    Field("AllowStale", "stale", BOOL),
    Field("Prefix", "prefix", TEXT),
    Field("AuthToken", "token", TEXT),
    Field("Forwarded", "forwarded", BOOL),
)
"""QueryOptions."""


WRITE_ENVELOPE: Final = (
    Field("Region", "region", TEXT),
    Field("Namespace", "namespace", TEXT),
    Field("AuthToken", "token", TEXT),
    Field("Forwarded", "forwarded", BOOL),
)
"""WriteRequest."""


_OF_ANYTHING: Final = "__class__"
"""An attribute that every value has; it stands for none of its own."""


def constant(key: str, written: bytes) -> Field:
    """A field that is written the same always, and not looked at when it is read."""
    return Field(key, _OF_ANYTHING, Kind(lambda value: None, None, lambda value: written))


def record(make: Callable[..., T], *fields: Field) -> Record[T]:
    """A record whose class takes its fields by name; they stand in the order of declaration.

    Only here fields may be `constant`.
    """
    names = [field.name for field in fields]

    def build(*values: object) -> T:
        given = dict(zip(names, values, strict=True))
        given.pop(_OF_ANYTHING, None)
        return make(**given)

    return Record(build, " ".join(field.key for field in fields), *fields)


def nil(key: str) -> Field:
    """A field that is always nil."""
    return constant(key, NIL)


def zero(key: str) -> Field:
    """A number that is always 0."""
    return constant(key, b"\0")


def no(key: str) -> Field:
    """A boolean that is always false."""
    return constant(key, b"\xc2")


def query(make: Callable[..., T], *own: Field) -> Record[T]:
    """A reading request: its own fields in the order of their declaration, then the envelope."""
    return record(make, *own, *QUERY_ENVELOPE)


def write(make: Callable[..., T], *own: Field) -> Record[T]:
    """A writing request; as `query`."""
    return record(make, *own, *WRITE_ENVELOPE)


def or_empty(kind: Kind, empty: object) -> Kind:
    """The kind with `empty` in place of nil when reading."""
    read = kind.read

    def reador_empty(value: object) -> object:
        return empty if value is None else read(value)

    return kind._replace(read=reador_empty)


def texts(item: Kind = TEXT) -> Kind:
    """A map from text; nil reads as an empty one."""
    return or_empty(map_of(item), {})


def several(item: Kind) -> Kind:
    """A list; nil reads as an empty one."""
    return or_empty(list_of(item), ())


QUERY_META: Final = (
    Field("Index", "index", U64),
    Field("LastContact", "last_contact", DURATION),
    Field("KnownLeader", "known_leader", BOOL),
)
"""QueryMeta, in replies about the replicated state."""
WRITE_META: Final = (Field("Index", "index", U64),)
"""WriteMeta."""

META: Final = (
    Field("Index", "meta_index", U64),
    Field("LastContact", "last_contact", DURATION),
    Field("KnownLeader", "known_leader", BOOL),
)
"""QueryMeta where it stays zero, even at a leader: in replies about agents."""
META_KEYS: Final = "Index LastContact KnownLeader"


def _read_clean(value: object) -> str:
    if type(value) is bytes:
        return value.decode("utf-8", "replace")
    return str(TEXT.read(value))


CLEAN: Final = Kind(_read_clean)
"""Text of what is kept: what is not UTF-8 becomes U+FFFD."""

_SECOND: Final = 1_000_000_000


def _read_time_ns(value: object) -> int:
    time: GoTime = TIME.read(value)
    found = (time.seconds - UNIX_EPOCH) * _SECOND + time.nanosecond
    return max(0, min(found, 2**63 - 1))


def _pack_time_ns(time_ns: int) -> bytes:
    packer = TIME.pack
    assert packer is not None
    if not time_ns:  # the state has no other word for "never", and nothing here is of 1970
        return packer(NO_TIME)
    seconds, nanosecond = divmod(time_ns, _SECOND)
    return packer(GoTime(UNIX_EPOCH + seconds, nanosecond))


TIME_NS: Final = Kind(_read_time_ns, None, _pack_time_ns)
"""A Go time as nanoseconds since the epoch; no time at all is 0."""
