"""Requests and responses: the bytes of the specification, and what peers may do wrong."""

from __future__ import annotations

import pytest

from swimnomad.errors import MalformedMessage, UsageError
from swimnomad.rpc.calls import CallReceived, ClientCalls, ReplyReceived, ServerCalls
from swimnomad.rpc.failures import BadArguments, RpcFailed, unknown_method

# The byte vectors of rpc.md §14.
PING = bytes.fromhex(
    "82ad536572766963654d6574686f64ab5374617475732e50696e67a3536571 01 80".replace(" ", "")
)
PING_ANSWER = bytes.fromhex(
    "83a54572726f72a0a353657101ad536572766963654d6574686f64ab5374617475732e50696e6780"
)
NO_PATH = bytes.fromhex(
    "83a54572726f72b14e6f207061746820746f20726567696f6ea353657108"
    "ad536572766963654d6574686f64ad5374617475732e4c656164657280"
)


def test_ping() -> None:
    server = ServerCalls()
    (call,) = server.receive(PING)
    assert call == CallReceived(1, "Status.Ping", b"\x80", len(PING) - 1)
    assert server.answer(call, b"\x80") == PING_ANSWER
    assert server.is_idle
    assert not server.is_broken


def test_error_reply() -> None:
    server, client = ServerCalls(), ClientCalls()
    request = client.request(8, "Status.Leader", bytes.fromhex("81a6526567696f6ea76e6f7768657265"))
    assert not client.is_idle
    (call,) = server.receive(request)
    assert server.refuse(call, RpcFailed("No path to region")) == NO_PATH
    (reply,) = client.receive(NO_PATH)
    assert reply == ReplyReceived(8, "Status.Leader", "No path to region", b"\x80")
    assert client.is_idle


def test_long_error_texts_take_two_bytes_of_length() -> None:
    server = ServerCalls()
    answer = server.refuse(CallReceived(2, "Nope.Nope", b"\x80"), unknown_method("Nope.Nope", ()))
    assert (
        bytes.fromhex("da00217270633a2063616e27742066696e642073657276696365204e6f70652e4e6f7065")
        in answer
    )


def test_an_error_is_never_empty() -> None:
    client = ClientCalls()
    client.request(1, "A.B")
    (reply,) = client.receive(ServerCalls().refuse(CallReceived(1, "A.B", b"\x80"), ""))
    assert reply.error


def test_bad_arguments_name_the_place_in_the_conversation() -> None:
    server = ServerCalls()
    server.receive(PING)
    (call,) = server.receive(PING)
    answer = server.refuse(call, BadArguments("no"))
    assert f"[pos {2 * len(PING)}]: no".encode() in answer


@pytest.mark.parametrize("cut", range(len(PING) + len(PING_ANSWER)))
def test_cut_anywhere(cut: int) -> None:
    server, client = ServerCalls(), ClientCalls()
    data = PING * 2
    calls = server.receive(data[:cut]) + server.receive(data[cut:])
    assert [call.position for call in calls] == [len(PING) - 1, 2 * len(PING) - 1]
    client.request(1, "Status.Ping")
    client.request(1, "Status.Ping")
    data = PING_ANSWER * 2
    assert len(client.receive(data[:cut]) + client.receive(data[cut:])) == 2


def test_pipelined_requests_keep_their_order() -> None:
    server, client = ServerCalls(), ClientCalls()
    requests = b"".join(client.request(number, f"A.m{number}") for number in (5, 3, 2**64 - 1))
    calls = server.receive(requests)
    answers = b"".join(server.answer(call, b"\x01") for call in calls)
    assert [reply.sequence for reply in client.receive(answers)] == [5, 3, 2**64 - 1]


def test_a_half_request_is_not_idle() -> None:
    server = ServerCalls()
    server.receive(PING[:-1])
    assert not server.is_idle


@pytest.mark.parametrize(
    "header",
    [
        b"\x81\xa3Seq\xff",
        b"\x81\xa3Seq\xcb" + bytes(8),
        b"\x81\xadServiceMethod\x01",
        b"\xa1x",
        b"\xc1",
        b"\x07",
    ],
)
def test_a_header_that_does_not_decode(header: bytes) -> None:
    with pytest.raises(MalformedMessage):
        ServerCalls().receive(header)


def test_an_answer_that_was_not_asked_for() -> None:
    with pytest.raises(MalformedMessage, match="not asked"):
        ClientCalls().receive(PING_ANSWER)
    client = ClientCalls()
    client.request(2, "Status.Ping")
    with pytest.raises(MalformedMessage, match="not asked"):
        client.receive(PING_ANSWER)


def test_limits() -> None:
    with pytest.raises(MalformedMessage):
        ServerCalls(100).receive(PING[:-1] + b"\xda\x00\xff")
    client = ClientCalls()
    for number in range(4096):
        client.request(number, "A.B")
    with pytest.raises(UsageError):
        client.request(4096, "A.B")


@pytest.mark.parametrize("garbage", [b"\xc1", b"\xa1x", b"\x81\xa3Seq\xff\x80"])
def test_garbage_behind_a_request_does_not_take_it_away(garbage: bytes) -> None:
    server = ServerCalls()
    assert len(server.receive(PING + garbage)) == 1
    assert server.is_broken
    assert not server.is_idle
    for _ in range(2):
        with pytest.raises(MalformedMessage):
            server.receive(b"")
    client = ClientCalls()
    client.request(1, "Status.Ping")
    assert client.receive(PING_ANSWER + garbage)
    assert not client.is_idle
    with pytest.raises(MalformedMessage):
        client.receive(b"")


def test_garbage_behind_a_header_is_told_at_once() -> None:
    client = ClientCalls()
    client.request(1, "Status.Ping")
    with pytest.raises(MalformedMessage):
        client.receive(PING_ANSWER[:-1] + b"\xc1")
    with pytest.raises(MalformedMessage):
        ServerCalls().receive(PING[:-1] + b"\xc1")
