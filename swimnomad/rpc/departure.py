"""Work that is called off once nobody can want its outcome."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import trio


class Departure:
    """Watches over one body of work at a time for the peer's leaving."""

    __slots__ = ("_grace", "_scope")

    def __init__(self) -> None:
        self._scope: trio.CancelScope | None = None
        self._grace = 0.0

    @contextmanager
    def watch(self, grace: float, *, is_gone: bool, has_ended: bool) -> Iterator[trio.CancelScope]:
        """Cancel the body if the peer is gone, or `grace` seconds after it ended its side."""
        assert self._scope is None, "one body at a time"
        with trio.CancelScope() as scope:
            self._scope, self._grace = scope, grace
            self.judge(is_gone=is_gone, has_ended=has_ended)
            try:
                yield scope
            finally:
                self._scope = None

    def judge(self, *, is_gone: bool, has_ended: bool) -> None:
        """Look at the peer again; to be called whenever something about it has changed."""
        if self._scope is None:
            return
        if is_gone:
            self._scope.cancel()
        elif has_ended:
            self._scope.deadline = trio.current_time() + self._grace
