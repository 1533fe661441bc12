"""The texts of errors: what is read out of them, and what relays make of them."""

from __future__ import annotations

import pytest

from swimnomad.rpc.failures import (
    NO_PATH_TO_NODE,
    BadArguments,
    RpcFailed,
    StreamClosed,
    coded,
    no_connection,
    no_stream,
    parse_coded,
    quoted,
    relayed,
    unknown_method,
    unknown_node,
    unknown_server,
    unknown_streaming_method,
)


def test_coded_form() -> None:
    text = coded(404, NO_PATH_TO_NODE)
    assert text == "RPC Error:: 404,No path to node"
    assert parse_coded(text) == (404, NO_PATH_TO_NODE)
    nested = coded(500, text)
    assert parse_coded(nested) == (500, text)  # the outer one counts
    assert RpcFailed(nested).code == 500


@pytest.mark.parametrize(
    "text",
    [
        "",
        "No path to node",
        "rpc error: RPC Error:: 404,x",
        "RPC Error:: x,y",
        "RPC Error:: 404",
        "RPC Error:: ,x",
        "RPC Error:: ٤٠٤,x",
        "RPC Error:: " + "9" * 5000 + ",x",
    ],
)
def test_what_is_not_coded(text: str) -> None:
    assert parse_coded(text) is None
    assert RpcFailed(text).code is None


def test_each_hop_adds_a_prefix_unless_coded() -> None:
    assert relayed(relayed("No cluster leader")) == "rpc error: rpc error: No cluster leader"
    assert relayed(coded(400, "x")) == "RPC Error:: 400,x"


def test_texts_of_the_callers_side() -> None:
    refused = "dial tcp 127.0.0.9:4647: connect: connection refused"
    assert no_connection(refused) == f"rpc error: failed to get conn: {refused}"
    assert no_stream("session shutdown") == "rpc error: failed to start stream: session shutdown"


def test_texts_with_names() -> None:
    assert unknown_node("ab") == 'RPC Error:: 404,Unknown node "ab"'
    assert unknown_server("x") == "unknown Nomad server x"
    assert unknown_streaming_method("Nope") == 'Unknown rpc method: "Nope"'
    assert quoted('a"\\\n\x01\x7fé\u200b\U000e0001\udcff') == (
        '"a\\"\\\\\\n\\x01\\x7fé\\u200b\\U000e0001\\xff"'
    )


def test_unknown_methods() -> None:
    services = {"Status", "A.B"}
    for method, text in {
        "Nope.X": "rpc: can't find service Nope.X",
        "Status.Nope": "rpc: can't find method Status.Nope",
        "A.B.c": "rpc: can't find method A.B.c",
        "garbage": "rpc: service/method request ill-formed: garbage",
        "": "rpc: service/method request ill-formed: ",
    }.items():
        failure = unknown_method(method, services)
        assert failure.text == text
        assert failure.ends_conversation
        assert not failure.may_have_happened


def test_bad_arguments_tell_where() -> None:
    detail = "only encoded map or array can be decoded into a struct"
    failure = BadArguments(detail)
    assert failure.text == f"msgpack decode error [pos 1]: {detail}"
    assert failure.text_at(34) == f"msgpack decode error [pos 35]: {detail}"
    assert failure.ends_conversation


def test_a_lost_stream_leaves_the_outcome_open() -> None:
    assert StreamClosed().may_have_happened
    assert RpcFailed("Unknown log level", code=400).code == 400
    assert not RpcFailed("x").ends_conversation
