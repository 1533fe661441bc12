"""How many entries a second three nodes commit, in the world and in one process.

    python -m tests.raft.raft_throughput

Seconds are of CPU, for all three nodes and the world between them.
"""

from __future__ import annotations

import time

from swimnomad.raft.inputs import Propose
from tests.raft.raft_world import RaftWorld

DATA = bytes(64)


def throughput(batch: int, entries: int) -> float:
    """Entries a second when `batch` writes arrive together, each applied by three nodes."""
    world = RaftWorld(1, snapshot_threshold=2**40)
    world.keeps_events = world.keeps_timeouts = False
    world.build(3)
    leader = world.await_leader()
    first = leader.applied
    began = time.process_time()
    for start in range(0, entries, batch):
        leader.feed(*(Propose(1000 + start + n, DATA, world.now + 10.0) for n in range(batch)))
        world.run(0.005)
    world.run(0.5)
    seconds = time.process_time() - began
    assert all(host.applied == first + entries for host in world.hosts.values())
    return entries / seconds


if __name__ == "__main__":
    for size, total in ((1, 10_000), (8, 40_000), (64, 128_000), (256, 128_000)):
        print(f"{size:4} writes together: {throughput(size, total):8.0f} entries a second of CPU")
