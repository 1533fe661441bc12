"""Settings of the Serf layer."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from swimnomad.names import Value
from swimnomad.swim.config import SwimConfig


class SerfConfig(Value, frozen=True):
    """Everything the Serf layer can be told; durations in seconds. Defaults: Serf's library.

    `swim.meta` and `swim.versions` are set by the Serf layer from `tags` and `protocol_version`.
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
    recent_intent_timeout: float = 300.0
    reconnect_interval: float = 30.0
    reconnect_timeout: float = 86_400.0
    tombstone_timeout: float = 86_400.0
    flap_timeout: float = 60.0
    queue_check_interval: float = 30.0
    queue_depth_warning: int = 128
    queue_depth_max: int = 4096
    queue_depth_min: int = 0
    user_event_bytes_max: int = 512
    intents_max: int = 65_536
    """Buffered intents about unknown names; hostile floods stop here."""
    validate_node_names: bool = False
