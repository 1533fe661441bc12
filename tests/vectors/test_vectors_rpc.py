"""What real agents wrote on port 4647 is read and written back byte for byte."""

from __future__ import annotations

from typing import Any

import pytest

from swimnomad.errors import MalformedMessage
from swimnomad.rpc.calls import ClientCalls, ServerCalls
from swimnomad.rpc.streaming import (
    ClientHandshake,
    HandshakeAnswered,
    MethodAsked,
    RequestReceived,
    ServerHandshake,
    WrapperReader,
    encode_wrapper,
)
from swimnomad.rpc.yamux_frames import ACK, DATA, FIN, RST, SYN
from swimnomad.wire.go_dialect import Signed, pack_any
from tests.vectors.rpc_vectors import (
    Frame,
    Vector,
    bare,
    frames_of,
    is_from_client,
    plain,
    take_all,
)
from tests.vectors.vector_files import load, named

FILE = "nomad-rpc"
COUNT = 252

# These are no RPC: the bytes are a TLS handshake and a gossip stream on the wrong port.
NOT_RPC = {"agents/tls upgrade", "agents/gossip push-pull on 4647"}
# Written by hand on purpose in forms no encoder of ours has: bin, str8, and what is no object.
NOT_OURS = {"client-ours/args bin", "client-ours/args str8"}
NO_OBJECTS = {"client-ours/garbage", "client-ours/raft garbage"}
KINDS = {"data": 0, "window_update": 1, "ping": 2, "go_away": 3}
FLAGS = {"SYN": SYN, "ACK": ACK, "FIN": FIN, "RST": RST}


def messages(vector: Vector) -> list[Vector]:
    """Everything in a vector that has bytes; frames that were left out have none."""
    listed: list[Vector] = vector.get("messages") or vector.get("frames") or []
    return [message for message in listed if message["hex"] is not None]


def test_the_file_is_whole() -> None:
    assert len(load(FILE)) == COUNT
    empty = {vector["name"] for vector in load(FILE) if not messages(vector)}
    assert empty == {"client-ours/no type byte"}


def object_bytes(vector: Vector, message: Vector) -> list[bytes]:
    """The stretches of a message that are MessagePack objects and nothing else."""
    kind, data = bare(message)
    if "frames" in vector:  # one frame a message
        return [data[12:]] if data[1] == DATA and len(data) > 13 else []
    if "frames" in message:
        found = []
        for frame in frames_of(data):
            payload = frame.payload
            if frame.header.flags & SYN or payload[:1] == b"\x01":
                payload = payload[1:]  # the type byte of the stream
            if b"SeqS" in payload or b"Error" in payload or b"Method" in payload:
                found.append(payload)
        return found
    if kind == "0x02":
        return [data[1:]]
    return [] if kind and kind not in ("0x01", "0x05") else [data]


@pytest.mark.parametrize("vector", named(FILE))
def test_objects_are_written_back_as_they_were(vector: Vector) -> None:
    name = vector["name"]
    if name in NOT_RPC | NO_OBJECTS:
        return
    for message in messages(vector):
        for data in object_bytes(vector, message):
            objects = take_all(data)
            written = b"".join(map(pack_any, objects))
            assert (written == data) != (name in NOT_OURS and is_from_client(message)), name
            if "frames" in message or message.get("raft_rpc") or name.startswith("raft/"):
                continue
            if "decoded" in message:
                assert objects == plain(message["decoded"])


@pytest.mark.parametrize("vector", named(FILE))
def test_frames_are_written_back_as_they_were(vector: Vector) -> None:
    for message in messages(vector):
        listed = message.get("frames") or ([message] if "frames" in vector else [])
        _, data = bare(message)
        if not listed:
            continue
        found = frames_of(data)
        if "rest_hex" in message:
            data = data[: -len(bytes.fromhex(message["rest_hex"]))]
        assert b"".join(map(Frame.to_bytes, found)) == data
        for frame, what in zip(found, listed, strict=True):
            if "type" in what:
                assert frame.header.kind == KINDS.get(what["type"], what["type"])
                assert frame.header.length == what["length"]
            assert frame.header.flags == sum(FLAGS[flag] for flag in what["flags"])
            assert frame.header.stream == what.get("stream", 0)


# --- calls ----------------------------------------------------------------------------------------


def calls() -> list[Any]:
    """Vectors that are requests and responses on a plain connection or inside a stream."""
    found = []
    for param in named(FILE):
        (vector,) = param.values
        assert isinstance(vector, dict)
        listed = vector.get("messages") or []
        if not listed or vector["name"] in NOT_RPC or "frames" in listed[0]:
            continue
        kind, _ = bare(listed[0])
        is_call = kind == "0x01" or ("yamux_stream" in vector and not kind)
        if is_call and vector.get("connection_after") != "reset":
            found.append(param)
    return found


# Origin says agent, but the request has ServiceMethod first, which no real caller writes.
OTHER_ORDER = {"agents/Nope.Nope error"}
ANSWERED_WITHOUT_WORDS = {
    "client-ours/seq negative",
    "client-ours/header string",
    "client-ours/garbage",
}


@pytest.mark.parametrize("vector", calls())
def test_calls_are_read_and_answered_in_the_recorded_bytes(vector: Vector) -> None:
    if vector["name"] in ANSWERED_WITHOUT_WORDS:
        with pytest.raises(MalformedMessage):
            ServerCalls().receive(bare(vector["messages"][0])[1])
        return
    server, client, asked = ServerCalls(), ClientCalls(), []
    for message in vector["messages"]:
        is_agent = message["origin"] == "agent" and vector["name"] not in OTHER_ORDER
        _, data = bare(message)
        if is_request(vector, message):
            found = server.receive(data)
            asked += found
            requests = b"".join(
                client.request(call.sequence, call.method, call.arguments) for call in found
            )
            assert requests == data or not is_agent
            continue
        written = b""
        for reply in client.receive(data):
            call = asked.pop(0)
            assert (reply.sequence, reply.method) == (call.sequence, call.method)
            if reply.error:
                assert reply.body == b"\x80"
                written += server.refuse(call, reply.error)
            else:
                written += server.answer(call, reply.body)
        assert written == data
    assert server.is_idle
    assert not asked or vector["name"] == "client-ours/pipelined"  # the fourth has no answer


def is_request(vector: Vector, message: Vector) -> bool:
    """Whether a message asks; in the reverse direction it is the server who does."""
    return bool(message["direction"] == vector["messages"][0]["direction"])


# --- streaming calls ------------------------------------------------------------------------------


def streams() -> list[Any]:
    """Vectors that are streaming calls outside of frames."""
    found = []
    for param in named(FILE):
        (vector,) = param.values
        assert isinstance(vector, dict)
        listed = vector.get("messages") or []
        if listed and "frames" not in listed[0] and bare(listed[0])[0] == "0x05":
            found.append(param)
    return found


@pytest.mark.parametrize("vector", streams())
def test_streaming_calls_are_read_and_answered_in_the_recorded_bytes(vector: Vector) -> None:
    callee, caller, reader = ServerHandshake(), ClientHandshake(), WrapperReader()
    is_answered = False
    for message in vector["messages"]:
        _, data = bare(message)
        if is_request(vector, message):
            written = b""
            for event in callee.receive(data):
                match event:
                    case MethodAsked(method):
                        written += caller.header(method)
                    case RequestReceived(request):
                        written += request
            assert written == data
            continue
        rest = data
        written = b""
        if not is_answered:
            is_answered = True
            answer = caller.receive(data)
            assert isinstance(answer, HandshakeAnswered)
            written = callee.refuse(answer.error) if answer.error else callee.accept()
            rest = answer.rest
        written += b"".join(map(encode_wrapper, reader.receive(rest)))
        assert written == data


def test_errors_of_streams_have_signed_codes() -> None:
    (vector,) = [v for v in load(FILE) if v["name"] == "client-ours/streaming bad level"]
    _, data = bare(vector["messages"][-1])
    (wrapper,) = take_all(data)
    assert isinstance(wrapper, dict)
    assert isinstance(wrapper[b"Error"][b"Code"], Signed)
