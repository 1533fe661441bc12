"""What one side of a conversation writes is what the other reads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from swimnomad.rpc.calls import ClientCalls, ServerCalls
from swimnomad.rpc.failures import coded, parse_coded
from swimnomad.rpc.streaming import (
    ClientHandshake,
    HandshakeAnswered,
    MethodAsked,
    RequestReceived,
    ServerHandshake,
    StreamFailure,
    StreamPayload,
    WrapperReader,
    encode_wrapper,
)
from swimnomad.wire.dialect import BOOL, BYTES, FLOAT, TEXT, U64, Field, load_untrusted
from swimnomad.wire.go_dialect import (
    ANY,
    DURATION,
    INT,
    TIME,
    GoTime,
    Record,
    Signed,
    list_of,
    map_of,
    optional,
    pack_any,
)
from tests.vectors.rpc_vectors import take_all

# Text as it is read: any bytes, those that are no UTF-8 as surrogates.
TEXTS = st.binary(max_size=40).map(lambda data: data.decode("utf-8", "surrogateescape"))
SIGNED = st.integers(-(2**63), 2**63 - 1)
UNSIGNED = st.integers(0, 2**64 - 1)
TIMES = st.builds(
    GoTime,
    SIGNED,
    st.integers(0, 999_999_999),
    st.one_of(st.none(), st.integers(-720, -2), st.integers(0, 840)),
)


class Inner(NamedTuple):
    number: int
    at: GoTime


class Outer(NamedTuple):
    inner: Inner | None
    inners: tuple[Inner, ...] | None
    names: Mapping[str, str] | None
    unsigned: int
    seconds: float
    code: int | None
    payload: bytes | None
    ratio: float
    extra: object
    is_set: bool


INNERS = st.builds(Inner, SIGNED, TIMES)
ANYTHING = st.recursive(
    st.one_of(st.none(), st.booleans(), UNSIGNED, SIGNED, st.floats(allow_nan=False), TEXTS),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(TEXTS, inner, max_size=4)),
    max_leaves=10,
)
OUTERS = st.builds(
    Outer,
    st.none() | INNERS,
    st.none() | st.lists(INNERS, max_size=20).map(tuple),
    st.none() | st.dictionaries(TEXTS, TEXTS, max_size=20),
    UNSIGNED,
    st.integers(-(2**50), 2**50).map(lambda nanoseconds: nanoseconds / 1e9),
    st.none() | SIGNED,
    st.none() | st.binary(max_size=300),
    st.floats(allow_nan=False),
    ANYTHING,
    st.booleans(),
)
INNER = Record(Inner, "Number At", Field("Number", "number", INT), Field("At", "at", TIME))
OUTER = Record(
    Outer,
    "Inner Inners Names Unsigned Seconds Code Payload Ratio Extra Set",
    Field("Inner", "inner", INNER.nullable),
    Field("Inners", "inners", list_of(INNER.nested)),
    Field("Names", "names", map_of(TEXT)),
    Field("Unsigned", "unsigned", U64),
    Field("Seconds", "seconds", DURATION),
    Field("Code", "code", optional(INT)),
    Field("Payload", "payload", BYTES),
    Field("Ratio", "ratio", FLOAT),
    Field("Extra", "extra", ANY),
    Field("Set", "is_set", BOOL),
)


@given(OUTERS)
def test_records(value: Outer) -> None:
    data = OUTER.encode(value)
    assert OUTER.decode_untrusted(data) == value
    assert OUTER.encode(OUTER.decode_untrusted(data)) == data
    (record,) = take_all(data)
    assert isinstance(record, dict)
    assert list(record) == sorted(record)
    assert pack_any(record) == data


@given(ANYTHING)
def test_values_of_any_type(value: object) -> None:
    assert ANY.read(load_untrusted(pack_any(value))) == value


@given(SIGNED)
def test_signed_integers(value: int) -> None:
    (back,) = take_all(pack_any(Signed(value)))
    assert back == value
    assert isinstance(back, Signed) or -32 <= value < 128


CALLS = st.lists(
    st.tuples(UNSIGNED, TEXTS, ANYTHING.map(pack_any), st.none() | TEXTS.filter(bool)), max_size=5
)
CUT = st.integers(0, 200)


@given(CALLS, CUT)
def test_calls(calls: list[tuple[int, str, bytes, str | None]], cut: int) -> None:
    client, server = ClientCalls(), ServerCalls()
    data = b"".join(client.request(number, method, body) for number, method, body, _ in calls)
    received = server.receive(data[:cut]) + server.receive(data[cut:])
    assert [(c.sequence, c.method, c.arguments) for c in received] == [c[:3] for c in calls]
    data = b"".join(
        server.answer(call, body) if error is None else server.refuse(call, error)
        for call, (_, _, body, error) in zip(received, calls, strict=True)
    )
    replies = client.receive(data[:cut]) + client.receive(data[cut:])
    assert [(r.sequence, r.method, r.body, r.error) for r in replies] == [
        (number, method, body if error is None else b"\x80", error or "")
        for number, method, body, error in calls
    ]
    assert client.is_idle
    assert server.is_idle


WRAPPERS = st.one_of(
    st.builds(StreamPayload, st.none() | st.binary(max_size=300)),
    st.builds(StreamFailure, st.none() | SIGNED, TEXTS),
)


@given(TEXTS, ANYTHING.map(pack_any), st.lists(WRAPPERS, max_size=5), CUT)
def test_streaming_calls(
    method: str, request: bytes, wrappers: list[StreamPayload | StreamFailure], cut: int
) -> None:
    caller, callee, reader = ClientHandshake(), ServerHandshake(), WrapperReader()
    assert callee.receive(caller.header(method)) == [MethodAsked(method)]
    data = callee.accept() + b"".join(map(encode_wrapper, wrappers))
    answer = caller.receive(data)
    assert isinstance(answer, HandshakeAnswered)
    assert not answer.error
    assert callee.receive(request[:cut]) + callee.receive(request[cut:]) == [
        RequestReceived(request)
    ]
    data = answer.rest
    received = reader.receive(data[:cut]) + reader.receive(data[cut:])
    failures = [n for n, wrapper in enumerate(wrappers) if isinstance(wrapper, StreamFailure)]
    assert received == wrappers[: failures[0] + 1 if failures else None]


@given(st.integers(-(10**17), 10**17), st.text())
def test_coded_errors(code: int, message: str) -> None:
    assert parse_coded(coded(code, message)) == (code, message)
