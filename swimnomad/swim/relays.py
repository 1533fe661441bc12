"""Indirect pings of others: we probe a node for them and pass on its ack, or send a nack.

Source: gossip.md §11.5.
"""

from __future__ import annotations

from swimnomad.names import Address, host_of_ip
from swimnomad.swim.context import Context
from swimnomad.swim.datagrams import Sender
from swimnomad.swim.timers import RelayTimeout
from swimnomad.wire.codec import encode
from swimnomad.wire.messages import Ack, IndirectPing, Nack, Ping


class _Relay:
    """What to send to whom when the node we probe for another answers, or does not."""

    __slots__ = ("deadline", "requester", "sequence", "wants_nack")

    def __init__(
        self, requester: Address, sequence: int, deadline: float, *, wants_nack: bool
    ) -> None:
        self.requester = requester
        self.sequence = sequence
        self.deadline = deadline
        self.wants_nack = wants_nack


def reply_address(ip: bytes | None, port: int, source: Address) -> Address:
    """Where to answer: the identity in the message if it has one, else where it came from."""
    if ip is not None and port and len(ip) in (4, 16):
        return Address(host_of_ip(ip), port)
    return source


class Relays:
    """The indirect pings we are working on, by the sequence number of our own ping."""

    def __init__(self, context: Context, sender: Sender) -> None:
        self._context = context
        self._sender = sender
        self._relays: dict[int, _Relay] = {}

    def on_request(self, request: IndirectPing, source: Address) -> None:
        """Probe a node for another."""
        context = self._context
        config = context.config
        if request.target_ip is None or len(request.target_ip) not in (4, 16):
            context.drop(source, "indirect-ping", "indirect ping without a usable target address")
            return
        if len(request.node) > config.name_bytes_max:
            context.drop(source, "indirect-ping", "indirect ping with too long a name")
            return
        if len(self._relays) >= config.relays_max:
            context.drop(source, "full", f"more than {config.relays_max} indirect pings")
            return
        requester = reply_address(request.source_ip, request.source_port, source)
        sequence = context.next_sequence()
        deadline = context.now + config.probe_timeout
        self._relays[sequence] = _Relay(
            requester, request.sequence, deadline, wants_nack=request.wants_nack
        )
        nack_at = context.now + config.probe_timeout * config.nack_fraction
        context.set_timer(RelayTimeout(sequence), nack_at if request.wants_nack else deadline)
        own = context.own
        ping = Ping(sequence, request.node, own.ip, own.port, own.name)
        target = Address(host_of_ip(request.target_ip), context.port_of(request.target_port))
        self._sender.send_piggybacked(target, encode(ping))

    def on_ack(self, sequence: int) -> None:
        """The node we probed for another answered: pass it on, without the payload."""
        relay = self._relays.pop(sequence, None)
        if relay is not None:
            self._context.cancel_timer(RelayTimeout(sequence))
            self._sender.send_piggybacked(relay.requester, encode(Ack(relay.sequence)))

    def on_timeout(self, timer: RelayTimeout) -> None:
        """Say that the node did not answer; with an early nack, go on waiting for its ack."""
        relay = self._relays.get(timer.sequence)
        if relay is None:
            return
        if relay.wants_nack:
            relay.wants_nack = False
            self._sender.send_piggybacked(relay.requester, encode(Nack(relay.sequence)))
        if relay.deadline > self._context.now:
            self._context.set_timer(timer, relay.deadline)
        else:
            del self._relays[timer.sequence]
