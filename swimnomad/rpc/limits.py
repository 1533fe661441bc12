"""Every bound and time of the RPC ends in one value.

The configuration of an agent knows two of them by Nomad's names: `limits.rpc_handshake_timeout`
and `limits.rpc_max_conns_per_client`. The others Nomad has no names for, either because they are
fixed there or because it has no such limit.

Source: rpc.md §3, §4.3, §12.1.
"""

from __future__ import annotations

from typing import Final

from swimnomad.names import Value
from swimnomad.rpc.objects import OBJECT_BYTES_MAX
from swimnomad.rpc.yamux import YamuxLimits

STREAMING_RESERVE: Final = 20
"""Connections of one client address that streaming calls may not take."""


class RpcLimits(Value, frozen=True):
    """Limits of a listener, of a pool and of the sessions of both. Durations are in seconds."""

    handshake_timeout: float = 5.0
    """For the first byte of a connection, and once more for the TLS handshake; 0 for no limit."""
    connections_per_client: int = 100
    """Connections from one client address; one more is closed at once. 0 for no limit."""
    connections_max: int = 4096
    """Connections from all clients together; one more is closed at once."""
    handshakes_max: int = 1024
    """Connections that have not said what they are yet; one more is closed at once."""
    streams_per_session: int = 1024
    """Live streams that a peer may have on one session; one more is reset."""
    unread_bytes_max: int = 64 * 1024 * 1024
    """Bytes received on one session that nobody has read; more end the session."""
    message_bytes_max: int = OBJECT_BYTES_MAX
    """Bytes of one request, reply or piece of a stream."""
    unfinished_bytes_max: int = 256 * 1024 * 1024
    """Bytes of all requests of a listener that are not whole yet; who exceeds it is cut off."""
    stall_timeout: float = 60.0
    """How long a peer may make no progress within a request, or in taking an answer."""
    departure_grace: float = 5.0
    """How long a call goes on whose caller has ended its sending side: tools that send, say that
    they are done and then read do exist; a Go program that does so is gone."""
    keep_alive_interval: float = 30.0
    """Between two pings on a session."""
    keep_alive_timeout: float = 10.0
    """For the answer to a ping."""
    write_timeout: float = 10.0
    """For one write on the connection of a session."""
    dial_timeout: float = 10.0
    """For connecting to a server; the TLS handshake gets as much again."""
    idle_streams: int = 64
    """Streams of one session kept for later calls; 2 is what a client agent keeps."""
    idle_timeout: float = 120.0
    """How long a session without calls is kept; 300 on a client agent."""

    @property
    def streaming_per_client(self) -> int:
        """Connections of one client address that carry a streaming call; 0 for no limit."""
        limit = self.connections_per_client
        return max(limit - STREAMING_RESERVE, 1) if limit else 0

    def of_session(self) -> YamuxLimits:
        """The limits of one session."""
        return YamuxLimits(
            streams_max=self.streams_per_session,
            unread_bytes_max=self.unread_bytes_max,
            ping_interval=self.keep_alive_interval,
            ping_timeout=self.keep_alive_timeout,
        )
