"""For your own tests: a cluster of real agents inside the test's own trio loop.

    from swimnomad.testing import local_cluster

    async def test_my_tool_sees_the_members() -> None:
        async with local_cluster(3) as cluster:
            assert my_tool(cluster["s1"].http_url) == ["s1", "s2", "s3"]

The agents gossip over real sockets on loopback and serve the HTTP API; ports are chosen by the
system, so tests run side by side.
"""

from swimnomad.testing.cluster import InProcessCluster, local_cluster

__all__ = ["InProcessCluster", "local_cluster"]
