"""A simulated world: virtual time, a network and hosts; the same seed gives the same run."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from swimnomad.errors import UsageError
from swimnomad.faults import FaultTable, LinkFault, Transport, partition_faults
from swimnomad.journal.writer import Journal
from swimnomad.names import Address
from swimnomad.sim.host import Host, Observer, core_seed
from swimnomad.sim.network import Link, Network
from swimnomad.sim.schedule import Schedule
from swimnomad.sim.streams import StreamNetwork

GOSSIP_PORT = 4648
HOSTS_MAX = 65_536


class World:
    """Everything there is in one simulation.

    Args:
        seed: Determines every draw: each node's generator is seeded `seed/name`, the network's
            `seed/network`, so that a new draw in one place does not disturb the others.
        journal: Where to record the run; None records nothing and is faster.
        rests: Whether nodes with nothing to gossip sleep through their gossip ticks; it changes
            nothing but the speed, and that the journal lacks these ticks.
    """

    def __init__(
        self, seed: int | str, journal: Journal | None = None, *, rests: bool = True
    ) -> None:
        self.seed = seed
        self.journal = journal
        self.rests = rests
        self.schedule = Schedule()
        self.network = Network(self.schedule, random.Random(f"{seed}/network"), journal)
        self.hosts: dict[str, Host] = {}
        self.observers: list[Observer] = []
        self._streams = StreamNetwork(self.network)
        self._addresses = 0

    @property
    def now(self) -> float:
        """Seconds since the world began."""
        return self.schedule.now

    def add_host(self, name: str, region: str = "global") -> Host:
        """Add a machine with an address of its own; nothing runs on it yet.

        Raises:
            UsageError: If the name is taken or the world is full.
        """
        if name in self.hosts:
            raise UsageError(f"there is a host named {name!r} already")
        host = Host(
            name,
            self.new_address(),
            region,
            self.schedule,
            self.network,
            self._streams,
            self.journal,
            self.observers,
            rests=self.rests,
            seed=self.seed,
        )
        self.hosts[name] = host
        return host

    def new_address(self) -> Address:
        """An address that nobody has had in this world.

        Raises:
            UsageError: If all are used up.
        """
        self._addresses += 1
        number = self._addresses
        if number > HOSTS_MAX:
            raise UsageError(f"a world has at most {HOSTS_MAX} addresses")
        return Address(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", GOSSIP_PORT)

    def rng_for(self, name: str) -> random.Random:
        """The generator for the next core of a host: a restarted one does not repeat itself."""
        host = self.hosts.get(name)
        return random.Random(core_seed(self.seed, name, host.boots if host else 0))

    def set_link(
        self, source: str, target: str, link: Link, transport: Transport | None = None
    ) -> None:
        """Set what the way from one region or node to another is like; see `Network.set_link`."""
        self.network.set_link(source, target, link, transport)
        if self.journal is not None:
            self._note(source, "set-link", target=target, link=link, transport=transport)

    def set_fault(self, node: str, name: str, fault: LinkFault) -> None:
        """Put a fault into the table of a node, or replace the one of that name."""
        self.hosts[node].faults.set_fault(name, fault)
        self._note(node, "set-fault", name=name, rule=fault)

    def clear_faults(self, node: str, name: str | None = None) -> int:
        """Remove one fault of a node, or all; return how many there were."""
        self._note(node, "clear-faults", name=name)
        return self.hosts[node].faults.clear_faults(name)

    def partition(
        self, first: Sequence[str], second: Sequence[str], *, one_way: bool = False
    ) -> None:
        """Cut the links between two groups of nodes until `heal`.

        One-way, nothing gets from the first to the second any more. Nodes in neither group keep
        their links to both: a partial partition.
        """
        hosts = self.hosts
        for node, fault in partition_faults(
            {name: hosts[name].address.host for name in first},
            {name: hosts[name].address.host for name in second},
            one_way=one_way,
        ).items():
            self.set_fault(node, f"partition {','.join(first)} {','.join(second)}", fault)

    def heal(self) -> None:
        """Remove every fault from every node."""
        for node, host in self.hosts.items():
            if host.faults.list_faults():
                self.clear_faults(node)

    def fault_table(self, node: str) -> FaultTable:
        """A node's own faults."""
        return self.hosts[node].faults

    def run_until(self, time: float) -> None:
        """Let everything happen that is due up to `time` (seconds since the beginning)."""
        self.schedule.run_until(time)

    def run_for(self, duration: float) -> None:
        """Let `duration` seconds pass."""
        self.schedule.run_until(self.now + duration)

    def run_while(self, condition: Callable[[], bool], until: float) -> bool:
        """Run as long as `condition()` holds, asked after every action.

        Returns:
            True if it no longer holds, False if it still does at `until`.
        """
        schedule = self.schedule
        while condition():
            due = schedule.next_time()
            if due is None or due > until:
                schedule.run_until(until)
                return not condition()
            schedule.step()
        return True

    def _note(self, node: str, fault: str, **details: object) -> None:
        if self.journal is not None:
            self.journal.fault(self.now, node, fault, **details)
