"""The measurement of how long a real agent reads, on a real agent."""

from __future__ import annotations

import pytest

from reproduce.reading import ping, real_agent, suspicion

pytestmark = [pytest.mark.interop, pytest.mark.usefixtures("serf")]


def test_a_real_agent_spends_time_on_each_message_that_waited() -> None:
    with real_agent() as agent:
        few, many = (min(agent.read_after_stop(n, ping) for _ in range(3)) for n in (10, 150))
        gossip = min(agent.read_after_stop(150, suspicion) for _ in range(3))
    assert 0 < few < many
    assert 0 < gossip < many
