"""The gossip tick: broadcasts to a few random members, and the sign that we lag behind.

Compression is the dearest part of sending and receiving, and it only saves bytes: peers take plain
and compressed messages alike. A node whose ticks come late has no time to spare, and while it is
late others suspect it, which makes more to send; so it sends plain until it has caught up. Our own
rule; memberlist compresses always.

Source: gossip.md §24.
"""

from __future__ import annotations

from swimnomad.swim.context import Context
from swimnomad.swim.datagrams import Sender
from swimnomad.swim.members import NodeEntry
from swimnomad.swim.selection import select_random
from swimnomad.swim.ticker import Ticker
from swimnomad.swim.timers import GossipTick
from swimnomad.wire.messages import NodeState

LATE_SHARE = 0.5
"""A tick that comes later than this share of the interval is late."""


class Gossiper:
    """Spreads what is in the broadcast queue."""

    _ticker: Ticker

    def __init__(self, context: Context, sender: Sender) -> None:
        self._context = context
        self._sender = sender
        self._may_rest = False
        self.is_resting = False
        """Whether no tick is armed, because there was nothing to send at the last one."""

    def start(self) -> None:
        """Begin to tick, at a random phase so that nodes do not gossip in step."""
        context = self._context
        interval = context.config.gossip_interval
        if interval > 0 and context.config.gossip_nodes > 0:
            self._ticker = Ticker(context.now + context.rng.random() * interval, interval)
            context.set_timer(GossipTick(), self._ticker.due)

    def on_tick(self) -> None:
        """Gossip to some members; each gets its own share of the queue."""
        context = self._context
        is_late = self._mind_lateness(context.now - self._ticker.due)
        due = self._ticker.advance(context.now)
        has_news = self._sender.has_news()
        # After a late tick the next one has to show whether we have caught up.
        if self._may_rest and not has_news and not is_late:
            self.is_resting = True
            return
        context.set_timer(GossipTick(), due)
        if not has_news:
            return  # No draws: then it does not matter how many empty ticks there were.
        count = context.config.gossip_nodes
        for entry in select_random(context.table, count, self._is_worth_telling, context.rng):
            if not self._sender.gossip(entry):
                break

    def let_rest(self, allowed: bool) -> None:
        """Sleep through ticks that have nothing to send, or do so no more."""
        self._may_rest = allowed
        if self.is_resting and not allowed:
            self._wake()

    def wake_for_news(self) -> None:
        """Arm the tick again if there is something to send. Only for one that rests."""
        if self._sender.has_news():
            self._wake()

    def stop(self) -> None:
        """Tick no more."""
        self.is_resting = False

    def _wake(self) -> None:
        self.is_resting = False
        self._context.set_timer(GossipTick(), self._ticker.catch_up(self._context.now))

    def _mind_lateness(self, lateness: float) -> bool:
        config = self._context.config
        is_late = lateness > LATE_SHARE * config.gossip_interval
        self._context.is_compressing = config.compression and (
            config.compress_when_late or not is_late
        )
        return is_late

    def _is_worth_telling(self, entry: NodeEntry) -> bool:
        if entry is self._context.own or entry.state is NodeState.LEFT:
            return False
        if entry.state is not NodeState.DEAD:
            return True
        # The newly dead are told as well: a live one among them can refute.
        keep = self._context.config.gossip_to_the_dead_time
        return self._context.now - entry.state_change <= keep
