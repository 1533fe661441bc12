"""What an endpoint counts."""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(slots=True)
class EndpointCounters:
    """Numbers since the endpoint was opened; sizes in bytes. Only the endpoint writes them."""

    datagrams_in: int = 0
    datagram_bytes_in: int = 0
    datagrams_out: int = 0
    datagram_bytes_out: int = 0
    datagrams_dropped: int = 0
    """Received and thrown away because the inbox was full."""
    send_errors: int = 0
    """Datagrams the system refused to send: lost packets."""
    receive_errors: int = 0
    accept_errors: int = 0
    streams_in: int = 0
    streams_out: int = 0
    streams_refused: int = 0
    """Connections closed at once because too many were open."""
    stream_failures: int = 0
    streams_aborted: int = 0
    """Closed by the core but cut off because the peer did not read what was left."""
    stream_bytes_in: int = 0
    stream_bytes_out: int = 0
    inputs_dropped: int = 0
    """`InputDropped` events: bytes from peers that the core refused."""
    timers_fired: int = 0
    turns: int = 0
    """Wake-ups of the task that owns the core."""

    def as_dict(self) -> dict[str, int]:
        """The numbers by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}
