"""Intents in and out: what is heard is applied and passed on, what is wrong is contradicted.

Source: serf.md §8, §9, §12.
"""

from __future__ import annotations

from swimnomad.names import Address, host_of_ip
from swimnomad.serf.context import Context
from swimnomad.serf.events import Status
from swimnomad.serf.membership import Verdict
from swimnomad.serf.timers import PruneDue
from swimnomad.swim.inputs import SendUserMessage
from swimnomad.wire.serf_messages import JoinIntent, LeaveIntent, encode_serf


class IntentTraffic:
    """Join and leave intents of one node."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._is_safe = context.config.swim.compat == "safe"

    def on_join(self, intent: JoinIntent, payload: bytes, now: float) -> None:
        """A join intent came by gossip; `payload` is passed on byte for byte."""
        if self._apply_join(intent, now).rebroadcast:
            self._context.queues.intents.queue(payload)

    def on_leave(self, intent: LeaveIntent, payload: bytes, now: float) -> None:
        """A leave intent came by gossip; `payload` is passed on byte for byte."""
        if self._apply_leave(intent, now).rebroadcast:
            self._context.queues.intents.queue(payload)

    def on_implied(self, intent: JoinIntent | LeaveIntent, now: float) -> None:
        """A push/pull implies an intent: nobody else needs to hear of it."""
        if isinstance(intent, LeaveIntent):
            self._apply_leave(intent, now)
            return
        context = self._context
        is_news = self._apply_join(intent, now, is_implied=True).rebroadcast
        if not self._is_safe:
            return
        if intent.node != context.name:
            self._ask_if_tied(intent)
        elif is_news and context.is_alive:
            # Somebody applied an intent about this node that it never heard. If that was a leave,
            # it shows as leaving there; the reference would leave it at that.
            self._contradict(now)

    def _ask_if_tied(self, intent: JoinIntent) -> None:
        """Tell a leaving member of its leave, if others may mean a join by the same time.

        A push/pull lists status times without saying what they are of. If the member's own last
        join has by chance the time of a leave that it never heard, no exchange shows a difference.
        It alone knows, and contradicts; one that does leave takes no notice.
        """
        member = self._context.membership.find_tied(intent.node, intent.ltime)
        if member is not None:
            to = Address(host_of_ip(member.ip), member.port)
            payload = encode_serf(LeaveIntent(member.status_ltime, member.name))
            self._context.orders.append(SendUserMessage(to, payload, member.name))

    def broadcast_join(self, now: float) -> None:
        """Tell the others that this node is here."""
        context = self._context
        ltime = context.clocks.member.time
        context.membership.on_join_intent(context.name, ltime, now)
        context.queues.intents.queue(encode_serf(JoinIntent(ltime, context.name)))

    def _contradict(self, now: float) -> None:
        """Tell whoever believes that this node leaves that it does not."""
        # One step ahead of the clock, where the reference takes its present time: another such
        # leave may be on its way with that very time, and would not be contradicted by a tie.
        if self._is_safe:
            self._context.clocks.member.increment()
        self.broadcast_join(now)

    def make_leave(self, node: str, now: float, *, prune: bool) -> tuple[bytes, Verdict]:
        """A new leave intent about `node`, already applied here, and what it led to."""
        clock = self._context.clocks.member
        intent = LeaveIntent(clock.time, node, prune)
        clock.increment()
        return encode_serf(intent), self._apply_leave(intent, now)

    def _apply_join(self, intent: JoinIntent, now: float, *, is_implied: bool = False) -> Verdict:
        verdict = self._context.membership.on_join_intent(
            intent.node, intent.ltime, now, is_implied=is_implied
        )
        self._context.emit(verdict.event)
        return verdict

    def _apply_leave(self, intent: LeaveIntent, now: float) -> Verdict:
        context = self._context
        verdict = context.membership.on_leave_intent(
            intent.node, intent.ltime, now, prune=intent.prune, is_alive=context.is_alive
        )
        if verdict.refute:
            self._contradict(now)
        context.emit(verdict.event)
        if verdict.prune:
            self._prune(intent.node, now)
        return verdict

    def _prune(self, node: str, now: float) -> None:
        """Erase a member; one that is leaving gets the time to do so first."""
        context = self._context
        if context.table.members[node].status is Status.LEAVING:
            delay = context.config.broadcast_timeout + context.config.leave_propagate_delay
            context.set_timer(PruneDue(node), now + delay)
        else:
            context.emit(context.membership.prune(node))
