"""A machine outside the cluster that sends junk: what a misdirected or hostile sender does."""

from __future__ import annotations

import random
from functools import partial

from swimnomad.faults import FaultTable
from swimnomad.names import Address
from swimnomad.scenario.junk import junk
from swimnomad.sim.world import World


class Stranger:
    """Sends datagrams through a simulated network; nobody listens at its address."""

    def __init__(self, world: World) -> None:
        self.name = "stranger"
        self.region = ""
        self.address = world.new_address()
        self.faults = FaultTable()
        self._world = world

    def receive_datagram(self, data: bytes, source: Address) -> None:
        """It is never attached, so nothing arrives."""

    def flood(self, to: Address, rate: int, size: int, duration: float, rng: random.Random) -> None:
        """Send `rate` datagrams of `size` bytes a second, evenly, for `duration` seconds."""
        self._send(to, 1 / rate, size, self._world.now + duration, rng)

    def _send(self, to: Address, spacing: float, size: int, end: float, rng: random.Random) -> None:
        schedule = self._world.schedule
        if schedule.now >= end:
            return
        self._world.network.send_datagram(self, to, junk(rng, size))
        schedule.at(schedule.now + spacing, partial(self._send, to, spacing, size, end, rng))
