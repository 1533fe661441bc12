"""Text to YAML nodes that know their lines, with limits on everything a text can ask for.

A text of a few lines can stand for billions of values (aliases of aliases), for a structure without
an end (an alias inside its own anchor) or for one too deep to walk through. Each node is therefore
counted when it is composed, and an alias counts for as much as what it stands for.
"""

from __future__ import annotations

import yaml

from swimnomad.errors import ConfigError

TEXT_BYTES_MAX = 1024 * 1024
VALUES_MAX = 100_000
"""Nodes of one document, those that aliases stand for included."""
DEPTH_MAX = 64


class _LimitReached(Exception):
    """Line from 0, and what is wrong there."""


class _LimitedLoader(yaml.SafeLoader):
    """Composes nodes and counts them."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._count = 0
        self._depth = 0
        self._sizes: dict[str, int] = {}
        """Anchor to the number of nodes it stands for; 0 while it is being composed."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]  # types-PyYAML has no types here
        line, anchor = event.start_mark.line, event.anchor
        if isinstance(event, yaml.AliasEvent):
            size = self._sizes.get(anchor, 1)
            if not size:
                raise _LimitReached(line, f"the alias *{anchor} stands inside its own anchor")
            self._add(size, line)
            return super().compose_node(parent, index)
        self._add(1, line)
        self._depth += 1
        if self._depth > DEPTH_MAX:
            raise _LimitReached(line, f"more than {DEPTH_MAX} levels deep")
        before = self._count - 1
        if anchor:
            self._sizes[anchor] = 0
        node = super().compose_node(parent, index)
        if anchor:
            self._sizes[anchor] = self._count - before
        self._depth -= 1
        return node

    def _add(self, size: int, line: int) -> None:
        self._count += size
        if self._count > VALUES_MAX:
            raise _LimitReached(line, f"more than {VALUES_MAX} values, aliases counted in full")


def compose(data: bytes, source: str) -> yaml.MappingNode:
    """The outermost mapping of a document.

    Args:
        data: The text in UTF-8.
        source: Where it is from, for errors.

    Raises:
        ConfigError: If it is no YAML, no mapping, or passes a limit; names the line.
    """
    if len(data) > TEXT_BYTES_MAX:
        raise ConfigError(f"{source}: found {len(data)} bytes; allowed are {TEXT_BYTES_MAX}")
    try:
        root = _LimitedLoader(data.decode()).get_single_node()
    except UnicodeDecodeError as error:
        raise ConfigError(f"{source}: not UTF-8 text: {error}") from None
    except _LimitReached as error:
        line, text = error.args
        raise ConfigError(f"{source}:{line + 1}: {text}") from None
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ConfigError(f"{source}:{line}: not YAML: {error.problem}") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{source}: not YAML: {error}") from None
    if not isinstance(root, yaml.MappingNode):
        raise ConfigError(f"{source}:1: a scenario is a mapping of keys to values")
    return root
