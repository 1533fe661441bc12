"""A simulated machine that runs one core: carries its effects out, and what may befall it.

The states of its process: not booted, running, paused (stopped by a signal: the system still takes
datagrams and connections for it), dead. A paused process loses no timer; on resuming the overdue
ones fire first, then comes what was queued: the order in which a real agent's loop wakes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from swimnomad.faults import FaultTable
from swimnomad.names import Address, Stream, Value
from swimnomad.sim.cores import find_gossip_node
from swimnomad.sim.journal import Journal
from swimnomad.sim.network import Network
from swimnomad.sim.schedule import Schedule
from swimnomad.sim.streams import StreamEnd, StreamInput, StreamNetwork
from swimnomad.swim.core import Core
from swimnomad.swim.effects import (
    CancelTimer,
    CloseStream,
    Effect,
    Emit,
    Event,
    OpenStream,
    SendDatagram,
    SetTimer,
    WriteStream,
)
from swimnomad.swim.inputs import (
    DatagramReceived,
    LetTicksRest,
    Shutdown,
    Start,
    StreamOpened,
    Timer,
    TimerFired,
)

RECEIVE_BUFFER_BYTES = 425_984
"""What Linux grants a UDP socket that asks for more than its default limit of 208 KiB."""
DATAGRAM_OVERHEAD_BYTES = 768
"""What the kernel's own book-keeping adds to each queued datagram."""
BACKLOG_MAX = 128
"""Connections that wait to be accepted by a paused process."""

Observer = Callable[[float, str, Event], None]
"""Told of every event: time, name of the node, event. Must not call back into the world."""


class Traffic:
    """What a host has sent and received, in numbers."""

    __slots__ = (
        "datagram_bytes_received",
        "datagram_bytes_sent",
        "datagrams_dropped",
        "datagrams_received",
        "datagrams_sent",
        "stream_bytes_sent",
        "streams_opened",
    )

    def __init__(self) -> None:
        self.datagrams_sent = 0
        self.datagram_bytes_sent = 0
        self.datagrams_received = 0
        self.datagram_bytes_received = 0
        self.datagrams_dropped = 0
        """Arrived while the receive buffer of a paused process was full."""
        self.streams_opened = 0
        self.stream_bytes_sent = 0


class Host:
    """Drives one core after another (a restart brings a new one) at one address."""

    def __init__(
        self,
        name: str,
        address: Address,
        region: str,
        schedule: Schedule,
        network: Network,
        streams: StreamNetwork,
        journal: Journal | None,
        observers: list[Observer],
        *,
        rests: bool,
    ) -> None:
        self.name = name
        self.address = address
        self.region = region
        self.faults = FaultTable()
        self.core: Core | None = None
        """The core of the running process; after a kill None."""
        self.boots = 0
        self.is_paused = False
        self.streams: dict[Stream, StreamEnd] = {}
        self.traffic = Traffic()
        self._schedule = schedule
        self._network = network
        self._stream_network = streams
        self._journal = journal
        self._observers = observers
        self._rests = rests
        self._timers: dict[Timer, int] = {}
        self._timer_token = 0
        self._overdue: list[tuple[Timer, int]] = []
        self._inbox: list[DatagramReceived | StreamInput] = []
        self._inbox_bytes = 0
        self._inbox_connections = 0
        self._inbound = 0

    @property
    def is_running(self) -> bool:
        """Whether the process exists, paused or not."""
        return self.core is not None

    def boot(self, core: Core, incarnation: int = 1) -> None:
        """Start a process around `core` at the host's address."""
        assert self.core is None, f"{self.name} runs already"
        self.core = core
        self.boots += 1
        self._network.attach(self)
        self._note("boot", address=self.address)
        self.give(Start(self.address, incarnation))
        self._let_ticks_rest(True)

    def kill(self) -> None:
        """End the process at once; its connections are reset, it says nothing."""
        assert self.core is not None, f"{self.name} does not run"
        self._note("kill")
        self._end()

    def stop(self) -> None:
        """Let the core shut down, then end the process: what an agent does after leaving."""
        if self.core is not None:
            self.give(Shutdown())
            self._note("stop")
            self._end()

    def pause(self) -> None:
        """Stop the process (SIGSTOP): its timers wait, what arrives is queued by the system."""
        assert self.core is not None, f"{self.name} does not run"
        if not self.is_paused:
            self._let_ticks_rest(False)  # They will be late now, which a core minds.
            self._note("pause")
            self.is_paused = True

    def resume(self) -> None:
        """Let the process go on (SIGCONT)."""
        if not self.is_paused:
            return
        self._note("resume")
        self.is_paused = False
        overdue, self._overdue = self._overdue, []
        inbox, self._inbox = self._inbox, []
        self._inbox_bytes = self._inbox_connections = 0
        for timer, token in overdue:
            self._fire(timer, token)
        for incoming in inbox:
            self.give(incoming)
        self._let_ticks_rest(True)

    def move(self, address: Address) -> None:
        """Take another address; only between two processes."""
        assert self.core is None, f"{self.name} runs"
        self.address = address

    def give(self, incoming: Value) -> None:
        """Give the core an input now and carry out what it asks for. A paused one is not asked."""
        core = self.core
        assert core is not None, f"{self.name} does not run"
        now = self._schedule.now
        journal = self._journal
        if journal is not None:
            journal.input(now, self.name, incoming)
        try:
            effects = core.handle(incoming, now)
        except Exception as error:
            error.add_note(f"node {self.name} at {now!r} s, given {incoming!r}"[:2000])
            raise
        for effect in effects:
            if journal is not None:
                journal.effect(now, self.name, effect)
            self._carry_out(effect, now)

    def receive_datagram(self, data: bytes, source: Address) -> None:
        """Take a datagram from the network; empty ones are ignored, as gossip.md §2 wants."""
        if not data:
            return
        incoming = DatagramReceived(data, source)
        traffic = self.traffic
        if self.is_paused:
            size = len(data) + DATAGRAM_OVERHEAD_BYTES
            if self._inbox_bytes + size > RECEIVE_BUFFER_BYTES:
                traffic.datagrams_dropped += 1
                return
            self._inbox_bytes += size
            self._inbox.append(incoming)
        traffic.datagrams_received += 1
        traffic.datagram_bytes_received += len(data)
        if not self.is_paused:
            self.give(incoming)

    def is_listening(self) -> bool:
        """Whether connections are taken, if only by the system for a paused process."""
        return self.core is not None

    def can_accept(self) -> bool:
        """Whether the backlog has room."""
        return self.core is not None and self._inbox_connections < BACKLOG_MAX

    def next_inbound(self) -> Stream:
        """Name for an accepted connection; never used again, not even after a restart."""
        self._inbound += 1
        return Stream(True, self._inbound)

    def receive_stream(self, incoming: StreamInput) -> None:
        """Take what a connection has to report."""
        if self.core is None:
            return
        if self.is_paused:
            self._inbox.append(incoming)
            self._inbox_connections += isinstance(incoming, StreamOpened)
        else:
            self.give(incoming)

    def _let_ticks_rest(self, allowed: bool) -> None:
        if self._rests and find_gossip_node(self.core) is not None:
            self.give(LetTicksRest(allowed))

    def _end(self) -> None:
        self._stream_network.abandon(self)
        self._network.detach(self)
        self.core = None
        self.is_paused = False
        self._timers.clear()
        self._overdue.clear()
        self._inbox.clear()
        self._inbox_bytes = self._inbox_connections = 0

    def _carry_out(self, effect: Effect, now: float) -> None:
        # By class and not by match: this runs for every effect, and most are of the first three.
        kind: Any = type(effect)
        if kind is SendDatagram:
            assert isinstance(effect, SendDatagram)
            self.traffic.datagrams_sent += 1
            self.traffic.datagram_bytes_sent += len(effect.data)
            self._network.send_datagram(self, effect.to, effect.data)
        elif kind is SetTimer:
            assert isinstance(effect, SetTimer)
            self._timer_token = token = self._timer_token + 1
            self._timers[effect.timer] = token
            self._schedule.at(effect.at, self._fire, effect.timer, token)
        elif kind is Emit:
            assert isinstance(effect, Emit)
            for observer in self._observers:
                observer(now, self.name, effect.event)
        elif kind is CancelTimer:
            assert isinstance(effect, CancelTimer)
            self._timers.pop(effect.timer, None)
        else:
            self._carry_out_stream(effect)

    def _carry_out_stream(self, effect: Effect) -> None:
        match effect:
            case OpenStream(stream, to, data):
                self.traffic.streams_opened += 1
                self.traffic.stream_bytes_sent += len(data)
                self._stream_network.dial(self, stream, to, data)
            case WriteStream(stream, data):
                if end := self.streams.get(stream):
                    self.traffic.stream_bytes_sent += len(data)
                    self._stream_network.write(end, data)
            case CloseStream(stream):
                if end := self.streams.get(stream):
                    self._stream_network.close(end)
            case _:
                raise AssertionError(f"unknown effect {effect!r}")

    def _fire(self, timer: Timer, token: int) -> None:
        if self._timers.get(timer) != token:
            return  # replaced, cancelled, or of a process that is dead
        if self.is_paused:
            self._overdue.append((timer, token))
            return
        del self._timers[timer]
        self.give(TimerFired(timer))

    def _note(self, fault: str, **details: object) -> None:
        if self._journal is not None:
            self._journal.fault(self._schedule.now, self.name, fault, **details)
