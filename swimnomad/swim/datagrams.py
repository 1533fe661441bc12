"""Sending datagrams: alone, with broadcasts piggybacked, or broadcasts only.

The primary message of a piggybacked datagram comes first. Membership broadcasts go before those of
the application, so that a chatty application cannot delay the news of a failure.

Source: gossip.md §8, §11.2, §24, §25.4.
"""

from __future__ import annotations

from swimnomad.names import Address
from swimnomad.swim.context import Context
from swimnomad.swim.effects import SendDatagram
from swimnomad.swim.members import PROTOCOL_CRC, NodeEntry
from swimnomad.wire.compound import (
    HEADER_BYTES,
    PART_OVERHEAD_BYTES,
    PARTS_MAX,
    make_compound,
)
from swimnomad.wire.messages import MessageType
from swimnomad.wire.packets import PacketCodec

USER_PREFIX = bytes((MessageType.USER,))
_USER_OVERHEAD = PART_OVERHEAD_BYTES + len(USER_PREFIX)


class Sender:
    """Puts messages into datagrams and asks for them to be sent."""

    def __init__(self, context: Context, codec: PacketCodec, plain_codec: PacketCodec) -> None:
        self._context = context
        self._codec = codec
        self._plain_codec = plain_codec

    def send(self, to: Address, message: bytes, entry: NodeEntry | None = None) -> None:
        """Send one message alone.

        Args:
            to: Where to.
            message: Its bytes; may be a compound.
            entry: The receiver if it is known, which decides whether there is a checksum.
        """
        with_crc = entry is not None and entry.protocol_max >= PROTOCOL_CRC
        codec = self._codec if self._context.is_compressing else self._plain_codec
        data = codec.pack(message, with_crc)
        counters = self._context.counters
        counters["udp.sent"] = counters.get("udp.sent", 0) + len(data)
        self._context.effects.append(SendDatagram(to, data))

    def send_piggybacked(self, to: Address, message: bytes) -> None:
        """Send a message with as many broadcasts as fit behind it."""
        budget = (
            self._context.config.packet_bytes_max
            - len(message)
            - HEADER_BYTES
            - self._codec.overhead
        )
        self._send_parts(to, [message, *self.fetch(budget)], None)

    def gossip(self, entry: NodeEntry) -> bool:
        """Send a datagram of broadcasts; return False if there was nothing to send."""
        budget = self._context.config.packet_bytes_max - HEADER_BYTES - self._codec.overhead
        parts = self.fetch(budget)
        if parts:
            self._send_parts(entry.address, parts, entry)
        return bool(parts)

    def has_news(self) -> bool:
        """Whether any broadcast waits to be sent."""
        return len(self._context.queue) > 0 or self._context.delegate.has_broadcasts()

    def fetch(self, budget: int) -> list[bytes]:
        """The broadcasts for one datagram with `budget` bytes left."""
        context = self._context
        parts = context.queue.fetch(PART_OVERHEAD_BYTES, budget, len(context.table))
        left = budget - sum(map(len, parts)) - PART_OVERHEAD_BYTES * len(parts)
        if left > _USER_OVERHEAD:
            for payload in context.delegate.broadcasts(_USER_OVERHEAD, left, context.now):
                parts.append(USER_PREFIX + payload)
        return parts

    def _send_parts(self, to: Address, parts: list[bytes], entry: NodeEntry | None) -> None:
        # Rarely more than one datagram: only when the application has a crowd of tiny messages.
        for start in range(0, len(parts), PARTS_MAX):
            chunk = parts[start : start + PARTS_MAX]
            self.send(to, chunk[0] if len(chunk) == 1 else make_compound(chunk), entry)
