"""The probe cycle: one member at a time, first directly, then through helpers and a stream.

A round moves through these states, and any ack of its sequence number ends it well:

    direct ──ProbeTimeout──▶ indirect (helpers asked, stream ping opened) ──ProbeDeadline──▶ judged

The deadline stretches with our own health score, the timeout does not (unless configured as
published): a sick node waits longer before it accuses, but asks helpers as early as ever. A round
blocks the ticker. Of the ticks that come meanwhile one is remembered, so that a slow round is
followed by the next at once.

Source: gossip.md §21, §22; memberlist state.go, probeNode.
"""

from __future__ import annotations

from swimnomad.names import Stream
from swimnomad.swim.context import Context
from swimnomad.swim.datagrams import Sender
from swimnomad.swim.events import PingCompleted
from swimnomad.swim.members import PROTOCOL_NACK, PROTOCOL_STREAM_PING, NodeEntry
from swimnomad.swim.membership import Membership
from swimnomad.swim.selection import select_random
from swimnomad.swim.streams import Streams
from swimnomad.swim.ticker import Ticker
from swimnomad.swim.timers import ProbeDeadline, ProbeTick, ProbeTimeout
from swimnomad.wire.codec import encode
from swimnomad.wire.compound import make_compound
from swimnomad.wire.messages import Ack, IndirectPing, NodeState, Ping, StreamMessage, Suspect


class ProbeRound:
    """One round as plain data.

    The target is remembered as it was when the round began: if it refutes meanwhile, the suspicion
    that this round ends with is about an old incarnation and has no effect.
    """

    __slots__ = (
        "address",
        "deadline",
        "expected_nacks",
        "has_contact",
        "incarnation",
        "is_indirect",
        "nacks",
        "sequence",
        "started",
        "stream",
        "target",
    )

    def __init__(self, sequence: int, target: NodeEntry, started: float, deadline: float) -> None:
        self.sequence = sequence
        self.target = target
        self.address = target.address
        self.incarnation = target.incarnation
        self.started = started
        self.deadline = deadline
        self.is_indirect = False
        self.expected_nacks = 0
        self.nacks = 0
        self.stream: Stream | None = None
        self.has_contact = False
        """Whether the stream ping was answered: the target lives, though datagrams fail."""


class Prober:
    """Probes every live member once in each pass over the table, in random order."""

    _ticker: Ticker

    def __init__(
        self, context: Context, sender: Sender, membership: Membership, streams: Streams
    ) -> None:
        self._context = context
        self._sender = sender
        self._membership = membership
        self._streams = streams
        self._round: ProbeRound | None = None
        self._has_missed_tick = False
        self._index = 0

    def start(self) -> None:
        """Begin to tick, at a random phase so that nodes do not probe in step."""
        context = self._context
        interval = context.config.probe_interval
        if interval > 0:
            self._ticker = Ticker(context.now + context.rng.random() * interval, interval)
            context.set_timer(ProbeTick(), self._ticker.due)

    def on_tick(self) -> None:
        """Start a round, or remember to once the present one is over."""
        context = self._context
        context.set_timer(ProbeTick(), self._ticker.advance(context.now))
        if self._round is not None:
            self._has_missed_tick = True
        else:
            self._start_round()

    # --- choosing ---------------------------------------------------------------------------------

    def _next_target(self) -> NodeEntry | None:
        table = self._context.table
        checked = 0
        # The wrap counts as a check, as in the reference: in a pool of two a round may find nobody.
        while checked < len(table):
            checked += 1
            if self._index >= len(table):
                self._index = 0
                keep = self._context.config.gossip_to_the_dead_time
                self._context.count("forgotten", table.compact(self._context.now, keep))
                continue
            entry = table[self._index]
            self._index += 1
            if not self._context.config.round_robin:
                # The index only says when the table is due for compaction.
                drawn = select_random(table, 1, self._is_probeable, self._context.rng)
                return drawn[0] if drawn else None
            if self._is_probeable(entry):
                return entry
        return None

    def _is_probeable(self, entry: NodeEntry) -> bool:
        return entry.is_live and entry is not self._context.own

    # --- the round --------------------------------------------------------------------------------

    def _start_round(self) -> None:
        target = self._next_target()
        if target is None:
            return
        context = self._context
        config = context.config
        interval = config.probe_interval
        timeout = config.probe_timeout
        if config.lha_probe:
            interval = context.awareness.scale(interval)
            if interval > config.probe_interval:
                context.count("degraded.probe")
        if config.lha_probe_timeout:
            timeout = context.awareness.scale(timeout)
        sequence = context.next_sequence()
        deadline = context.now + interval
        self._round = ProbeRound(sequence, target, context.now, deadline)
        self._send_ping(self._round)
        if timeout < interval:
            context.set_timer(ProbeTimeout(sequence), context.now + timeout)
        context.set_timer(ProbeDeadline(sequence), deadline)

    def _ping(self, probe: ProbeRound) -> Ping:
        own = self._context.own
        return Ping(probe.sequence, probe.target.name, own.ip, own.port, own.name)

    def _send_ping(self, probe: ProbeRound) -> None:
        ping = encode(self._ping(probe))
        target = probe.target
        if target.state is NodeState.SUSPECT and self._context.config.buddy:
            # The accused hears of the suspicion with the ping, at the first opportunity.
            suspect = Suspect(target.name, target.incarnation, self._context.own.name)
            self._sender.send(probe.address, make_compound([ping, encode(suspect)]), target)
        else:
            self._sender.send_piggybacked(probe.address, ping)

    def on_timeout(self, timer: ProbeTimeout) -> None:
        """The direct ping had its time: ask helpers, and try a stream."""
        probe = self._round
        if probe is None or probe.sequence != timer.sequence:
            return
        context = self._context
        probe.is_indirect = True
        own, target = context.own, probe.target
        helpers = select_random(
            context.table,
            context.config.indirect_checks,
            lambda e: e.state is NodeState.ALIVE and e is not own and e is not target,
            context.rng,
        )
        for helper in helpers:
            wants_nack = helper.protocol_max >= PROTOCOL_NACK
            probe.expected_nacks += wants_nack
            request = IndirectPing(
                probe.sequence,
                target.name,
                target.ip,
                probe.address.port,
                wants_nack,
                own.ip,
                own.port,
                own.name,
            )
            self._sender.send_piggybacked(helper.address, encode(request))
        if context.config.stream_pings and target.protocol_max >= PROTOCOL_STREAM_PING:
            self._open_stream_ping(probe)

    def _open_stream_ping(self, probe: ProbeRound) -> None:
        def on_reply(reply: StreamMessage) -> str:
            probe.stream = None
            if not isinstance(reply, Ack) or reply.sequence != probe.sequence:
                return "the answer to a stream ping is not its ack"
            probe.has_contact = True
            return ""

        def on_failure(_reason: str) -> None:
            probe.stream = None  # No contact: that the port is closed is no error.

        probe.stream = self._streams.open(
            probe.address, self._ping(probe), on_reply, on_failure, probe.deadline
        )

    def on_ack(self, ack: Ack) -> bool:
        """Take an ack; return False if it is not for the present round."""
        probe = self._round
        if probe is None or probe.sequence != ack.sequence:
            return False
        if not probe.is_indirect:
            rtt = self._context.now - probe.started
            self._context.emit(PingCompleted(probe.target.name, rtt, ack.payload or b""))
        self._succeed(probe)
        return True

    def on_nack(self, sequence: int) -> None:
        """A helper lives but could not reach the target either."""
        if self._round is not None and self._round.sequence == sequence:
            self._round.nacks += 1

    def on_deadline(self, timer: ProbeDeadline) -> None:
        """The round is over: judge it."""
        probe = self._round
        if probe is None or probe.sequence != timer.sequence:
            return
        if probe.has_contact:
            self._context.count("stream_only_contact")
            self._succeed(probe)
            return
        context = self._context
        missing = 1
        if probe.expected_nacks > 0:
            # All nacks here: our own network works, the target is to blame.
            missing = max(0, probe.expected_nacks - probe.nacks)
        context.count("probe.failed")
        context.apply_health(missing)
        self._end(probe)
        claim = Suspect(probe.target.name, probe.incarnation, context.own.name)
        self._membership.hear_suspect(claim, context.own.address)
        self._start_missed_round()

    def _succeed(self, probe: ProbeRound) -> None:
        self._context.apply_health(-1)
        self._end(probe)
        self._start_missed_round()

    def _end(self, probe: ProbeRound) -> None:
        self._context.cancel_timer(ProbeTimeout(probe.sequence))
        self._context.cancel_timer(ProbeDeadline(probe.sequence))
        if probe.stream is not None:
            self._streams.abandon(probe.stream)
        self._round = None

    def _start_missed_round(self) -> None:
        if self._has_missed_tick:
            self._has_missed_tick = False
            self._start_round()
