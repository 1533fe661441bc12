"""The state as bytes: whole, or refused whole."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swimnomad.nomad.state.commands import Command, RegisterNode, UpsertPolicies, UpsertTokens
from swimnomad.nomad.state.snapshot import (
    MAGIC,
    DamagedSnapshot,
    Image,
    read_image,
    write_image,
)
from swimnomad.nomad.state.store import StateStore
from swimnomad.nomad.state.tables import Table
from tests.nomad.state.state_support import COMMANDS, Replica, node, policy, token, uuid


def filled() -> Replica:
    replica = Replica()
    replica.apply(RegisterNode(node(1, details={"Drivers": {"raw": b"\xff", "n": -3}})))
    replica.apply(UpsertTokens((token(1), token(2))))
    replica.apply(UpsertPolicies((policy(),)))
    return replica


def test_a_restored_state_is_the_same() -> None:
    replica = filled()
    told: list[tuple[Table, ...]] = []
    other = StateStore()
    other.subscribe(told.append)
    other.restore(replica.state.snapshot())
    assert other.snapshot() == replica.state.snapshot()
    assert list(other.nodes()) == list(replica.state.nodes())
    assert other.token_of_secret(token(2).secret_id) is not None
    assert [other.index_of(table) for table in Table] == [
        replica.state.index_of(table) for table in Table
    ]
    assert told == [tuple(Table)]


def test_every_damaged_byte_is_noticed() -> None:
    data = filled().state.snapshot()
    state = filled().state
    before = state.snapshot()
    for position in range(len(data)):
        wrong = bytearray(data)
        wrong[position] ^= 0x10
        with pytest.raises(DamagedSnapshot):
            state.restore(bytes(wrong))
    for length in range(0, len(data), 7):
        with pytest.raises(DamagedSnapshot):
            state.restore(data[:length])
    with pytest.raises(DamagedSnapshot):
        state.restore(data + b"\0")
    assert state.snapshot() == before


def test_what_is_wrong_is_said_in_one_sentence() -> None:
    data = filled().state.snapshot()
    for wrong, text in (
        (b"", "this is no snapshot of a swimnomad server's state"),
        (MAGIC, "the snapshot of the state is damaged: it has 16 bytes"),
        (
            data[:16] + b"\x09" + data[17:],
            "the snapshot of the state has version 9, and this program reads 1",
        ),
        (
            data[:-1] + b"\xc1",
            "the snapshot of the state is damaged: its checksum does not fit its contents",
        ),
    ):
        with pytest.raises(DamagedSnapshot) as caught:
            read_image(wrong)
        assert str(caught.value) == text


IMPOSSIBLE = {
    "an index beyond the last": Image(last_index=1, indexes={"nodes": 2}),
    "an unknown table": Image(last_index=1, indexes={"chairs": 1}),
    "a bad node": Image(last_index=1, indexes={}, nodes=(node(id="x"),)),
    "a bad policy": Image(last_index=1, indexes={}, policies=(policy("not good"),)),
    "a bad token": Image(last_index=1, indexes={}, tokens=(token(type="x"),)),
    "a node twice": Image(last_index=1, indexes={}, nodes=(node(1), node(2, id=uuid(1).upper()))),
    "a secret twice": Image(
        last_index=1, indexes={}, tokens=(token(1), token(2, secret_id=token(1).secret_id))
    ),
    "details of another type": Image(
        last_index=1,
        indexes={},
        nodes=(node(details={"Drivers": msgspec.msgpack.Ext(5, b"")}),),
    ),
}


@pytest.mark.parametrize("image", IMPOSSIBLE.values(), ids=IMPOSSIBLE)
def test_what_no_server_writes_is_refused(image: Image) -> None:
    with pytest.raises(DamagedSnapshot, match="the snapshot of the state is damaged"):
        StateStore().restore(write_image(image))


@given(st.binary(max_size=100), st.booleans())
def test_any_bytes_are_refused(data: bytes, framed: bool) -> None:
    with pytest.raises(DamagedSnapshot):
        StateStore().restore(MAGIC + data if framed else data)


@settings(max_examples=50)
@given(st.lists(COMMANDS, max_size=15))
def test_a_snapshot_says_it_all(commands: list[Command]) -> None:
    replica = Replica()
    for command in commands:
        replica.apply(command)
    data = replica.state.snapshot()
    assert write_image(read_image(data)) == data
