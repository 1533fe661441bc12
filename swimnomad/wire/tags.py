"""Serf tags in the metadata of a node.

Source: serf.md §4.
"""

from __future__ import annotations

from collections.abc import Mapping

from swimnomad.errors import MalformedMessage
from swimnomad.wire.dialect import TEXT, pack, parse_partial_untrusted

_MAGIC = b"\xff"
_READ_BYTES_MAX = 65_536
"""Metadata has at most 512 bytes; of what is beyond every measure the rest is not looked at."""

PROTOCOL_WITH_MAP = 3
"""From this Serf protocol version on tags are a map; before there was only a role."""


def encode_tags(tags: Mapping[str, str], protocol_version: int = PROTOCOL_WITH_MAP) -> bytes:
    """Metadata for `tags`, in their order; protocol 2 writes the tag `role` and nothing else.

    The caller checks the length: at most 512 bytes may be gossiped.
    """
    if protocol_version < PROTOCOL_WITH_MAP:
        return tags.get("role", "").encode("utf-8", "surrogateescape")
    return _MAGIC + pack(dict(tags))


def decode_tags(meta: bytes | None) -> dict[str, str]:
    """The tags in any metadata: never raises.

    Metadata without the magic first byte is a role. What cannot be decoded is left out, as the
    reference does: the pairs before the damage count.
    """
    if not meta or meta[:1] != _MAGIC:
        return {"role": (meta or b"").decode("utf-8", "surrogateescape")}
    tags: dict[str, str] = {}
    for key, value in parse_partial_untrusted(meta[1:_READ_BYTES_MAX]):
        try:
            tags[TEXT.read(key)] = TEXT.read(value)
        except MalformedMessage:
            break
    return tags
