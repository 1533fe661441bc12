"""Settings of the Serf layer."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from swimnomad.names import Value
from swimnomad.swim.config import SwimConfig


class SerfConfig(Value, frozen=True):
    """Everything the Serf layer can be told; durations in seconds. Defaults: Serf's library.

    Of `swim`, the Serf layer itself sets `meta` (from `tags`), `versions` (from
    `protocol_version`) and `leave_timeout` (from `broadcast_timeout`).
    """

    swim: SwimConfig
    tags: Mapping[str, str] = msgspec.field(default_factory=dict)
    protocol_version: int = 4
    """2…5; 5 is `serf agent`, 4 the library and Nomad."""
    broadcast_timeout: float = 5.0
    leave_propagate_delay: float = 1.0
    event_buffer: int = 512
    query_buffer: int = 512
    reap_interval: float = 15.0
    """0 turns reaping off."""
    recent_intent_timeout: float = 300.0
    reconnect_interval: float = 30.0
    """0 turns reconnecting off."""
    reconnect_timeout: float = 86_400.0
    tombstone_timeout: float = 86_400.0
    flap_timeout: float = 60.0
    queue_check_interval: float = 30.0
    """0 turns the check off; a queue then knows only the limit of the gossip layer."""
    queue_depth_warning: int = 128
    queue_depth_max: int = 4096
    queue_depth_min: int = 0
    """Above 0: a queue may hold this many, or two a member if that is more."""
    user_event_bytes_max: int = 512
    """Name and payload of an event that this node sends; at most 9,216."""
    intents_max: int = 65_536
    """Buffered intents about unknown names; hostile floods stop here."""
    event_buffer_bytes_max: int = 8 * 1024 * 1024
    """Names and payloads in the event buffer; it travels whole in each push/pull."""
    waits_max: int = 1024
    """Joins waiting for their turn, and force-leaves waiting for their broadcast."""
    validate_node_names: bool = False

    def validate(self) -> None:
        """Check every field, those of the gossip layer included.

        Raises:
            UsageError: Naming the field, what was found and what is allowed.
        """
        from swimnomad.serf.validate import check_config

        check_config(self)
