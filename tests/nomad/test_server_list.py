"""The order in which a client asks its servers."""

from __future__ import annotations

import random

import pytest

from swimnomad.errors import OperationError
from swimnomad.names import Address
from swimnomad.nomad.client import REBALANCE_MAX, REBALANCE_MIN, KnownServers
from swimnomad.nomad.failures import RequestFailed
from swimnomad.nomad.joining import BadAddress
from swimnomad.nomad.requests import Request, StatusLeader, StatusPing
from swimnomad.nomad.server_list import SERVERS_MAX, ServerList, split_server
from swimnomad.rpc.failures import CONNECTION_LOST, RpcFailed, no_connection
from swimnomad.sim.world import World
from tests.agent_world import SimServices

A, B, C = (Address(f"10.0.0.{number}", 4647) for number in (1, 2, 3))


def test_the_same_set_changes_nothing() -> None:
    """agent D12, agent O13"""
    servers = ServerList([A, B, C], random.Random("order"))
    order = servers.in_order
    for same in ([A, B, C], [C, B, A], [B, A, C, B]):
        assert not servers.replace(same)
        assert servers.in_order == order
    assert servers.replace([A, B])
    assert sorted(servers.in_order) == [A, B]


def test_only_the_first_moves_when_it_fails() -> None:
    """agent O13"""
    servers = ServerList([A, B, C], random.Random("order"))
    first, second, third = servers.in_order
    servers.note_failure(third)
    assert servers.in_order == (first, second, third)
    servers.note_failure(first)
    assert servers.in_order == (second, third, first)
    ServerList([], random.Random("order")).note_failure(first)


def test_clients_with_one_list_ask_different_servers() -> None:
    many = (ServerList([A, B, C], random.Random(f"client {number}")) for number in range(50))
    assert {servers.in_order[0] for servers in many} == {A, B, C}


def test_an_order_counts_only_for_the_set_it_was_made_of() -> None:
    servers = ServerList([A, B], random.Random("order"))
    order = servers.candidates()
    servers.replace([A, B, C])
    before = servers.in_order
    servers.use_order(order)
    assert servers.in_order == before


def test_a_list_has_an_end() -> None:
    addresses = [Address("10.0.0.1", port) for port in range(1, SERVERS_MAX + 10)]
    assert len(ServerList(addresses, random.Random("order")).in_order) == SERVERS_MAX


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("10.0.0.1", ("10.0.0.1", 4647)),
        ("10.0.0.1:99", ("10.0.0.1", 99)),
        ("10.0.0.1:", ("10.0.0.1", 0)),
        ("", ("", 4647)),
        (":99", ("", 99)),
        ("name.test:1", ("name.test", 1)),
        ("::1", ("::1", 4647)),
        ("[::1]", ("::1", 4647)),
        ("[::1]:99", ("::1", 99)),
    ],
)
def test_addresses_are_taken_apart(text: str, found: tuple[str, int]) -> None:
    assert split_server(text) == found


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("not:an:address", "address not:an:address: too many colons in address"),
        ("a:65536", "address 65536: invalid port"),
        ("a:" + "9" * 5000, "address " + "9" * 5000 + ": invalid port"),
        ("a:x", "lookup tcp/x: unknown port"),
        ("[::1]9", "address [::1]9: missing port in address"),
    ],
)
def test_what_is_no_address_is_told_so(text: str, words: str) -> None:
    with pytest.raises(BadAddress) as caught:
        split_server(text)
    assert str(caught.value) == words


class Answers:
    """A `Remote` that answers as it was told to, and notes whom it asked."""

    def __init__(self, answers: dict[Address, list[str]]) -> None:
        self._answers = answers
        self.asked: list[Address] = []

    async def ask(self, server: Address, region: str, request: Request[str]) -> str:
        self.asked.append(server)
        answers = self._answers[server]
        text = answers.pop(0) if len(answers) > 1 else answers[0]
        if text.startswith("rpc error"):
            raise RpcFailed(text)
        return text


GONE = no_connection("dial tcp x: connect: connection refused")


def client_of(answers: dict[Address, list[str]]) -> tuple[KnownServers, Answers, SimServices]:
    remote = Answers(answers)
    services = SimServices(World("client"), None, None, remote)  # type: ignore[arg-type]
    return KnownServers([str(server) for server in answers], "global", services), remote, services


async def test_servers_that_cannot_be_reached_are_each_tried_once() -> None:
    known, remote, services = client_of({A: [GONE], B: [GONE], C: [GONE]})
    with pytest.raises(OperationError, match="failed to get conn"):
        await known.ask(StatusLeader())
    assert sorted(remote.asked) == [A, B, C]
    assert not services.slept


async def test_the_next_one_answers_and_stays_first() -> None:
    known, remote, _ = client_of({A: [GONE], B: ["yes"], C: [GONE]})
    for _ in range(3):
        assert await known.ask(StatusLeader()) == "yes"
    assert remote.asked[-2:] == [B, B]


async def test_a_region_without_a_leader_is_asked_again_for_a_while() -> None:
    words = "rpc error: No cluster leader"
    known, remote, services = client_of({A: [words], B: [words, words, "yes"]})
    assert await known.ask(StatusLeader()) == "yes"
    assert len(services.slept) == len(remote.asked) - 1 >= 2
    assert set(remote.asked) == {A, B}
    services.slept.clear()
    known, remote, services = client_of({A: [words]})
    with pytest.raises(OperationError, match="No cluster leader"):
        await known.ask(StatusLeader())
    assert 5.0 <= sum(services.slept) <= 5.3125
    # What waits for a change may be held that much longer.
    known, remote, services = client_of({A: [words]})
    with pytest.raises(OperationError, match="No cluster leader"):
        await known.ask(StatusLeader(min_index=1, wait=10.0))
    assert sum(services.slept) >= 15.0


async def test_a_read_whose_connection_broke_is_asked_again() -> None:
    for words in (CONNECTION_LOST, "rpc error: stream closed", "rpc error: session shutdown"):
        known, _, services = client_of({A: [words, "yes"]})
        assert await known.ask(StatusLeader()) == "yes"
        assert len(services.slept) == 1


async def test_any_other_answer_is_one() -> None:
    known, _, services = client_of({A: ["rpc error: Permission denied"], B: ["yes"]})
    failures = 0
    for _ in range(3):
        try:
            await known.ask(StatusLeader())
        except OperationError:
            failures += 1
    assert failures <= 1  # the one who refused went to the end
    assert not services.slept


async def test_without_servers_nobody_is_asked() -> None:
    known, remote, _ = client_of({})
    with pytest.raises(RequestFailed, match="no servers"):
        await known.ask(StatusPing())
    await known.rebalance()
    assert not remote.asked


async def test_rebalancing_puts_one_first_that_answers() -> None:
    """agent O14"""
    known, remote, _ = client_of({A: [GONE], B: ["yes"], C: [GONE]})
    await known.rebalance()
    remote.asked.clear()
    await known.ask(StatusPing())
    assert remote.asked == [B]
    known, remote, _ = client_of({A: [GONE], B: [GONE]})
    await known.rebalance()
    assert sorted(remote.asked) == [A, B]


class Stop(Exception):
    pass


async def test_rebalancing_happens_every_few_minutes() -> None:
    known, remote, services = client_of({A: ["yes"], B: ["yes"]})
    firsts: list[Address] = []

    def note(seconds: float) -> None:
        assert REBALANCE_MIN <= seconds <= REBALANCE_MAX
        firsts.append(remote.asked[-1] if remote.asked else A)
        if len(firsts) > 20:
            raise Stop

    services.on_sleep = note
    with pytest.raises(Stop):
        await known.keep_balanced()
    assert set(firsts) == {A, B}
    assert len(remote.asked) == 20
