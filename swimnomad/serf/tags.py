"""Tags of a member as metadata of the gossip layer, with its size limit.

Source: serf.md §4.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from swimnomad.errors import UsageError
from swimnomad.serf.text import is_writable
from swimnomad.swim.config import META_BYTES_MAX
from swimnomad.wire.tags import decode_tags, encode_tags


@lru_cache(maxsize=4096)
def tags_of_meta(meta: bytes) -> Mapping[str, str]:
    """Tags in a member's metadata, whatever its protocol version.

    The answer is shared: a pool's members mostly announce the same metadata again and again, to
    many nodes of one process at that. Do not write to it.
    """
    return decode_tags(meta)


def meta_of_tags(tags: Mapping[str, str], protocol_version: int) -> bytes:
    """Metadata that announces `tags`; protocol version 2 knows the tag `role` only.

    Raises:
        UsageError: If the tags need more than 512 bytes, or are not text.
    """
    for text in (*tags, *tags.values()):
        if not is_writable(text):
            raise UsageError(f"the tag name or value {text!r} is not text")
    meta = encode_tags(tags, protocol_version)
    if len(meta) > META_BYTES_MAX:
        raise UsageError(
            f"the tags need {len(meta)} bytes, more than the {META_BYTES_MAX} allowed in all"
        )
    return meta
