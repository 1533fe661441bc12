"""The recorded bytes of port 4647 taken apart: type bytes, frames, objects.

Objects become plain ones that `pack_any` writes back as they were: raw as bytes, and integers that
know whether Go wrote them signed.
"""

from __future__ import annotations

import struct
from typing import Any, NamedTuple

from swimnomad.rpc.yamux_frames import DATA, HEADER_BYTES, Header
from swimnomad.wire.go_dialect import Signed

Vector = dict[str, Any]
_FORMS = {
    0xCA: ">f",
    0xCB: ">d",
    0xCC: ">B",
    0xCD: ">H",
    0xCE: ">I",
    0xCF: ">Q",
    0xD0: ">b",
    0xD1: ">h",
    0xD2: ">i",
    0xD3: ">q",
}
_RAW = {0xC4: 1, 0xC5: 2, 0xC6: 4, 0xD9: 1, 0xDA: 2, 0xDB: 4}


def _count(data: bytes, position: int, width: int) -> tuple[int, int]:
    return int.from_bytes(data[position : position + width], "big"), position + width


def take(data: bytes, position: int = 0) -> tuple[object, int]:
    """The object at a position, and where it ends. For well-formed bytes only."""
    first = data[position]
    position += 1
    if first < 0x80 or first >= 0xE0:
        return (first if first < 0x80 else first - 256), position
    if first in (0xC0, 0xC2, 0xC3):
        return {0xC0: None, 0xC2: False, 0xC3: True}[first], position
    if first in _FORMS:
        (number,) = struct.unpack_from(_FORMS[first], data, position)
        size = struct.calcsize(_FORMS[first])
        return (Signed(number) if first >= 0xD0 else number), position + size
    if 0xA0 <= first < 0xC0 or first in _RAW:
        width = _RAW.get(first)
        count, position = (first & 31, position) if width is None else _count(data, position, width)
        return data[position : position + count], position + count
    if first < 0xA0 or 0xDC <= first <= 0xDF:
        is_map = first < 0x90 or first >= 0xDE
        if first >= 0xDC:
            count, position = _count(data, position, 4 if first & 1 else 2)
        else:
            count = first & 15
        items = []
        for _ in range(2 * count if is_map else count):
            item, position = take(data, position)
            items.append(item)
        if not is_map:
            return items, position
        return dict(zip(items[::2], items[1::2], strict=True)), position
    raise AssertionError(f"byte {first:#x}")


def take_all(data: bytes) -> list[object]:
    """All objects of `data`, which holds nothing else."""
    found = []
    position = 0
    while position < len(data):
        value, position = take(data, position)
        found.append(value)
    return found


def plain(value: object) -> object:
    """What `decoded` of a vector says, in our terms: bytes for text and for `{"hex": …}`."""
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        if set(value) == {"hex"}:
            return bytes.fromhex(value["hex"])
        return {plain(key): plain(item) for key, item in value.items()}
    return value


class Frame(NamedTuple):
    """A yamux frame with its payload."""

    header: Header
    payload: bytes

    def to_bytes(self) -> bytes:
        """Header and payload."""
        return self.header.to_bytes() + self.payload


def frames_of(data: bytes) -> list[Frame]:
    """The whole frames of `data`; what is left of one that is not whole is dropped."""
    found = []
    position = 0
    while position + HEADER_BYTES <= len(data):
        header = Header.from_bytes(data[position:])
        position += HEADER_BYTES
        size = header.length if header.kind == DATA else 0
        if position + size > len(data):
            break
        found.append(Frame(header, data[position : position + size]))
        position += size
    return found


def is_from_client(message: Vector) -> bool:
    """Whether the side that opened the connection sent it."""
    direction: str = message["direction"]
    return direction.startswith("client->")


def bare(message: Vector) -> tuple[str, bytes]:
    """The type byte of a message (empty if it has none) and the bytes behind it."""
    data = bytes.fromhex(message["hex"])
    kind = (message.get("type_byte") or "")[:4]
    return kind, data[1:] if kind else data
