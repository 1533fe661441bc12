"""The payload of an ack to a direct ping: the sender's network coordinate.

Source: serf.md §19.5.
"""

from __future__ import annotations

from typing import Final

from swimnomad.errors import MalformedMessage
from swimnomad.names import Value
from swimnomad.wire.dialect import FLOAT, Field, Schema, list_of

PING_VERSION = 1
_PREFIX = bytes((PING_VERSION,))


class CoordinatePayload(Value, frozen=True):
    """A network coordinate as it stands in an ack; all numbers in seconds but `error`.

    Nothing is checked but the types: dimensions and finiteness are the receiver's business.
    """

    vec: tuple[float, ...]
    error: float
    adjustment: float
    height: float


def _make(
    vec: tuple[float, ...] | None, error: float, adjustment: float, height: float
) -> CoordinatePayload:
    return CoordinatePayload(vec or (), error, adjustment, height)


_COORDINATE: Final = Schema(
    _make,
    "Vec Error Adjustment Height",
    Field("Vec", "vec", list_of(FLOAT)),
    Field("Error", "error", FLOAT),
    Field("Adjustment", "adjustment", FLOAT),
    Field("Height", "height", FLOAT),
)


def encode_coordinate(coordinate: CoordinatePayload) -> bytes:
    """The ack payload for a coordinate."""
    return _PREFIX + _COORDINATE.encode(coordinate)


def decode_coordinate_untrusted(payload: bytes) -> CoordinatePayload:
    """The coordinate in an ack payload.

    Raises:
        MalformedMessage: If the first byte is another version or the rest does not decode.
    """
    if payload[:1] != _PREFIX:
        raise MalformedMessage("ack payload has an unknown version")
    return _COORDINATE.decode_untrusted(payload[1:])
