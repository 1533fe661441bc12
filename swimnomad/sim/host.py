"""A simulated machine that runs one core: carries its effects out, and what may befall it.

The states of its process: not booted, running, paused (stopped by a signal: the system still takes
datagrams and connections for it), dead. A paused process loses no timer; on resuming the overdue
ones fire first, then comes what was queued: the order in which a real agent's loop wakes. Besides,
a process may be starved, and the clock of its machine may not be the world's.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial
from typing import Any

from swimnomad.errors import UsageError
from swimnomad.faults import FaultTable, Latency
from swimnomad.journal.recipe import recipe_of
from swimnomad.journal.writer import Journal
from swimnomad.names import Address, Stream, Value
from swimnomad.sim.clock import Clock
from swimnomad.sim.cores import find_gossip_node
from swimnomad.sim.network import Network
from swimnomad.sim.schedule import Schedule
from swimnomad.sim.starvation import Action, LateReader
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
DRIFT_MAX = 0.9
DRIFT_INTERVAL_MIN = 0.001
BACKLOG_MAX = 128
"""Connections that wait to be accepted by a paused process."""

Observer = Callable[[float, str, Event], None]
"""Told of every event: time, name of the node, event. Must not call back into the world."""


def core_seed(seed: int | str, name: str, boots: int) -> str:
    """Seed of the generator for a host's next core; a restarted one does not repeat itself."""
    return f"{seed}/{name}/{boots}" if boots else f"{seed}/{name}"


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
        """Arrived while the receive buffer of a paused or starved process was full."""
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
        seed: int | str,
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
        self._seed = seed
        self._rng: random.Random | None = None
        self._clock: Clock | None = None
        self._clock_changes = 0
        self._drifts = 0
        self._own_now = 0.0
        self._late: LateReader | None = None
        self._timers: dict[Timer, SetTimer] = {}
        self._overdue: list[tuple[SetTimer, int]] = []
        self._left_over: list[Action] = []
        self._inbox: list[DatagramReceived | StreamInput] = []
        self._inbox_bytes = 0
        self._inbox_connections = 0
        self._inbound = 0

    @property
    def is_starved(self) -> bool:
        """Whether the process reads late."""
        return self._late is not None

    @property
    def clock_time(self) -> float:
        """What the machine's clock shows, in seconds since the world began."""
        now = self._schedule.now
        return now if self._clock is None else self._clock.own(now)

    @property
    def is_running(self) -> bool:
        """Whether the process exists, paused or not."""
        return self.core is not None

    def boot(self, core: Core, incarnation: int = 1) -> None:
        """Start a process around `core` at the host's address.

        The journal can be replayed if the core drew from `World.rng_for` alone.
        """
        assert self.core is None, f"{self.name} runs already"
        self.core = core
        if self._journal is not None:
            recipe = recipe_of(core, core_seed(self._seed, self.name, self.boots))
            self._note("boot", address=self.address, recipe=recipe)
        self.boots += 1
        self._network.attach(self)
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
            self._let_ticks_rest(False)
            self._note("pause")
            self.is_paused = True
            if self._late is not None:
                self._late.is_held = True

    def resume(self) -> None:
        """Let the process go on (SIGCONT)."""
        if not self.is_paused:
            return
        self._note("resume")
        self.is_paused = False
        overdue, self._overdue = self._overdue, []
        inbox, self._inbox = self._inbox, []
        left_over, self._left_over = self._left_over, []
        for read in left_over:
            read()
        if self._late is not None:
            self._late.go_on()
        for setting, changes in overdue:
            self._fire(setting, changes)
        for incoming in inbox:
            self._read_in_time(incoming)
        self._let_ticks_rest(True)

    def starve(self, delay: Latency) -> None:
        """Let the process read late: datagrams, streams and timers, each after a drawn delay.

        The order stays; what waits takes room in the same bounded buffer as for a paused process.

        Raises:
            UsageError: If the process does not run, or the distribution is not allowed.
        """
        delay.validate("delay")
        if self.core is None:
            raise UsageError(f"{self.name} does not run")
        self.feed()
        self._let_ticks_rest(False)
        self._note("starve", delay=delay)
        self._late = LateReader(self._schedule, self._own_rng(), delay)
        self._late.is_held = self.is_paused

    def feed(self) -> None:
        """Let a starved process read at once again, first of all what is waiting."""
        if self._late is None:
            return
        self._note("feed")
        waiting = self._late.take_all()
        self._late = None
        if self.is_paused:
            self._left_over += waiting
            return
        for read in waiting:
            read()
        self._let_ticks_rest(True)

    def set_clock_rate(self, rate: float) -> None:
        """Let the machine's clock run fast (above 1) or slow from now on.

        Raises:
            UsageError: If no clock runs like that.
        """
        self._own_clock().set_rate(rate, self._schedule.now)
        self._note("clock-rate", rate=rate)
        self._drifts += 1  # It wanders no more.
        self._arm_anew()

    def jump_clock(self, seconds: float) -> None:
        """Let the machine's clock jump ahead; below 0 it stands still until that much is made up.

        Raises:
            UsageError: If it is more than a day.
        """
        self._let_ticks_rest(False)
        self._own_clock().jump(seconds, self._schedule.now)
        self._note("clock-jump", seconds=seconds)
        self._arm_anew()
        self._let_ticks_rest(True)

    def drift_clock(self, deviation: float, interval: float) -> None:
        """Let the clock's rate wander: a new one each `interval` seconds, within 1 ± `deviation`.

        Raises:
            UsageError: If it could come to a stand, or would wander without a pause.
        """
        if not (0 <= deviation <= DRIFT_MAX and interval >= DRIFT_INTERVAL_MIN):
            raise UsageError(
                f"a clock drifts by 0 to {DRIFT_MAX} at intervals of {DRIFT_INTERVAL_MIN} s and "
                f"more, not by {deviation:g} at intervals of {interval:g} s"
            )
        self._note("clock-drift", deviation=deviation, interval=interval)
        self._drifts += 1
        self._wander(deviation, interval, self._drifts)

    def _wander(self, deviation: float, interval: float, drift: int) -> None:
        if drift != self._drifts:
            return
        rate = 1.0 + self._own_rng().uniform(-deviation, deviation)
        self._own_clock().set_rate(rate, self._schedule.now)
        self._arm_anew()
        self._schedule.at(self._schedule.now + interval, self._wander, deviation, interval, drift)

    def move(self, address: Address) -> None:
        """Take another address; only between two processes."""
        assert self.core is None, f"{self.name} runs"
        self.address = address

    def give(self, incoming: Value, not_before: float = 0.0) -> None:
        """Give the core an input now and carry out what it asks for. A paused one is not asked.

        `not_before` is what the machine's clock must show by now.
        """
        core = self.core
        assert core is not None, f"{self.name} does not run"
        now = own = self._schedule.now
        clock = None
        if self._clock is not None:
            # Rounding could show less than before, or than the timer that has just fired.
            clock = own = self._own_now = max(self._clock.own(now), self._own_now, not_before)
        journal = self._journal
        if journal is not None:
            journal.input(now, self.name, incoming, clock)
        try:
            effects = core.handle(incoming, own)
        except Exception as error:
            error.add_note(f"node {self.name} at {now!r} s, given {incoming!r}"[:2000])
            raise
        if journal is not None:
            journal.effects(now, self.name, effects)
        for effect in effects:
            self._carry_out(effect, now)

    def receive_datagram(self, data: bytes, source: Address) -> None:
        """Take a datagram from the network; empty ones are ignored, as gossip.md §2 wants."""
        if not data:
            return
        incoming = DatagramReceived(data, source)
        traffic = self.traffic
        must_wait = self.is_paused or self._late is not None
        if must_wait:
            size = len(data) + DATAGRAM_OVERHEAD_BYTES
            if self._inbox_bytes + size > RECEIVE_BUFFER_BYTES:
                traffic.datagrams_dropped += 1
                return
            self._inbox_bytes += size
        traffic.datagrams_received += 1
        traffic.datagram_bytes_received += len(data)
        if must_wait:
            self._put_off(incoming)
        else:
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
        if self.is_paused or self._late is not None:
            self._inbox_connections += isinstance(incoming, StreamOpened)
            self._put_off(incoming)
        else:
            self.give(incoming)

    def _put_off(self, incoming: DatagramReceived | StreamInput) -> None:
        """Let something that has arrived wait; its room in the buffer is taken."""
        if self.is_paused:
            self._inbox.append(incoming)
        else:
            self._read_in_time(incoming)

    def _read_in_time(self, incoming: DatagramReceived | StreamInput) -> None:
        if self._late is None:
            self._read(incoming)
        else:
            self._late.add(partial(self._read, incoming))

    def _read(self, incoming: DatagramReceived | StreamInput) -> None:
        """Let the core have what waited; its room is free again."""
        if isinstance(incoming, DatagramReceived):
            self._inbox_bytes -= len(incoming.data) + DATAGRAM_OVERHEAD_BYTES
        else:
            self._inbox_connections -= isinstance(incoming, StreamOpened)
        self.give(incoming)

    def _let_ticks_rest(self, allowed: bool) -> None:
        """Allow rest, or end it before something makes ticks late: a core minds late ticks.

        Who is paused or starved may not rest, whatever else begins or ends.
        """
        if self.is_paused or self._late is not None:
            return
        if self._rests and find_gossip_node(self.core) is not None:
            self.give(LetTicksRest(allowed))

    def _end(self) -> None:
        self._stream_network.abandon(self)
        self._network.detach(self)
        self.core = None
        self.is_paused = False
        if self._late is not None:
            self._late.take_all()  # to nobody
            self._late = None
        self._left_over.clear()
        self._timers.clear()
        self._overdue.clear()
        self._inbox.clear()
        self._inbox_bytes = self._inbox_connections = 0

    def _carry_out(self, effect: Any, now: float) -> None:  # noqa: ANN401 - told apart by class
        # By class and not by match: this runs for every effect, and most are of the first three.
        kind = type(effect)
        if kind is SendDatagram:
            self.traffic.datagrams_sent += 1
            self.traffic.datagram_bytes_sent += len(effect.data)
            self._network.send_datagram(self, effect.to, effect.data)
        elif kind is SetTimer:
            self._timers[effect.timer] = effect
            at = effect.at if self._clock is None else self._clock.world(effect.at)
            self._schedule.at(at, self._fire, effect, self._clock_changes)
        elif kind is Emit:
            for observer in self._observers:
                observer(now, self.name, effect.event)
        elif kind is CancelTimer:
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

    def _fire(self, setting: SetTimer, changes: int) -> None:
        if self._timers.get(setting.timer) is not setting or changes != self._clock_changes:
            return  # replaced, cancelled, of a process that is dead, or armed anew
        if self.is_paused:
            self._overdue.append((setting, changes))
        elif self._late is not None:
            self._late.add(partial(self._fire_late, setting))
        else:
            del self._timers[setting.timer]
            self.give(TimerFired(setting.timer), setting.at)

    def _fire_late(self, setting: SetTimer) -> None:
        if self._timers.get(setting.timer) is setting:
            del self._timers[setting.timer]
            self.give(TimerFired(setting.timer), setting.at)

    def _arm_anew(self) -> None:
        """The clock runs differently: every timer is due at another time of the world."""
        self._clock_changes += 1
        clock = self._own_clock()
        for setting in sorted(self._timers.values(), key=lambda one: one.at):
            at = clock.world(setting.at)
            self._schedule.at(at, self._fire, setting, self._clock_changes)

    def _own_clock(self) -> Clock:
        if self._clock is None:
            self._clock = Clock()
        return self._clock

    def _own_rng(self) -> random.Random:
        if self._rng is None:
            self._rng = random.Random(f"{self._seed}/{self.name}/host")
        return self._rng

    def _note(self, fault: str, **details: object) -> None:
        if self._journal is not None:
            self._journal.fault(self._schedule.now, self.name, fault, **details)
