"""What a `SerfConfig` must fulfil before a node starts."""

from __future__ import annotations

from swimnomad.errors import UsageError
from swimnomad.serf.config import SerfConfig
from swimnomad.serf.filter import why_name_is_invalid
from swimnomad.serf.tags import meta_of_tags
from swimnomad.serf.text import is_writable
from swimnomad.serf.user_events import USER_EVENT_BYTES_CAP

PROTOCOL_VERSIONS = range(2, 6)

NOT_NEGATIVE = (
    "broadcast_timeout",
    "leave_propagate_delay",
    "reap_interval",
    "recent_intent_timeout",
    "reconnect_interval",
    "reconnect_timeout",
    "tombstone_timeout",
    "flap_timeout",
    "queue_check_interval",
    "queue_depth_warning",
    "queue_depth_max",
    "queue_depth_min",
    "user_event_bytes_max",
    "intents_max",
    "event_buffer_bytes_max",
    "waits_max",
)
POSITIVE = ("event_buffer", "query_buffer")


def check_config(config: SerfConfig) -> None:
    """Check every field, those of the gossip layer included.

    Raises:
        UsageError: Naming the field, what was found and what is allowed.
    """
    if config.protocol_version not in PROTOCOL_VERSIONS:
        raise UsageError(
            f"Serf protocol version {config.protocol_version} is not supported: "
            f"allowed are {PROTOCOL_VERSIONS[0]} to {PROTOCOL_VERSIONS[-1]}"
        )
    for field in NOT_NEGATIVE:
        value = getattr(config, field)
        if not value >= 0:  # Also catches NaN.
            raise UsageError(f"{field} must not be negative, and is {value}")
    for field in POSITIVE:
        value = getattr(config, field)
        if value < 1:
            raise UsageError(f"{field} must be at least 1, and is {value}")
    if config.user_event_bytes_max > USER_EVENT_BYTES_CAP:
        raise UsageError(
            f"user_event_bytes_max must be at most {USER_EVENT_BYTES_CAP}, "
            f"and is {config.user_event_bytes_max}"
        )
    if not is_writable(config.swim.name):
        raise UsageError(f"the node name {config.swim.name!r} is not text")
    if config.validate_node_names and (reason := why_name_is_invalid(config.swim.name)):
        raise UsageError(reason)
    meta_of_tags(config.tags, config.protocol_version)
    config.swim.validate()
