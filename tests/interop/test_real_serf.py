"""Our nodes and real Serf agents in one pool: each sees of the other what it should.

One scenario goes through the whole life of members, in both directions at the same time: what is
done to a real agent is done to a node of ours as well, and everybody is asked about both. It runs
plain, encrypted, and with the older protocol version that Nomad servers speak.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import trio

from tests.interop.pools import (
    MixedPool,
    Peer,
    all_of,
    exchange_among,
    mixed_pool,
    until,
    until_seen,
)

pytestmark = [pytest.mark.interop, pytest.mark.live]

REAL = ("real-1", "real-2", "real-3")
OURS = ("ours-1", "ours-2", "ours-3")
ALL_ALIVE = dict.fromkeys((*REAL, *OURS), "alive")


async def start_all(pool: MixedPool) -> dict[str, Peer]:
    peers: dict[str, Peer] = {}

    async def start_real(name: str) -> None:
        peers[name] = await pool.real(name)

    async def start_ours(name: str) -> None:
        peers[name] = await pool.ours(name)

    await all_of(
        *(partial(start_real, name) for name in REAL), *(partial(start_ours, name) for name in OURS)
    )
    return peers


async def join_both_ways(peers: dict[str, Peer]) -> None:
    """Real agents join through ours, ours through real ones."""
    await peers["ours-1"].join(peers["real-1"])
    await all_of(
        partial(peers["real-2"].join, peers["ours-1"]),
        partial(peers["real-3"].join, peers["ours-1"]),
        partial(peers["ours-2"].join, peers["real-1"]),
        partial(peers["ours-3"].join, peers["real-1"]),
    )
    await until_seen(list(peers.values()), ALL_ALIVE)


async def tell_tags_and_events(peers: dict[str, Peer]) -> None:
    """Tags and user events of either side reach everybody of both."""
    await all_of(
        partial(peers["real-1"].set_tag, "role", "web"),
        partial(peers["ours-1"].set_tag, "role", "db"),
        partial(peers["real-2"].send_event, "deploy", "v1"),
        partial(peers["ours-2"].send_event, "rollback", "v0"),
    )

    async def everybody_knows() -> bool:
        for peer in peers.values():
            members = await peer.members()
            tags = (members["real-1"][1].get("role"), members["ours-1"][1].get("role"))
            events = [await peer.has_received(event) for event in ("deploy", "rollback")]
            if tags != ("web", "db") or not all(events):
                return False
        return True

    nudge = exchange_among(list(peers.values()))
    await until("tags and events are known to all", everybody_knows, nudge=nudge)


async def fail_and_force_leave(peers: dict[str, Peer]) -> None:
    """A killed member is failed for both; who force-leaves it is of the other kind."""
    await all_of(peers["real-3"].kill, peers["ours-3"].kill)
    rest = [peers[name] for name in (*REAL[:2], *OURS[:2])]
    await until_seen(rest, ALL_ALIVE | {"real-3": "failed", "ours-3": "failed"})
    await all_of(
        partial(peers["real-1"].force_leave, "ours-3"),
        partial(peers["ours-1"].force_leave, "real-3"),
    )
    await until_seen(rest, ALL_ALIVE | {"real-3": "left", "ours-3": "left"})


async def leave_while_others_return(pool: MixedPool, peers: dict[str, Peer]) -> None:
    """Two leave with a goodbye while the two that were killed come back."""

    async def bring_back_real() -> None:
        peers["real-3"] = await pool.real("real-3")
        await peers["real-3"].join(peers["ours-1"])

    async def bring_back_ours() -> None:
        peers["ours-3"] = await pool.ours("ours-3")
        await peers["ours-3"].join(peers["real-1"])

    await all_of(peers["real-2"].leave, peers["ours-2"].leave, bring_back_real, bring_back_ours)
    rest = [peers[name] for name in ("real-1", "ours-1")]
    await until_seen(rest, ALL_ALIVE | {"real-2": "left", "ours-2": "left"})


async def prune_and_return(pool: MixedPool, peers: dict[str, Peer]) -> None:
    """Those who left are forgotten on demand of the other kind, and return all the same."""
    del peers["real-2"], peers["ours-2"]

    async def prune() -> None:
        await all_of(
            partial(peers["real-1"].force_leave, "ours-2", prune=True),
            partial(peers["ours-1"].force_leave, "real-2", prune=True),
        )

    await prune()
    await until_seen(list(peers.values()), dict.fromkeys(peers, "alive"), nudge=prune)
    peers["real-2"] = await pool.real("real-2")
    peers["ours-2"] = await pool.ours("ours-2")
    await all_of(
        partial(peers["real-2"].join, peers["ours-1"]),
        partial(peers["ours-2"].join, peers["real-1"]),
    )
    await until_seen(list(peers.values()), ALL_ALIVE)


@pytest.mark.parametrize(
    ("protocol", "key"),
    [(5, None), (5, bytes(range(32))), (4, None)],
    ids=["plain", "encrypted", "protocol 4"],
)
async def test_a_mixed_pool_agrees_through_the_whole_life_of_its_members(
    serf: str, tmp_path: Path, protocol: int, key: bytes | None
) -> None:
    with trio.fail_after(300):
        async with mixed_pool(serf, tmp_path, protocol=protocol, key=key) as pool:
            peers = await start_all(pool)
            await join_both_ways(peers)
            await tell_tags_and_events(peers)
            await fail_and_force_leave(peers)
            await leave_while_others_return(pool, peers)
            await prune_and_return(pool, peers)


async def test_a_node_without_the_key_stays_outside(serf: str, tmp_path: Path) -> None:
    with trio.fail_after(60):
        async with mixed_pool(serf, tmp_path, key=bytes(32)) as locked:
            inside = await locked.real("inside")
            async with mixed_pool(serf, tmp_path) as outside:
                stranger = await outside.ours("stranger")
                with pytest.raises(AssertionError, match="joined=0"):
                    await stranger.join(inside)
            assert list(await inside.members()) == ["inside"]
