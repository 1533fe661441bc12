"""Streaming calls: handshake, request, wrappers."""

from __future__ import annotations

import pytest

from swimnomad.errors import MalformedMessage
from swimnomad.rpc.failures import unknown_streaming_method
from swimnomad.rpc.streaming import (
    HANDSHAKE_BYTES_MAX,
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

# The byte vectors of rpc.md §14.
HEADER = bytes.fromhex("81a64d6574686f64ad4167656e742e4d6f6e69746f72")
YES = bytes.fromhex("81a54572726f72a0")
HEARTBEAT = bytes.fromhex("82a54572726f72c0a75061796c6f6164a27b7d")
REQUEST = b"\x81\xa8LogLevel\xa4INFO"
FAILURE = bytes.fromhex("82a54572726f7282a4436f6465d10190a74d657373616765a178a75061796c6f6164c0")


def test_bytes_of_the_specification() -> None:
    assert ClientHandshake().header("Agent.Monitor") == HEADER
    assert ServerHandshake().accept() == YES
    assert encode_wrapper(StreamPayload(b"{}")) == HEARTBEAT
    assert encode_wrapper(StreamFailure(400, "x")) == FAILURE
    assert WrapperReader().receive(HEARTBEAT + FAILURE) == [
        StreamPayload(b"{}"),
        StreamFailure(400, "x"),
    ]


@pytest.mark.parametrize("cut", range(len(HEADER) + len(REQUEST) + 1))
def test_a_callee_takes_header_and_request_however_they_come(cut: int) -> None:
    callee = ServerHandshake()
    data = HEADER + REQUEST
    assert callee.receive(data[:cut]) + callee.receive(data[cut:]) == [
        MethodAsked("Agent.Monitor"),
        RequestReceived(REQUEST),
    ]
    assert callee.receive(b"anything") == []


def test_what_comes_with_the_request_is_ignored() -> None:
    assert len(ServerHandshake().receive(HEADER + REQUEST + REQUEST)) == 2
    assert len(ServerHandshake().receive(HEADER + REQUEST + b"\xc1")) == 2


def test_garbage_behind_a_header_does_not_take_it_away() -> None:
    callee = ServerHandshake()
    assert callee.receive(HEADER + b"\xc1") == [MethodAsked("Agent.Monitor")]
    with pytest.raises(MalformedMessage):
        callee.receive(b"")


def test_a_long_wrapper_may_come_with_the_answer() -> None:
    wrapper = encode_wrapper(StreamPayload(bytes(2 * HANDSHAKE_BYTES_MAX)))
    assert ClientHandshake().receive(YES + wrapper) == HandshakeAnswered("", wrapper)


@pytest.mark.parametrize("cut", range(len(YES) + 1))
def test_a_caller_passes_on_what_follows_the_answer(cut: int) -> None:
    caller = ClientHandshake()
    data = YES + HEARTBEAT[:5]
    answers = [answer for part in (data[:cut], data[cut:]) if (answer := caller.receive(part))]
    if cut == len(YES):
        answers = answers[:1]
        assert answers == [HandshakeAnswered("", b"")]
    else:
        assert answers == [HandshakeAnswered("", HEARTBEAT[:5])]


def test_refusal() -> None:
    text = unknown_streaming_method("Nope.Nope")
    refusal = ServerHandshake().refuse(text)
    assert ClientHandshake().receive(refusal) == HandshakeAnswered(
        'Unknown rpc method: "Nope.Nope"', b""
    )
    answer = ClientHandshake().receive(ServerHandshake().refuse(""))
    assert answer is not None
    assert answer.error


@pytest.mark.parametrize(
    "wrapper",
    [
        StreamPayload(None),
        StreamPayload(b""),
        StreamPayload(bytes(range(256)) * 300),
        StreamFailure(None, "ACL token not found"),
        StreamFailure(500, 'RPC Error:: 404,Unknown node "x"'),
    ],
)
def test_wrappers_come_back(wrapper: StreamPayload | StreamFailure) -> None:
    assert WrapperReader().receive(encode_wrapper(wrapper)) == [wrapper]


def test_a_failure_is_the_last() -> None:
    reader = WrapperReader()
    assert reader.receive(FAILURE + HEARTBEAT) == [StreamFailure(400, "x")]
    assert reader.receive(HEARTBEAT) == []
    for garbage in (b"\xc1", b"\xa1x"):
        reader = WrapperReader()
        assert reader.receive(HEARTBEAT + garbage) == [StreamPayload(b"{}")]
        with pytest.raises(MalformedMessage):
            reader.receive(b"")


def test_what_is_malformed() -> None:
    for data in (b"\x07", b"\xc1", b"\x81\xa6Method\x07"):
        with pytest.raises(MalformedMessage):
            ServerHandshake().receive(data)
    for data in (b"\xa1x", b"\x81\xa5Error\x07"):
        with pytest.raises(MalformedMessage):
            ClientHandshake().receive(data)
    for data in (b"\x81\xa5Error\xa1x", b"\x81\xa7Payload\x07"):
        with pytest.raises(MalformedMessage):
            WrapperReader().receive(data)


def test_limits() -> None:
    long = b"\x81\xa6Method\xdb" + HANDSHAKE_BYTES_MAX.to_bytes(4, "big")
    with pytest.raises(MalformedMessage):
        ServerHandshake().receive(long + bytes(HANDSHAKE_BYTES_MAX))
    with pytest.raises(MalformedMessage):
        ClientHandshake().receive(long)
    with pytest.raises(MalformedMessage):
        WrapperReader(100).receive(b"\x81\xa7Payload\xda\x00\x80")
