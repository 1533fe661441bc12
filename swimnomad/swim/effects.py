"""What a core asks its driver to do, in order. Effects are values; a test compares lists."""

from __future__ import annotations

from swimnomad.names import Address, Stream, Value
from swimnomad.swim.inputs import Timer


class Event(Value, frozen=True):
    """Base of everything a core announces to the layer above or to an observer."""


class SendDatagram(Value, frozen=True):
    """Send `data` as one UDP datagram. A failure to send is a lost packet, nothing more."""

    to: Address
    data: bytes


class OpenStream(Value, frozen=True):
    """Connect to `to` by TCP and write `data`; then pass on what arrives, or `StreamFailed`.

    Deadlines are the core's own: it sends `CloseStream` when it has waited enough, also while the
    driver is still connecting.
    """

    stream: Stream
    to: Address
    data: bytes


class WriteStream(Value, frozen=True):
    """Write `data` to an open stream."""

    stream: Stream
    data: bytes


class CloseStream(Value, frozen=True):
    """Close the stream once what was written is out; nothing more about it may come back."""

    stream: Stream


class SetTimer(Value, frozen=True):
    """Feed `TimerFired(timer)` at `at` (seconds, the node's clock). Replaces the same timer."""

    timer: Timer
    at: float


class CancelTimer(Value, frozen=True):
    """Forget the timer; cancelling an unknown one is fine."""

    timer: Timer


class Emit(Value, frozen=True):
    """Announce an event."""

    event: Event


Effect = SendDatagram | OpenStream | WriteStream | CloseStream | SetTimer | CancelTimer | Emit
"""Everything a core may ask for."""
