"""One core on real sockets: the task that owns it, and what it needs from the world.

One task owns the core. It waits on a bounded inbox until the earliest deadline, feeds what came,
then the timers that are due, and carries out the effects in order; nothing it does between two
waits waits itself. Everybody else (readers, listeners, callers of `execute`) only adds to the
inbox. So the core needs no lock, and the order of its inputs is the order of the journal.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import trio

from swimnomad.errors import OperationError, UsageError
from swimnomad.live.alarm import AlarmClock
from swimnomad.live.bind import BoundSockets, bind_pair
from swimnomad.live.connection import StreamLimits
from swimnomad.live.counters import EndpointCounters
from swimnomad.live.hub import EventHub
from swimnomad.live.inbox import Inbox
from swimnomad.live.nurseries import plain_nursery
from swimnomad.live.operations import Operations
from swimnomad.live.shim import FaultShim, Handover
from swimnomad.live.tcp import StreamTable
from swimnomad.live.timers import TimerHeap
from swimnomad.live.udp import DatagramPort
from swimnomad.names import Address, Operation, Value
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
from swimnomad.swim.events import InputDropped
from swimnomad.swim.inputs import (
    DatagramReceived,
    Shutdown,
    Start,
    StreamEnded,
    StreamFailed,
    StreamOpened,
    StreamReceived,
    TimerFired,
)

LOOPBACK = Address("127.0.0.1", 0)
Witness = Callable[[float, Any, list[Effect]], None]
"""Told of a step of the core: its time, what it was given, what it asks for."""
_STREAM_INPUTS = (StreamOpened, StreamReceived, StreamEnded, StreamFailed)


class EndpointLimits(Value, frozen=True):
    """Bounds of an endpoint."""

    inbox_items: int = 4096
    inbox_bytes: int = 16 * 1024 * 1024
    datagrams_per_wake: int = 64
    """Read from the socket before anybody else gets a turn."""
    inputs_per_turn: int = 256
    """Fed to the core, and as many timers, before anybody else gets a turn."""
    streams: StreamLimits = StreamLimits()


class GossipEndpoint:
    """A core on one UDP socket and one TCP listener of the same port.

    Args:
        core: What speaks the protocol.
        sockets: From `bind_pair`; the endpoint closes them.
        start: The core's first input; by default `Start` with the bound address.
        limits: Bounds.
        shim: Faults between socket and core; None unless fault injection is allowed.
        journal: Called with every `(now, input, effects)` before the effects are carried out.
    """

    def __init__(
        self,
        core: Core,
        sockets: BoundSockets,
        *,
        start: Start | None = None,
        limits: EndpointLimits | None = None,
        shim: FaultShim | None = None,
        journal: Witness | None = None,
    ) -> None:
        self.core = core
        self.address = sockets.address
        self.counters = EndpointCounters()
        self.hub = EventHub()
        self._limits = limits or EndpointLimits()
        self._sockets = sockets
        self._start = start or Start(sockets.address)
        self._shim = shim
        self._journal = journal
        self._inbox = Inbox(self._limits.inbox_items, self._limits.inbox_bytes)
        self._timers = TimerHeap()
        self._operations = Operations()
        self._udp = DatagramPort(sockets.udp, self.counters, self._limits.datagrams_per_wake)
        self._streams = StreamTable(
            sockets.address, self._inbox, self.counters, self._limits.streams, shim
        )
        self._send: Handover = self._udp.send
        self._deliver: Handover = self._take_datagram
        if shim is not None:
            self._send, self._deliver = shim.wrap_datagrams(self._udp.send, self._take_datagram)
        self._carry_out: dict[type[Effect], Callable[[Any], None]] = {
            SendDatagram: self._send_datagram,
            SetTimer: self._set_timer,
            CancelTimer: self._cancel_timer,
            Emit: self._emit,
            OpenStream: self._open_stream,
            WriteStream: self._write_stream,
            CloseStream: self._close_stream,
        }
        self._nursery: trio.Nursery | None = None
        self._is_stopped = False

    # For callers.

    async def execute(self, make_command: Callable[[Operation], Any]) -> Event:
        """Give the core a command under a fresh operation number; wait for its outcome event.

        Cancelled before the command found room in the inbox, it has not happened; later, it goes
        on without a witness.

        Raises:
            UsageError: If the core refuses the command; nothing has changed.
            OperationError: If the endpoint stopped before the outcome was known.
        """
        if self._is_stopped:
            raise OperationError("the agent has stopped", may_have_happened=False)
        with self._operations.begin() as operation:
            await self._inbox.put(make_command(operation.number))
            return await operation.outcome()

    @property
    def stream_count(self) -> int:
        """Connections that the core knows and those that linger."""
        return max(len(self._streams), self._streams.inbound_open)

    @property
    def timer_count(self) -> int:
        """Timers armed."""
        return len(self._timers)

    @property
    def inbox_length(self) -> int:
        """Inputs that wait for the core."""
        return len(self._inbox)

    # The endpoint's tasks.

    async def serve(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run until cancelled; started once the core has had its first input.

        At the end the core is told to shut down, waiting callers get an error, subscribers the
        end of their stream, and the sockets are closed.
        """
        try:
            AlarmClock.current()
            async with trio.open_nursery() as self._nursery:
                if self._shim is not None:
                    await self._nursery.start(self._shim.run)
                self._feed(self._start, trio.current_time())
                self._nursery.start_soon(self._udp.read_forever, self._deliver)
                self._nursery.start_soon(
                    self._streams.accept_forever, self._sockets.listener, self._nursery
                )
                task_status.started()
                await self._own_core()
        finally:
            self._stop()

    async def _own_core(self) -> None:
        while True:
            await self._inbox.wait(self._timers.next_deadline())
            self.counters.turns += 1
            self._feed_inbox()
            if self._timers.next_deadline() <= trio.current_time():
                # After a pause (a stopped process, a busy machine) the answers we waited for lie
                # in the socket: taking them first keeps us from suspecting those who sent them.
                self._udp.drain(self._deliver)
                self._feed_inbox()
                self._feed_timers()

    def _feed_inbox(self) -> None:
        inbox = self._inbox
        for _ in range(self._limits.inputs_per_turn):
            incoming = inbox.take()
            if incoming is None:
                return
            if type(incoming) is DatagramReceived:
                self._feed(incoming, trio.current_time())
            elif isinstance(incoming, _STREAM_INPUTS):
                self._feed_stream_input(incoming)
            else:
                self._feed_command(incoming)

    def _feed_timers(self) -> None:
        """Fire what is due now, within bounds.

        A core that keeps setting timers for the past must not keep everybody else from running.
        """
        due = trio.current_time()
        for _ in range(self._limits.inputs_per_turn):
            timer = self._timers.pop_due(due)
            if timer is None:
                return
            self.counters.timers_fired += 1
            self._feed(TimerFired(timer), trio.current_time())

    def _feed_stream_input(
        self, incoming: StreamOpened | StreamReceived | StreamEnded | StreamFailed
    ) -> None:
        if incoming.stream not in self._streams:
            return  # The core closed it meanwhile: nothing more about it may come.
        if isinstance(incoming, StreamFailed):
            self._streams.forget(incoming.stream)
        self._feed(incoming, trio.current_time())

    def _feed_command(self, command: Any) -> None:  # noqa: ANN401 - each core has its own union
        try:
            self._feed(command, trio.current_time())
        except UsageError as error:
            if not self._operations.refuse(getattr(command, "operation", None), error):
                raise

    def _feed(self, incoming: Any, now: float) -> None:  # noqa: ANN401 - as above
        effects = self.core.handle(incoming, now)
        if self._journal is not None:
            self._journal(now, incoming, effects)
        carry_out = self._carry_out
        for effect in effects:
            carry_out[type(effect)](effect)

    def _take_datagram(self, data: bytes, source: Address) -> None:
        if not self._inbox.offer(DatagramReceived(data, source), len(data)):
            self.counters.datagrams_dropped += 1

    def _stop(self) -> None:
        if self._is_stopped:
            return
        self._is_stopped = True
        self._nursery = None
        self._feed(Shutdown(), trio.current_time())
        self._timers.clear()
        self._operations.stop()
        self.hub.close()
        self._sockets.close()

    # Effects.

    def _send_datagram(self, effect: SendDatagram) -> None:
        self._send(effect.data, effect.to)

    def _set_timer(self, effect: SetTimer) -> None:
        self._timers.set(effect.timer, effect.at)

    def _cancel_timer(self, effect: CancelTimer) -> None:
        self._timers.cancel(effect.timer)

    def _emit(self, effect: Emit) -> None:
        event = effect.event
        if isinstance(event, InputDropped):
            self.counters.inputs_dropped += 1
        operation = getattr(event, "operation", None)
        if operation is not None:
            self._operations.finish(operation, event)
        self.hub.publish(event)

    def _open_stream(self, effect: OpenStream) -> None:
        if self._nursery is not None:
            self._streams.open(effect.stream, effect.to, effect.data, self._nursery)

    def _write_stream(self, effect: WriteStream) -> None:
        self._streams.write(effect.stream, effect.data)

    def _close_stream(self, effect: CloseStream) -> None:
        self._streams.close(effect.stream)


@asynccontextmanager
async def open_endpoint(
    core: Core,
    wanted: Address = LOOPBACK,
    *,
    limits: EndpointLimits | None = None,
    shim: FaultShim | None = None,
    journal: Witness | None = None,
) -> AsyncIterator[GossipEndpoint]:
    """A core on sockets bound to `wanted` for the length of the block.

    Raises:
        UsageError: If the address cannot be had.
    """
    endpoint = GossipEndpoint(core, bind_pair(wanted), limits=limits, shim=shim, journal=journal)
    async with plain_nursery() as nursery:
        await nursery.start(endpoint.serve)
        try:
            yield endpoint
        finally:
            nursery.cancel_scope.cancel()
