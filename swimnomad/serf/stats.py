"""The figures of a node that operators read, all as text.

Source: serf.md §27.
"""

from __future__ import annotations

from swimnomad.serf.lamport import Clocks
from swimnomad.serf.members import MemberTable
from swimnomad.serf.queues import BroadcastQueues


def stats_block(
    table: MemberTable,
    clocks: Clocks,
    queues: BroadcastQueues,
    *,
    health_score: int,
    is_encrypted: bool,
) -> dict[str, str]:
    """The `serf` block of `/v1/agent/self`; `members` counts failed and left ones, too.

    Without network coordinates there is no `coordinate_resets`, as in the reference.
    """
    numbers = {
        "members": len(table),
        "failed": table.failed_count,
        "left": table.left_count,
        "health_score": health_score,
        "member_time": clocks.member.time,
        "event_time": clocks.event.time,
        "query_time": clocks.query.time,
        "intent_queue": len(queues.intents),
        "event_queue": len(queues.events),
        "query_queue": len(queues.queries),
    }
    block = {key: str(number) for key, number in numbers.items()}
    block["encrypted"] = "true" if is_encrypted else "false"
    return block
