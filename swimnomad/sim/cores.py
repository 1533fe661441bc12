"""Where in a core the simulator finds its gossip layer; toys of tests have none."""

from __future__ import annotations

from typing import Any

from swimnomad.errors import UsageError
from swimnomad.swim.core import Core
from swimnomad.swim.node import SwimNode


def find_gossip_node(core: Core | None) -> SwimNode | None:
    """The gossip layer of a `NomadCore`, a `SerfNode`, of what wraps one of them, or itself."""
    layer: Any = core
    for _ in range(3):
        if isinstance(layer, SwimNode):
            return layer
        layer = getattr(layer, "swim", None) or getattr(layer, "serf", None)
    return None


def gossip_node(core: Core | None) -> SwimNode:
    """The same for a core that must have one.

    Raises:
        UsageError: If it has none, or nothing runs.
    """
    node = find_gossip_node(core)
    if node is None:
        raise UsageError(f"a {type(core).__name__} has no gossip layer")
    return node
