"""Signals that end a command which has processes to take down first."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import trio

from swimnomad.live.nurseries import plain_nursery

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@asynccontextmanager
async def cancelled_by_signals() -> AsyncIterator[trio.CancelScope]:
    """Cancel the block when the first ending signal comes; further ones change nothing.

    The block's own clean-up must be bounded in time, since no second Ctrl-C cuts it short. The
    scope tells afterwards whether it was: `cancelled_caught`.
    """
    scope = trio.CancelScope()
    with trio.open_signal_receiver(*ENDING) as signals:

        async def heed() -> None:
            async for _ in signals:
                scope.cancel()

        async with plain_nursery() as nursery:
            nursery.start_soon(heed)
            with scope:
                yield scope
            nursery.cancel_scope.cancel()


@contextmanager
def endings_as_interrupts() -> Iterator[None]:
    """Let SIGTERM and SIGHUP do what Ctrl-C does: for code that cleans up after that one only."""

    def interrupt(*_: object) -> None:
        signal.raise_signal(signal.SIGINT)

    others = (signal.SIGTERM, signal.SIGHUP)
    previous = [signal.signal(number, interrupt) for number in others]
    try:
        yield
    finally:
        for number, handler in zip(others, previous, strict=True):
            signal.signal(number, handler)
