"""Whole pools on a fake link: what the parts do together."""

from __future__ import annotations

from helpers import Net

from swimnomad.swim.events import JoinFinished, NodeJoined, NodeLeft
from swimnomad.wire.messages import NodeState


def test_joined_nodes_all_know_each_other() -> None:
    net = Net()
    hosts = net.pool(8)
    for host in hosts:
        assert set(host.states().values()) == {NodeState.ALIVE}
        assert {event.name for event in host.announced(NodeJoined)} == set(net.hosts)
    assert [event.joined for event in hosts[1].announced(JoinFinished)] == [1]


def test_crashed_node_is_found_dead_by_all() -> None:
    net = Net()
    net.pool(8)
    net["n3"].crash()
    net.run_until(lambda: all(h.entry("n3").state is NodeState.DEAD for h in net), 30.0)
    for host in net:
        assert [event.on_purpose for event in host.announced(NodeLeft)] == [False]
