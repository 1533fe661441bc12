"""Types of the model whose values files write in their own way; `reading.py` reads them."""

from __future__ import annotations

from typing import Annotated

Duration = Annotated[float, "duration"]
"""Seconds, written with a unit."""
SignedDuration = Annotated[float, "signed"]
"""Seconds that may be below 0."""
Share = Annotated[float, "share"]
"""A probability, written as a number or with a per cent sign."""
NODES_MAX = 10_000
"""Nodes of one cluster."""
Nodes = Annotated[int | tuple[str, ...], "nodes"]
"""How many nodes there are, or their names."""
Settings = Annotated[dict[str, object], "settings"]
"""Settings of the gossip layers by name; see `settings.py`."""
