"""Tags as metadata: forms of the protocol versions, the size limit."""

from __future__ import annotations

import pytest

from swimnomad.errors import UsageError
from swimnomad.serf.tags import meta_of_tags, tags_of_meta


def test_protocol_2_announces_the_bare_role() -> None:
    """serf 35.42: protocol 2: raw role."""
    assert meta_of_tags({"role": "web", "dc": "eu"}, 2) == b"web"
    assert meta_of_tags({}, 2) == b""
    assert tags_of_meta(b"web") == {"role": "web"}
    assert tags_of_meta(b"") == {"role": ""}


@pytest.mark.parametrize("version", [3, 4, 5])
def test_later_protocols_announce_a_map_behind_a_magic_byte(version: int) -> None:
    """serf 35.42: protocol >= 3: ff-prefixed map."""
    meta = meta_of_tags({"foo": "bar", "role": "x"}, version)
    assert meta == bytes.fromhex("ff82a3666f6fa3626172a4726f6c65a178")
    assert tags_of_meta(meta) == {"foo": "bar", "role": "x"}
    assert meta_of_tags({}, version) == b"\xff\x80"
    assert tags_of_meta(b"\xff\x80") == {}


def test_overlong_tags_are_an_error() -> None:
    """serf 35.42: over-long metadata is an error."""
    assert len(meta_of_tags({"t": "x" * 505}, 4)) == 512
    with pytest.raises(UsageError, match="513 bytes"):
        meta_of_tags({"t": "x" * 506}, 4)
    with pytest.raises(UsageError, match="513 bytes"):
        meta_of_tags({"role": "x" * 513}, 2)


def test_tags_that_are_no_text_are_an_error_unless_they_stand_for_bytes() -> None:
    with pytest.raises(UsageError, match="not text"):
        meta_of_tags({"t": "\ud800"}, 4)
    with pytest.raises(UsageError, match="not text"):
        meta_of_tags({"\ud800": ""}, 4)
    assert tags_of_meta(meta_of_tags({"t": "\udcff"}, 4)) == {"t": "\udcff"}


def test_what_can_be_read_of_damaged_metadata_counts() -> None:
    assert tags_of_meta(b"\xff\x82\xa1a\xa1b\xa1") == {"a": "b"}
    assert tags_of_meta(b"\xff") == {}
