"""Claims applied to the member table: what a verdict changes, announces and passes on.

Source: gossip.md §16-§19.
"""

from __future__ import annotations

from typing import TypeVar

from swimnomad.names import Address, host_of_ip
from swimnomad.swim.config import META_BYTES_MAX
from swimnomad.swim.context import Context
from swimnomad.swim.datagrams import Sender
from swimnomad.swim.events import (
    NameConflictSeen,
    NodeJoined,
    NodeLeft,
    NodeRecovered,
    NodeSuspected,
    NodeUpdated,
    NodeView,
    SelfRefuted,
)
from swimnomad.swim.members import NodeEntry, Verdict, judge
from swimnomad.swim.suspicion import Suspicion
from swimnomad.swim.timers import SuspicionTimeout
from swimnomad.wire.codec import encode
from swimnomad.wire.messages import Alive, Dead, NodeState, Suspect

INCARNATION_MAX = 0xFFFF_FFFF
VERSIONS_BYTES = 6
_NEVER = float("-inf")

_View = TypeVar("_View", bound=NodeView)


def view_of(entry: NodeEntry, cls: type[_View], **more: object) -> _View:
    """What an event says about an entry."""
    return cls(
        entry.name,
        entry.ip,
        entry.port,
        entry.meta,
        entry.versions,
        entry.incarnation,
        **more,
    )


class Membership:
    """Applies claims to the table and refutes those about ourselves.

    Attributes:
        can_remind: Whether the next claim that is too old draws a reminder. Set for each datagram,
            so that a crowd of such claims draws one and not a flood.
    """

    def __init__(self, context: Context, sender: Sender) -> None:
        self._context = context
        self._sender = sender
        self.can_remind = False

    # --- alive ------------------------------------------------------------------------------------

    def announce(self, incarnation: int, meta: bytes, notify: object = None) -> None:
        """Claim to be alive with this incarnation and metadata, and tell the others.

        Unlike claims from outside it is not judged: we decide who we are.
        """
        own = self._context.own
        own.incarnation = incarnation
        own.meta = meta
        self._context.count("msg.alive")
        self._broadcast_own_alive(notify)

    def hear_alive(self, claim: Alive, source: Address) -> None:
        """Apply an alive that came in a datagram or a push/pull from `source`."""
        context = self._context
        port = context.port_of(claim.port)
        if port != claim.port:
            claim = Alive(claim.node, claim.incarnation, claim.ip, port, claim.meta, claim.versions)
        entry = context.table.get(claim.node)
        verdict = judge(entry, claim, context.rules, context.now)
        if verdict is Verdict.STALE:
            return
        if verdict is Verdict.REFUTE and len(claim.versions or b"") < 3:
            # Unusable, yet others store it as ours, and then refuse every push/pull: outbid it.
            self._refute(claim.incarnation, "alive", claim.node, source)
            return
        if self._is_refused(claim, entry, source):
            return
        match verdict:
            case Verdict.ADD:
                self._accept_alive(self._add(claim), claim)
            case Verdict.PLACEHOLDER:
                self._add(claim)
            case Verdict.ACCEPT:
                assert entry is not None
                self._accept_alive(entry, claim)
            case Verdict.REFUTE:
                self._refute(claim.incarnation, "alive", claim.node, source)
            case Verdict.CONFLICT:
                assert entry is not None
                context.count("conflicts")
                existing = view_of(entry, NodeView)
                context.emit(NameConflictSeen(existing, _view_of_claim(claim)))
            case _:
                assert verdict is Verdict.REMIND
                assert entry is not None
                self._remind(claim, entry)

    def _is_refused(self, claim: Alive, entry: NodeEntry | None, source: Address) -> bool:
        """Whether a claim that would have an effect must not have it; says why."""
        context = self._context
        kind = "alive"
        problem = _find_fault(claim, context.config.name_bytes_max)
        if not problem and not context.allowed.allow_ip(claim.ip or b""):
            kind, problem = "network", "an address in no allowed network"
        if not problem and entry is None and len(context.table) >= context.config.nodes_max:
            kind, problem = "full", f"a table full with {context.config.nodes_max} nodes"
        if not problem:
            kind, problem = "refused", context.delegate.refuse_alive(_view_of_claim(claim))
        if problem:
            context.drop(source, kind, f"{problem} (alive of {claim.node!r})")
        return bool(problem)

    def _add(self, claim: Alive) -> NodeEntry:
        """A new entry, dead until the claim is accepted."""
        assert claim.ip is not None
        assert claim.versions is not None
        versions = claim.versions[:VERSIONS_BYTES]
        dead = NodeState.DEAD
        entry = NodeEntry(claim.node, claim.ip, claim.port, b"", versions, 0, dead, _NEVER)
        self._context.table.insert(entry)
        return entry

    def _accept_alive(self, entry: NodeEntry, claim: Alive) -> None:
        context = self._context
        assert claim.ip is not None
        assert claim.versions is not None
        self._forget_suspicion(entry)
        # A received empty meta goes on as nil, as the reference passes it on; the rest as it came.
        relayed = Alive(
            claim.node, claim.incarnation, claim.ip, claim.port, claim.meta or None, claim.versions
        )
        context.queue.queue(encode(relayed), name=claim.node)
        context.count("msg.alive")
        meta = claim.meta or b""
        has_new_meta = meta != entry.meta
        old_state = entry.state
        entry.versions = claim.versions[:VERSIONS_BYTES]
        entry.incarnation = claim.incarnation
        entry.meta = meta
        entry.move(claim.ip, claim.port)
        if old_state is not NodeState.ALIVE:
            context.table.set_state(entry, NodeState.ALIVE, context.now)
        if old_state is NodeState.DEAD or old_state is NodeState.LEFT:
            context.emit(view_of(entry, NodeJoined))
            return
        if old_state is NodeState.SUSPECT:
            context.emit(view_of(entry, NodeRecovered))
        if has_new_meta:
            context.emit(view_of(entry, NodeUpdated))

    def _remind(self, claim: Alive, entry: NodeEntry) -> None:
        """Tell whoever makes a claim that is too old what we hold, so that it can refute.

        A restarted node begins at incarnation 1 while the pool remembers a higher one. Nobody
        would believe it, and without a word nobody would tell it either.
        """
        if not self.can_remind:
            return
        self.can_remind = False
        own_name = self._context.config.name
        what: Suspect | Dead
        if entry.state is NodeState.SUSPECT:
            what = Suspect(entry.name, entry.incarnation, own_name)
        else:
            accuser = entry.name if entry.state is NodeState.LEFT else own_name
            what = Dead(entry.name, entry.incarnation, accuser)
        assert claim.ip is not None
        self._context.count("reminders")
        self._sender.send(Address(host_of_ip(claim.ip), claim.port), encode(what), entry)

    # --- suspect ----------------------------------------------------------------------------------

    def hear_suspect(self, claim: Suspect, source: Address) -> None:
        """Apply a suspicion from a datagram, a push/pull, or our own failed probe."""
        context = self._context
        entry = context.table.get(claim.node)
        verdict = judge(entry, claim, context.rules, context.now)
        if verdict is Verdict.STALE or verdict is Verdict.UNKNOWN:
            return
        assert entry is not None
        match verdict:
            case Verdict.CONFIRM:
                self._confirm(entry, claim)
            case Verdict.REFUTE:
                self._refute(claim.incarnation, "suspect", claim.accuser, source)
            case _:
                assert verdict is Verdict.ACCEPT
                self._suspect(entry, claim)

    def _accuser_of(self, claim: Suspect) -> str | None:
        # Nobody suspects itself: that form says "somebody told me, I do not know who suspects".
        is_hearsay = claim.accuser == claim.node and self._context.rules.is_safe
        return None if is_hearsay else claim.accuser

    def _suspect(self, entry: NodeEntry, claim: Suspect) -> None:
        context = self._context
        context.queue.queue(encode(claim), name=claim.node)
        context.count("msg.suspect")
        entry.incarnation = claim.incarnation
        context.table.set_state(entry, NodeState.SUSPECT, context.now)
        accuser = self._accuser_of(claim)
        entry.suspicion = Suspicion(context.config, len(context.table), accuser, context.now)
        timer = SuspicionTimeout(entry.name, entry.incarnation)
        context.set_timer(timer, entry.suspicion.deadline)
        context.emit(view_of(entry, NodeSuspected, accuser=claim.accuser))

    def _confirm(self, entry: NodeEntry, claim: Suspect) -> None:
        context = self._context
        suspicion = entry.suspicion
        assert suspicion is not None
        if not suspicion.confirm(self._accuser_of(claim)):
            return
        context.queue.queue(encode(claim), name=claim.node)
        if suspicion.deadline > context.now:
            timer = SuspicionTimeout(entry.name, entry.incarnation)
            context.set_timer(timer, suspicion.deadline)
        else:
            self._expire(entry, suspicion)

    def on_suspicion_timeout(self, timer: SuspicionTimeout) -> None:
        """A suspicion was not refuted in time, unless it was: then nothing happens."""
        entry = self._context.table.get(timer.node)
        if entry is None or entry.suspicion is None or entry.incarnation != timer.incarnation:
            return
        self._expire(entry, entry.suspicion)

    def _expire(self, entry: NodeEntry, suspicion: Suspicion) -> None:
        if suspicion.is_degraded:
            self._context.count("degraded.timeout")
        claim = Dead(entry.name, entry.incarnation, self._context.config.name)
        self.hear_dead(claim, self._context.own.address)

    def _forget_suspicion(self, entry: NodeEntry) -> None:
        if entry.suspicion is not None:
            entry.suspicion = None
            self._context.cancel_timer(SuspicionTimeout(entry.name, entry.incarnation))

    # --- dead -------------------------------------------------------------------------------------

    def hear_dead(self, claim: Dead, source: Address, notify: object = None) -> None:
        """Apply a death or departure; our own departure carries the token of its operation."""
        context = self._context
        entry = context.table.get(claim.node)
        verdict = judge(entry, claim, context.rules, context.now)
        if verdict is Verdict.REFUTE:
            self._refute(claim.incarnation, "dead", claim.accuser, source)
        if verdict is not Verdict.ACCEPT:
            return
        assert entry is not None
        self._forget_suspicion(entry)
        context.queue.queue(encode(claim), name=claim.node, notify=notify)
        context.count("msg.dead")
        entry.incarnation = claim.incarnation
        has_left = claim.accuser == claim.node
        state = NodeState.LEFT if has_left else NodeState.DEAD
        context.table.set_state(entry, state, context.now)
        context.emit(view_of(entry, NodeLeft, on_purpose=has_left))

    # --- ourselves --------------------------------------------------------------------------------

    def _refute(self, accused: int, claim: str, accuser: str, source: Address) -> None:
        """Answer a wrong claim about ourselves with a higher incarnation."""
        context = self._context
        own = context.own
        incarnation = max(own.incarnation, accused) + 1
        if incarnation > INCARNATION_MAX:
            if context.rules.is_safe:
                # There is no higher number, and falling back to 0 would silence us for ever.
                reason = f"{claim} of ourselves by {accuser!r} with the highest incarnation"
                context.drop(source, "incarnation", reason)
                return
            incarnation &= INCARNATION_MAX
        own.incarnation = incarnation
        context.apply_health(1)
        context.count(f"msg.{claim}.refuted")
        self._broadcast_own_alive(None)
        context.emit(SelfRefuted(incarnation, claim, accuser))

    def _broadcast_own_alive(self, notify: object) -> None:
        own = self._context.own
        alive = Alive(own.name, own.incarnation, own.ip, own.port, own.meta, own.versions)
        self._context.queue.queue(encode(alive), name=own.name, notify=notify)


def _view_of_claim(claim: Alive) -> NodeView:
    return NodeView(
        claim.node,
        claim.ip or b"",
        claim.port,
        claim.meta or b"",
        (claim.versions or b"")[:VERSIONS_BYTES],
        claim.incarnation,
    )


def _find_fault(claim: Alive, name_bytes_max: int) -> str:
    """What makes an alive unusable; empty if nothing does.

    A vector that is short or zero must never be stored: one such node makes every version check
    in the pool fail, and with it every push/pull.
    """
    versions = claim.versions or b""
    if len(versions) < VERSIONS_BYTES:
        return f"{len(versions)} version bytes instead of {VERSIONS_BYTES}"
    if not 0 < versions[0] <= versions[1]:
        return f"impossible protocol versions {versions[0]} to {versions[1]}"
    if claim.ip is None or len(claim.ip) not in (4, 16):
        return f"an address of {len(claim.ip or b'')} bytes"
    if not 0 < len(claim.node) <= name_bytes_max:
        return f"a name of {len(claim.node)} bytes"
    if claim.meta is not None and len(claim.meta) > META_BYTES_MAX:
        return f"metadata of {len(claim.meta)} bytes"
    return ""
