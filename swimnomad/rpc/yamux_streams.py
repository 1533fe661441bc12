"""What a session knows of one live stream.

Source: rpc.md §4.2.
"""

from __future__ import annotations

from typing import Final

WINDOW_BYTES: Final = 262_144
"""Credit of a new stream in each direction, fixed by the protocol."""


class StreamState:
    """One live stream; `yamux` alone changes it."""

    __slots__ = (
        "credit",
        "id",
        "is_abandoned",
        "is_ended",
        "is_finished",
        "is_live",
        "is_ours",
        "owes_ack",
        "returnable",
        "unread",
        "waits_for_ack",
        "window",
    )

    def __init__(self, stream: int, is_ours: bool) -> None:
        self.id = stream
        self.is_ours = is_ours
        self.credit = WINDOW_BYTES  # what the peer still takes
        self.window = WINDOW_BYTES  # what we still take
        self.unread = 0  # passed on and not consumed
        self.returnable = 0  # consumed and not yet granted again
        self.waits_for_ack = is_ours
        self.owes_ack = not is_ours
        self.is_finished = False  # we sent FIN
        self.is_ended = False  # the peer sent FIN
        self.is_abandoned = False  # nobody reads it any more
        self.is_live = True
