"""Commands as bytes: what is written is read, and everything else is refused with one sentence."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swimnomad.errors import UsageError
from swimnomad.nomad.state.commands import (
    COMMAND_BYTES_MAX,
    IGNORABLE,
    KINDS,
    BadCommand,
    Command,
    DeletePolicies,
    RegisterNode,
    SetKeyring,
    UpsertTokens,
    decode_command,
    encode_command,
)
from swimnomad.nomad.state.outcomes import Unchanged
from swimnomad.nomad.state.records import DETAIL_DEPTH_MAX, KeyringRecord
from tests.nomad.state.state_support import COMMANDS, Replica, node, token


@given(COMMANDS)
def test_a_command_is_read_as_it_was_written(command: Command) -> None:
    data = encode_command(command)
    assert decode_command(data) == command
    assert encode_command(command) == data


def test_the_kinds_are_nomads_numbers() -> None:
    assert encode_command(RegisterNode(node()))[0] == 0
    assert encode_command(UpsertTokens((token(),)))[0] == 21
    assert len({number & ~IGNORABLE for number in KINDS}) == len(KINDS)


def test_an_unknown_kind_is_skipped_if_it_may_be() -> None:
    assert decode_command(bytes((100 | IGNORABLE, 1)) + b"anything") is None
    with pytest.raises(BadCommand, match="kind 100, version 1, is unknown to this program"):
        decode_command(bytes((100, 1)) + b"\x80")


def test_a_newer_version_of_a_kind_is_an_unknown_kind() -> None:
    keyring = encode_command(SetKeyring(KeyringRecord("a", ("a",), 1)))
    assert decode_command(keyring[:1] + b"\x02" + keyring[2:]) is None
    deletion = encode_command(DeletePolicies(("a",)))
    with pytest.raises(BadCommand, match="kind 20, version 2"):
        decode_command(deletion[:1] + b"\x02" + deletion[2:])


def test_a_skipped_entry_counts_and_changes_nothing() -> None:
    replica = Replica()
    told: list[object] = []
    replica.state.subscribe(told.append)
    assert replica.state.apply(5, bytes((255, 1))) == Unchanged()
    assert replica.state.last_index == 5
    assert not told


def test_fields_of_a_newer_program_are_skipped() -> None:
    command = b"\x82\xa5names\x91\xa1a\xa5newer\x01"
    assert decode_command(bytes((20, 1)) + command) == DeletePolicies(("a",))


@pytest.mark.parametrize(
    "wrong",
    [
        node(name="\udcff"),
        node(details={"Drivers": {1: 2}}),
        node(details={"Drivers": 2**70}),
        node(details={"Drivers": object()}),
        node(status_updated_at=-1),
        node(name="x" * COMMAND_BYTES_MAX),
    ],
    ids=["surrogate", "key", "integer", "object", "time", "length"],
)
def test_what_cannot_be_read_back_is_not_written(wrong: object) -> None:
    with pytest.raises(UsageError):
        encode_command(RegisterNode(wrong))  # type: ignore[arg-type]


def test_details_nest_to_a_limit() -> None:
    def nested(levels: int) -> object:
        return [nested(levels - 1)] if levels else 1

    encode_command(RegisterNode(node(details={"Links": nested(DETAIL_DEPTH_MAX - 1)})))
    with pytest.raises(UsageError):
        encode_command(RegisterNode(node(details={"Links": nested(DETAIL_DEPTH_MAX)})))
    deep = b"\x91" * 100_000 + b"\xc0"
    with pytest.raises(BadCommand):
        decode_command(b"\x00\x01\x81\xa4node\x82\xa7details\x81\xa1a" + deep)


@given(
    st.binary(max_size=200)
    | st.tuples(st.sampled_from(sorted(KINDS)), st.binary()).map(
        lambda pair: bytes((pair[0], 1)) + pair[1]
    )
)
def test_any_bytes_are_a_command_or_refused(data: bytes) -> None:
    replica = Replica()
    before = replica.state.snapshot()
    with suppress(BadCommand):
        replica.state.apply(1, data)
        return
    assert replica.state.snapshot() == before


def test_too_long_a_command_is_refused_unread() -> None:
    with pytest.raises(BadCommand, match="too long"):
        decode_command(bytes((20, 1)) + bytes(COMMAND_BYTES_MAX))
