"""Joining in the background until it works.

Source: nomad-agent.md §8; nomad command/agent/retry_join.go.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import trio

from swimnomad.live.log import Level, LogWriter
from swimnomad.nomad.config import ServerJoin
from swimnomad.nomad.durations import duration_text
from swimnomad.nomad.joining import JoinReport

MODULE = "agent.joiner"

Join = Callable[[Sequence[str]], Awaitable[JoinReport]]
"""One attempt at all the addresses."""


async def retry_join(join: Join, joining: ServerJoin, log: LogWriter) -> bool:
    """Join until one address answers; False when the attempts are used up.

    `retry_max` 0 means for ever; with n there are n + 1 attempts in all.
    """
    log(Level.INFO, MODULE, "starting retry join", servers=" ".join(joining.retry_join))
    attempts = 0
    while True:
        report = await join(joining.retry_join)
        if not report.error:
            log(Level.INFO, MODULE, "retry join completed", initial_servers=report.joined)
            return True
        attempts += 1
        if joining.retry_max > 0 and attempts > joining.retry_max:
            log(Level.ERROR, MODULE, "max join retry exhausted, exiting")
            return False
        retry = duration_text(joining.retry_interval)
        log(Level.WARN, MODULE, "join failed", error=report.error, retry=retry)
        await trio.sleep(joining.retry_interval)
