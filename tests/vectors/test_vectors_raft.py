"""Raft's recorded exchanges on port 4647: read, understood, and written back byte for byte."""

from __future__ import annotations

import pytest

from swimnomad.errors import MalformedMessage
from swimnomad.raft.messages import (
    AppendEntries,
    AppendEntriesReply,
    Reply,
    RequestVote,
    RequestVoteReply,
)
from swimnomad.rpc.raft_codec import Asked, encode_reply, encode_request, protocol_refusal
from swimnomad.rpc.raft_reader import ReplyReader, RequestReader
from tests.vectors.rpc_vectors import Vector, bare, is_from_client, take_all
from tests.vectors.vector_files import load

ALL = [vector for vector in load("nomad-rpc") if "raft" in vector["name"].split()[0]]
REAL = [vector for vector in ALL if vector["name"].startswith("raft/")]
OURS = {vector["name"].removeprefix("client-ours/raft "): vector for vector in ALL[len(REAL) :]}


def read_request(vector: Vector) -> tuple[Asked, bytes]:
    """The request of an exchange, and its bytes without the byte that opens the connection."""
    (message,) = [found for found in vector["messages"] if is_from_client(found)]
    _, data = bare(message)
    reader = RequestReader()
    reader.receive(data)
    asked = reader.next()
    assert isinstance(asked, Asked)
    assert reader.is_between_requests
    return asked, data


def read_reply(vector: Vector, asked: Asked) -> tuple[Reply, bytes]:
    """The answer of an exchange, and its bytes."""
    (message,) = [found for found in vector["messages"] if not is_from_client(found)]
    _, data = bare(message)
    reader = ReplyReader()
    reader.asked(asked.request)
    (reply,) = reader.receive(data)
    return reply, data


def protocol_of(data: bytes) -> int:
    body = take_all(data)[1]
    assert isinstance(body, dict)
    protocol = body[b"ProtocolVersion"]
    assert isinstance(protocol, int)
    return protocol


def test_all_recorded_exchanges_are_here() -> None:
    assert len(REAL) == 22
    assert len(OURS) == 7


@pytest.mark.parametrize("vector", REAL, ids=lambda vector: vector["name"])
def test_what_real_servers_ask_is_written_back_as_it_was(vector: Vector) -> None:
    asked, data = read_request(vector)
    assert encode_request(asked.request, asked.protocol) == data


@pytest.mark.parametrize("vector", REAL, ids=lambda vector: vector["name"])
def test_what_real_servers_answer_is_written_back_as_it_was(vector: Vector) -> None:
    asked, _ = read_request(vector)
    reply, data = read_reply(vector, asked)
    assert encode_reply(reply, protocol_of(data)) == data


@pytest.mark.parametrize("vector", REAL, ids=lambda vector: vector["name"])
def test_the_fields_are_those_that_were_decoded_independently(vector: Vector) -> None:
    asked, _ = read_request(vector)
    question = vector["messages"][0]["decoded"]
    answer = vector["messages"][1]["decoded"]["response"]
    request = asked.request
    reply, _ = read_reply(vector, asked)
    assert asked.protocol == question["ProtocolVersion"]
    if isinstance(request, RequestVote):
        assert request.candidate == question["Candidate"]
        assert (request.last_index, request.last_term) == (
            question["LastLogIndex"],
            question["LastLogTerm"],
        )
        assert reply == RequestVoteReply(answer["Term"], answer["Granted"])
        return
    assert isinstance(request, AppendEntries)
    assert (request.term, request.leader) == (question["Term"], question["Leader"])
    assert request.commit_index == question["LeaderCommitIndex"]
    assert (request.previous_index, request.previous_term) == (
        question["PrevLogEntry"],
        question["PrevLogTerm"],
    )
    entries = question["Entries"]
    assert (request.entries is None) == (entries is None)
    for entry, expected in zip(request.entries or (), entries or (), strict=True):
        assert (entry.index, entry.term) == (expected["Index"], expected["Term"])
        servers = ((expected.get("Data_is") or {}).get("configuration") or {}).get("Servers")
        if servers:
            assert entry.configuration is not None
            shown = [
                {"Address": server.address, "ID": server.id, "Suffrage": int(server.suffrage)}
                for server in entry.configuration.servers
            ]
            assert shown == servers
    assert reply == AppendEntriesReply(
        answer["Term"], answer["LastLog"], answer["Success"], answer["NoRetryBackoff"]
    )


@pytest.mark.parametrize("name", ["RequestVote term 0", "RequestVote known leader"])
def test_a_vote_that_is_refused_is_refused_in_the_same_bytes(name: str) -> None:
    asked, _ = read_request(OURS[name])
    assert isinstance(asked.request, RequestVote)
    _, data = read_reply(OURS[name], asked)
    assert encode_reply(RequestVoteReply(2, False), 2) == data


def test_entries_of_an_old_term_are_refused_in_the_same_bytes() -> None:
    asked, _ = read_request(OURS["AppendEntries term 0"])
    assert asked.request == AppendEntries(0, "127.0.61.9:4647", 0, 0, (), 0)
    _, data = read_reply(OURS["AppendEntries term 0"], asked)
    assert encode_reply(AppendEntriesReply(2, 25, False), 2) == data


def test_a_newer_protocol_is_answered_and_an_unknown_one_refused_in_the_same_bytes() -> None:
    asked, _ = read_request(OURS["RequestVote protocol 3"])
    assert protocol_refusal(asked.protocol, own=2) is None
    asked, _ = read_request(OURS["RequestVote protocol 9"])
    refusal = protocol_refusal(asked.protocol, own=2)
    assert refusal is not None
    reply, data = read_reply(OURS["RequestVote protocol 9"], asked)
    assert reply == refusal
    assert encode_reply(refusal, 2) == data


@pytest.mark.parametrize("name", ["unknown rpc type", "garbage"])
def test_what_real_servers_hang_up_on_is_malformed(name: str) -> None:
    assert OURS[name]["connection_after"] == "closed by the server"
    reader = RequestReader()
    reader.receive(bare(OURS[name]["messages"][0])[1])
    with pytest.raises(MalformedMessage):
        reader.next()
