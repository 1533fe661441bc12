"""Client nodes at the servers: registrations, heartbeats, lists, and waiting for changes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import msgspec
import pytest

from swimnomad.errors import OperationError
from swimnomad.nomad.consensus import leadership_lost
from swimnomad.nomad.remote import Pieces
from swimnomad.nomad.replicated import BLOCK_MAX
from swimnomad.nomad.requests import (
    NEVER,
    AgentMonitor,
    NodeDeregister,
    NodeGetClientAllocs,
    NodeGetNode,
    NodeList,
    NodeRegister,
    NodeUpdateStatus,
    Profile,
    Request,
    StatusHasNodeConn,
)
from swimnomad.nomad.state.commands import RegisterNode
from swimnomad.nomad.state.records import Node
from tests.agent_world import EPOCH, AgentWorld
from tests.http.http_support import server
from tests.nomad.consensus_fakes import apply
from tests.nomad.request_support import Region, region
from tests.nomad.state.state_support import node, uuid


def register(number: int = 1, **fields: Any) -> NodeRegister:  # noqa: ANN401
    return NodeRegister(region="global", node=node(number, **fields))


def beat(number: int = 1, status: str = "ready") -> NodeUpdateStatus:
    return NodeUpdateStatus(region="global", node_id=uuid(number), status=status)


def listing(**fields: object) -> NodeList:
    return msgspec.convert({"region": "global", **fields}, NodeList)


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        (None, "missing node for client registration"),
        (node(id=""), "missing node ID for client registration"),
        (node(datacenter="", name=""), "missing datacenter for client registration"),
        (node(name="", attributes=None), "missing node name for client registration"),
        (node(attributes={}, secret_id=""), "missing attributes for client registration"),
        (node(secret_id="", status="x"), "missing node secret ID for client registration"),
        (node(status="x", id="y"), "invalid status for node"),
        (node(id="y"), "node lookup failed: index error: UUID must be 36 characters"),
        (
            node(id=uuid(1).replace("-0000", "-000g")),
            "node lookup failed: index error: Invalid UUID: encoding/hex: invalid byte: U+0067 'g'",
        ),
        (
            node(secret_id="z"),
            "node secret ID cannot be used: index error: UUID must be 36 characters",
        ),
    ],
)
async def test_an_impossible_registration_is_refused(wrong: Node | None, text: str) -> None:
    """agent O03"""
    found = await region()
    assert await found.refusal(NodeRegister(region="global", node=wrong)) == text
    assert found.state.last_index == 0 or found.state.node_count == 0


async def test_a_registration_is_kept_and_answered() -> None:
    """agent O01, agent N19"""
    found = await region(2)
    reply = await found.ask(register(status="", status_updated_at=5, events=()), at=2)
    assert found.world.calls == [(found.agents[0].agent.config.bind("rpc"), "global", NODE)]
    assert (reply.index, reply.node_modify_index, reply.node_count) == (1, 1, 1)
    assert 10 <= reply.heartbeat_ttl < 20
    assert reply.leader == "127.0.61.1:4647"
    assert {each.rpc_address for each in reply.servers} == {"127.0.61.1:4647", "127.0.61.2:4647"}
    kept = found.state.node(uuid(1))
    assert kept is not None
    assert kept.status == "initializing"
    assert kept.status_updated_at >= int(EPOCH)
    assert kept.computed_class.startswith("v1:")


NODE = "Node.Register"


async def test_another_nodes_id_is_not_given_away() -> None:
    """agent O02"""
    found = await region()
    await found.ask(register())
    assert await found.refusal(register(secret_id=uuid(5))) == (
        "node secret ID does not match. Not registering node."
    )


async def test_a_heartbeat_without_news_writes_nothing() -> None:
    """agent O04"""
    found = await region()
    await found.ask(register())
    first = await found.ask(beat())
    assert (first.index, first.node_modify_index) == (2, 2)
    again = await found.ask(beat())
    assert (again.index, again.node_modify_index) == (0, 0)
    assert 10 <= again.heartbeat_ttl < 20
    assert found.state.last_index == 2


async def test_a_node_that_was_down_is_back_by_a_heartbeat() -> None:
    """agent O08"""
    found = await region()
    await found.ask(register(status="ready"))
    down = await found.ask(beat(status="down"))
    assert down.heartbeat_ttl == 0
    await found.ask(beat())
    kept = found.state.node(uuid(1))
    assert kept is not None
    assert kept.events is not None
    assert kept.events[-1].message == "Node reregistered by heartbeat"


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        (NodeUpdateStatus(region="global"), "missing node ID for client status update"),
        (beat(status="odd"), "invalid status for node"),
        (
            NodeUpdateStatus(region="global", node_id="x", status="ready"),
            "node lookup failed: index error: UUID must be 36 characters",
        ),
        (beat(), "node not found"),
        (NodeDeregister(region="global"), "missing node ID for client deregistration"),
        (NodeDeregister(region="global", node_id=uuid(1)), "node not found"),
        (NodeGetClientAllocs(region="global"), "missing node ID"),
        (
            NodeGetNode(region="global"),
            "node lookup failed: index error: UUID must be 36 characters",
        ),
        (
            listing(prefix="abc"),
            "node lookup failed: index error: Input (without hyphens) must be even length",
        ),
        (
            listing(prefix="a" * 37),
            "node lookup failed: index error: Invalid UUID length. UUID have 36 characters; got 37",
        ),
        (NodeRegister(node=node()), "missing region for target RPC"),
    ],
)
async def test_impossible_requests_are_refused(wrong: Request[object], text: str) -> None:
    """agent O06"""
    assert await (await region()).refusal(wrong) == text


async def test_a_node_is_forgotten() -> None:
    found = await region()
    await found.ask(register())
    reply = await found.ask(NodeDeregister(region="global", node_id=uuid(1)))
    assert reply.index == 2
    assert found.state.node_count == 0
    assert not found.kept[0].heartbeats.overdue(1e9)


async def test_nodes_are_shown_without_their_secrets() -> None:
    found = await region()
    details = {"Drivers": {"exec": {}}, "NodeResources": {"Cpu": 1}}
    await found.ask(register(2, http_addr="[::1]:4646", details=details))
    await found.ask(register(1))
    one = await found.ask(NodeGetNode(region="global", node_id=uuid(2)))
    assert (one.node.name, one.node.secret_id, one.index) == ("c2", "", 1)
    assert (one.known_leader, one.last_contact) == (True, 0)
    nobody = await found.ask(NodeGetNode(region="global", node_id=uuid(3)))
    assert (nobody.node, nobody.index) == (None, 2)
    all_ = await found.ask(listing())
    assert [stub.name for stub in all_.nodes] == ["c1", "c2"]
    assert all_.index == 2
    stub = all_.nodes[1]
    assert (stub.address, stub.version, stub.drivers) == ("::1", "1.0.4", {"exec": {}})
    assert stub.node_resources is None
    (stub,) = (await found.ask(listing(prefix="00000002", resources=True))).nodes
    assert stub.node_resources == {"Cpu": 1}


async def test_what_may_be_stale_is_answered_by_anybody_and_says_how_stale() -> None:
    found = await region(2)
    stale = await found.ask(listing(stale=True), at=2)
    assert not found.world.calls
    assert (stale.index, stale.known_leader, stale.last_contact) == (0, True, 0.02)
    assert found.rafts[0].reads == found.rafts[1].reads == 0
    await found.ask(listing(), at=2)
    assert found.rafts[0].reads == 1


async def test_without_raft_stale_reads_are_empty_and_nothing_else_works() -> None:
    world = AgentWorld()
    lonely = Region(world, [world.start(server(1))], [], [])
    empty = await lonely.ask(listing(stale=True))
    assert (empty.nodes, empty.index, empty.known_leader) == ((), 0, False)
    assert empty.last_contact == NEVER
    assert await lonely.refusal(listing()) == "No cluster leader"
    assert await lonely.refusal(register()) == "No cluster leader"


async def test_a_read_waits_for_a_change() -> None:
    found = await region()
    await found.ask(register())

    found.watch.on_wait = partial(apply, found.state, RegisterNode(node(2)))
    reply = await found.ask(listing(min_index=1))
    assert (reply.index, len(reply.nodes)) == (2, 2)
    assert len(found.watch.waits) == 1
    before = found.rafts[0].reads
    assert (await found.ask(listing(min_index=1))).index == 2  # at once
    assert found.rafts[0].reads == before + 1


async def test_a_read_that_waits_in_vain_is_answered_in_the_end() -> None:
    found = await region()
    await found.ask(register())
    for wait, least in ((5.0, 5.0), (0.0, BLOCK_MAX), (-1.0, BLOCK_MAX), (1e9, BLOCK_MAX)):
        start = found.world.world.now
        reply = await found.ask(listing(min_index=1, wait=wait))
        assert (reply.index, len(reply.nodes)) == (1, 1)
        assert least <= found.world.world.now - start <= least * 17 / 16


async def test_a_read_that_waits_says_when_the_lead_is_lost() -> None:
    found = await region()
    await found.ask(register())
    found.watch.on_wait = lambda: setattr(found.rafts[0], "leads", False)
    assert await found.refusal(listing(min_index=1)) == "No cluster leader"


async def test_a_client_is_held_back_with_its_allocations() -> None:
    found = await region()
    await found.ask(register())
    ask = NodeGetClientAllocs(region="global", node_id=uuid(1), secret_id=uuid(1001), stale=True)
    reply = await found.ask(ask)
    assert (reply.index, reply.allocs, reply.migrate_tokens) == (1, {}, {})
    start = found.world.world.now
    again = await found.ask(msgspec.structs.replace(ask, min_index=1))
    assert again.index == 1
    assert found.world.world.now - start >= BLOCK_MAX
    for secret, text in (
        ("", "missing node secret ID for client status update"),
        (uuid(7), "node secret ID does not match"),
    ):
        assert await found.refusal(msgspec.structs.replace(ask, secret_id=secret)) == text
    unknown = await found.ask(msgspec.structs.replace(ask, node_id=uuid(2)))
    assert (unknown.index, unknown.allocs) == (1, {})


async def test_a_write_says_whether_it_may_have_happened() -> None:
    found = await region()
    found.rafts[0].failure = leadership_lost()
    with pytest.raises(OperationError, match="leadership lost while committing log") as caught:
        await found.ask(register())
    assert caught.value.may_have_happened
    found.rafts[0].failure, found.rafts[0].leads = None, True
    found.kept[0].heartbeats.disarm()
    with pytest.raises(OperationError, match="failed to reset heartbeat") as caught:
        await found.ask(register())
    assert caught.value.may_have_happened
    assert found.state.node_count == 1


class Link:
    """A connection of a client."""

    is_open = True

    def __init__(self, established: float, *, is_callable: bool = True) -> None:
        self.established = established
        self.is_callable = is_callable
        self.asked: list[Any] = []

    async def ask(self, request: Request[Any]) -> Any:  # noqa: ANN401
        """Show a profile."""
        self.asked.append(request)
        return Profile("a node", b"", {})

    @asynccontextmanager
    async def stream(self, request: AgentMonitor) -> AsyncIterator[Pieces]:
        """Show one piece."""
        self.asked.append(request)

        async def pieces() -> AsyncIterator[bytes | None]:
            yield b"a line"

        yield pieces()


async def test_a_server_knows_which_nodes_are_connected() -> None:
    """agent N18, agent N30, agent O10"""
    found = await region(2)
    link, older = Link(7.0), Link(5.0)
    await found.agents[1].agent.ask(register(1), link)
    await found.agents[1].agent.ask(beat(1), older)
    await found.ask(register(2))
    await found.agents[1].agent.ask(beat(2), link)  # it stays the first one's
    question = StatusHasNodeConn(region="global", node_id=uuid(1))
    reply = await found.ask(question, at=2)
    assert (reply.is_connected, reply.since) == (True, 7.0)
    assert not (await found.ask(question)).is_connected
    other = StatusHasNodeConn(region="global", node_id=uuid(2))
    assert not (await found.ask(other, at=2)).is_connected
    found.kept[1].links.forget(link)
    assert (await found.ask(question, at=2)).since == 5.0
    found.kept[1].links.forget(older)
    found.kept[1].links.forget(older)
    assert not (await found.ask(question, at=2)).is_connected


async def test_a_refused_or_relayed_call_connects_nobody() -> None:
    """agent O10"""
    found = await region()
    link = Link(7.0)
    with pytest.raises(OperationError):
        await found.agents[0].agent.ask(beat(1), link)
    relayed = msgspec.structs.replace(register(1), forwarded=True)
    await found.agents[0].agent.ask(relayed, link)
    assert found.kept[0].links.newest(uuid(1)) is None
    poll = NodeGetClientAllocs(region="global", node_id=uuid(1), secret_id=uuid(1001), stale=True)
    await found.agents[0].agent.ask(poll, link)
    assert found.kept[0].links.newest(uuid(1)) is link
