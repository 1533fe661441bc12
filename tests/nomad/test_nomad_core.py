"""The whole protocol stack of a server: gossip below, tables of servers above."""

from __future__ import annotations

import msgspec

from swimnomad.names import Address
from swimnomad.nomad.config import AgentConfig, GossipConfig, ServerConfig
from swimnomad.nomad.peers import NonServerSeen, ServerAdded, ServerRemoved
from swimnomad.serf.events import MemberFailed, MemberJoined
from swimnomad.serf.inputs import SetTags
from swimnomad.swim.effects import Event
from tests.agent_world import AgentWorld


def config(number: int, region: str = "global", *, any_serf: bool = False) -> AgentConfig:
    return AgentConfig(
        name=f"s{number}",
        region=region,
        bind_addr=f"127.0.61.{number}",
        server=ServerConfig(enabled=True),
        gossip=GossipConfig(profile="local", allow_any_serf=any_serf),
    )


def told(world: AgentWorld, node: str) -> list[Event]:
    """Events of one node from now on."""
    events: list[Event] = []
    world.world.observers.append(
        lambda now, name, event: events.append(event) if name.startswith(node) else None
    )
    return events


async def test_a_server_stands_in_its_own_tables_from_the_start() -> None:
    world = AgentWorld()
    core = world.start(config(1)).core
    assert core is not None
    assert core.servers.regions == ["global"]
    assert list(core.servers.local_peers) == [Address("127.0.61.1", 4647)]


async def test_changes_of_the_tables_follow_the_events_that_caused_them() -> None:
    """agent P01, agent P02"""
    world = AgentWorld()
    events = told(world, "s1")
    first, second = await world.cluster(config(1), config(2, "eu"))
    world.kill(second)
    world.world.run_for(60.0)
    names = [
        (
            type(event),
            event.member.name
            if isinstance(event, MemberJoined | MemberFailed)
            else event.server.name,
        )
        for event in events
        if isinstance(event, MemberJoined | MemberFailed | ServerAdded | ServerRemoved)
    ]
    assert names == [
        (MemberJoined, "s1.global"),
        (ServerAdded, "s1.global"),
        (MemberJoined, "s2.eu"),
        (ServerAdded, "s2.eu"),
        (MemberFailed, "s2.eu"),
        (ServerRemoved, "s2.eu"),
    ]
    assert first.core is not None
    assert first.core.servers.regions == ["global"]


async def test_a_stranger_is_a_member_but_no_server_where_anyone_is_welcome() -> None:
    world = AgentWorld()
    events = told(world, "s1")
    first, second = world.start(config(1, any_serf=True)), world.start(config(2, any_serf=True))
    await second.services.execute(lambda op: SetTags(op, (("role", "web"),)))
    assert (await first.agent.join(["127.0.61.2"])).joined == 1
    world.world.run_for(2.0)
    assert NonServerSeen("s2.global") in events
    assert first.core is not None
    assert "s2.global" in first.core.serf.members
    assert list(first.core.servers.peers["global"]) == ["s1.global"]


async def test_a_server_that_returns_is_in_the_tables_again() -> None:
    """agent P20, agent P22"""
    world = AgentWorld()
    first, second = await world.cluster(config(1), config(2))
    world.kill(second)
    world.world.run_for(60.0)
    elsewhere = msgspec.structs.replace(config(2), bind_addr="127.0.61.9")
    third = world.start(elsewhere)
    assert (await third.agent.join(["127.0.61.1"])).joined == 1
    world.world.run_for(5.0)
    assert first.core is not None
    assert first.core.serf.members["s2.global"].status.text == "alive"
    assert Address("127.0.61.9", 4647) in first.core.servers.local_peers
    assert Address("127.0.61.2", 4647) not in first.core.servers.local_peers
