"""Faults between the sockets and the core of a live agent.

Exists only in agents that were started with fault injection allowed. While no fault is set it costs
one look into an empty table for each datagram. A stream that is blocked stalls, as one does whose
packets are lost: the bytes pass once the block is lifted, unless the core has given up before.
"""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Callable

import trio

from swimnomad.faults import FaultTable, LinkFault
from swimnomad.names import Address

DELAYED_MAX = 65_536

Handover = Callable[[bytes, Address], None]


class FaultShim:
    """The fault table of one agent (`nomad.services.FaultPort`) and what it holds back.

    Args:
        rng: Source of every draw.
        delayed_max: Datagrams held back at one time; more are lost and counted.
    """

    def __init__(self, rng: random.Random, delayed_max: int = DELAYED_MAX) -> None:
        self._table = FaultTable()
        self._rng = rng
        self._delayed_max = delayed_max
        self._delayed: list[tuple[float, int, Handover, bytes, Address]] = []
        self._sequence = 0
        self._earlier = trio.Event()
        self._rules_changed = trio.Event()
        self.datagrams_faulted = 0
        """Datagrams that were lost, damaged, delayed or doubled on purpose."""
        self.datagrams_overflowed = 0
        """Datagrams lost because too many were held back."""

    # nomad.services.FaultPort

    def list_faults(self) -> dict[str, LinkFault]:
        """Faults in force by name, oldest first."""
        return self._table.list_faults()

    def set_fault(self, name: str, fault: LinkFault) -> None:
        """Add a fault or replace the one of that name.

        Raises:
            UsageError: If a value is out of range or there are too many faults.
        """
        self._table.set_fault(name, fault)
        self._announce_change()

    def clear_faults(self, name: str | None = None) -> int:
        """Remove one fault, or all; return how many there were."""
        count = self._table.clear_faults(name)
        self._announce_change()
        return count

    # What the endpoint calls.

    def wrap_datagrams(self, send: Handover, deliver: Handover) -> tuple[Handover, Handover]:
        """`send` and `deliver` with the fault rules in between."""

        def faulty_send(data: bytes, to: Address) -> None:
            if self._table.applies("udp", inbound=False):
                self._judge(False, send, data, to)
            else:
                send(data, to)

        def faulty_deliver(data: bytes, source: Address) -> None:
            if self._table.applies("udp", inbound=True):
                self._judge(True, deliver, data, source)
            else:
                deliver(data, source)

        return faulty_send, faulty_deliver

    async def hold_stream(self, inbound: bool, remote: str, data: bytes) -> None:
        """Return when the fault rules let these bytes (none: the connection itself) pass."""
        while self._table.blocks("tcp", inbound, remote):
            await self._rules_changed.wait()
        if self._table.applies("tcp", inbound):
            delay = sum(
                delivery.delay
                for delivery in self._table.verdict("tcp", inbound, remote, data, self._rng)
            )
            await trio.sleep(delay)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Hand over what was held back when its time comes; ends only by cancellation."""
        task_status.started()
        while True:
            self._earlier = trio.Event()
            deadline = self._delayed[0][0] if self._delayed else math.inf
            with trio.move_on_at(deadline):
                await self._earlier.wait()
            now = trio.current_time()
            while self._delayed and self._delayed[0][0] <= now:
                _, _, hand_over, data, address = heapq.heappop(self._delayed)
                hand_over(data, address)

    def _judge(self, inbound: bool, hand_over: Handover, data: bytes, remote: Address) -> None:
        deliveries = self._table.verdict("udp", inbound, remote.host, data, self._rng)
        if len(deliveries) != 1 or deliveries[0].delay > 0 or deliveries[0].data != data:
            self.datagrams_faulted += 1
        for delivery in deliveries:
            if delivery.delay <= 0:
                hand_over(delivery.data, remote)
            else:
                self._hold(delivery.delay, hand_over, delivery.data, remote)

    def _hold(self, delay: float, hand_over: Handover, data: bytes, remote: Address) -> None:
        if len(self._delayed) >= self._delayed_max:
            self.datagrams_overflowed += 1
            return
        self._sequence += 1
        at = trio.current_time() + delay
        heapq.heappush(self._delayed, (at, self._sequence, hand_over, data, remote))
        if self._delayed[0][1] == self._sequence:
            self._earlier.set()

    def _announce_change(self) -> None:
        self._rules_changed.set()
        self._rules_changed = trio.Event()
