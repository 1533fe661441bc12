"""The cluster that users put into their own tests."""

from __future__ import annotations

import msgspec
import pytest
import trio

from swimnomad.errors import OperationError, UsageError
from swimnomad.faults import LinkFault
from swimnomad.live.http_probe import alive_members
from swimnomad.nomad.config import AgentConfig
from swimnomad.testing import local_cluster

pytestmark = pytest.mark.live

LIMIT = 60.0


async def test_at_the_start_every_agent_sees_all_the_others() -> None:
    with trio.fail_after(LIMIT):
        async with local_cluster(3) as cluster:
            assert cluster.names == ["s1", "s2", "s3"]
            for name in cluster.names:
                assert await alive_members(cluster[name].http) == 3


async def test_a_stopped_agent_is_found_failed_and_comes_back() -> None:
    with trio.fail_after(LIMIT):
        async with local_cluster(3, scale=0.2) as cluster:
            await cluster.stop("s2")
            await cluster.wait_until(lambda: cluster.statuses("s1")["s2"] == "failed")
            await cluster.start("s2")
            await cluster.wait_converged()
            assert cluster.statuses("s3") == {"s1": "alive", "s2": "alive", "s3": "alive"}


async def test_an_agent_that_leaves_is_seen_left_and_may_come_back() -> None:
    """agent P21"""
    with trio.fail_after(LIMIT):
        async with local_cluster(2) as cluster:
            await cluster.leave("s2")
            await cluster.wait_until(lambda: cluster.statuses("s1")["s2"] == "left")
            assert cluster.names == ["s1"]
            await cluster.start("s2")
            await cluster.wait_converged()


async def test_a_fault_between_two_agents_leaves_the_third_in_touch_with_both() -> None:
    with trio.fail_after(LIMIT):
        async with local_cluster(3, scale=0.2, allow_faults=True) as cluster:
            host = cluster["s2"].config.bind_addr
            cluster["s1"].facade.faults.set_fault("cut", LinkFault(hosts=(host,), blocked=True))
            with pytest.raises(OperationError, match="did not come true"):
                # Indirect probes by s3 keep both alive.
                await cluster.wait_until(lambda: cluster.statuses("s1")["s2"] != "alive", 2.0)


async def test_the_configuration_of_each_agent_can_be_changed() -> None:
    def elsewhere(config: AgentConfig) -> AgentConfig:
        return msgspec.structs.replace(config, datacenter=f"dc-{config.name}")

    with trio.fail_after(LIMIT):
        async with local_cluster(2, config=elsewhere) as cluster:
            core = cluster["s1"].core
            assert core is not None
            tags = [member.tags["dc"] for member in core.serf.members.values()]
            assert tags == ["dc-s1", "dc-s2"]


async def test_misuse_is_named() -> None:
    with trio.fail_after(LIMIT):
        async with local_cluster(1) as cluster:
            with pytest.raises(UsageError, match="no agent called 's7' is running: there are s1"):
                cluster["s7"]
            with pytest.raises(UsageError, match="agent s1 is running"):
                await cluster.start("s1")
            with pytest.raises(UsageError, match="no node is called 's7': there are s1"):
                await cluster.start("s7")
        with pytest.raises(UsageError, match="1 to 250 agents, not 0"):
            async with local_cluster(0):
                pytest.fail("the cluster started")


async def test_an_exception_in_the_block_comes_out_as_it_is() -> None:
    with trio.fail_after(LIMIT), pytest.raises(ZeroDivisionError):
        async with local_cluster(2):
            raise ZeroDivisionError
