"""Trace files that a scenario names as latencies: where they are, and how much they may hold.

A loaded scenario has the delays and no longer the file's name. It can therefore be sent to another
process, to agents, or written down again (`writing.py`), and needs no other file there.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from swimnomad.errors import UsageError
from swimnomad.faults import Latency, read_trace

DELAYS_MAX = 50_000
"""Delays of all traces of one scenario, each trace as often as it is named.

Written as lists, 17 bytes for a delay of the longest, so many still fit into a scenario file; sent
to an agent, into one request.
"""


class Traces:
    """The traces of one scenario.

    Args:
        folder: Where the scenario file is; None for a text that is in no file.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._read: dict[str, Latency] = {}
        self._count = 0

    def from_file(self, name: str, *, shuffled: bool) -> Latency:
        """The trace in a file, as seen from the scenario file.

        Raises:
            UsageError: Naming the file, what was found and what is allowed.
        """
        if self._folder is None:
            text = f"found {name!r}; a scenario that is in no file itself can name none"
            raise UsageError(f"{text}, allowed is a list of durations")
        latency = self._read.get(name)
        if latency is None:
            try:
                latency = self._read[name] = read_trace(self._folder / name)
            except UsageError as error:
                raise UsageError(f"found {name!r}: {error}") from None
        return msgspec.structs.replace(latency, shuffled=shuffled)

    def add(self, latency: Latency) -> None:
        """Count the delays of a trace, wherever it is from.

        Raises:
            UsageError: If the scenario has too many now.
        """
        self._count += len(latency.values)
        if self._count > DELAYS_MAX:
            raise UsageError(
                f"found {self._count} delays in the traces up to here; allowed are {DELAYS_MAX} "
                "in one scenario, each trace counted as often as it is named"
            )
