"""A node from a journal once more: the same inputs to the same core, and whether it does the same.

A journal tells with which recipe a node's core was made, and every input with its time. A core
knows nothing else, so it must ask for the very effects that the journal holds; where it does not,
the program has changed since, or something got into the core that is no input.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from swimnomad.errors import UsageError
from swimnomad.journal.recipe import Recipe, make_core
from swimnomad.journal.types import INPUTS, read, read_struct
from swimnomad.journal.writer import FORMAT, line_of_effect
from swimnomad.names import Value
from swimnomad.swim.core import Core
from swimnomad.swim.inputs import Converge, KnownNode, Roster


class Difference(Value, frozen=True):
    """The first line at which a replay departs from a journal; None: a line that is not there."""

    line: int
    expected: str | None
    """What the journal says."""
    found: str | None
    """What the core asked for."""


class Replay(Value, frozen=True):
    """How a replay went."""

    inputs: int
    effects: int
    difference: Difference | None


class _Node:
    """The node being replayed: its core, and the effects that are still to be found."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.core: Core | None = None
        self.boots = 0
        self.inputs = 0
        self.effects = 0
        self.pending: deque[str] = deque()

    def boot(self, line: dict[str, Any], where: str) -> None:
        if line.get("recipe") is None:
            raise UsageError(f"{where}: this node's core is of no kind that can be made again")
        with _told_of_line(where):
            self.core = make_core(read_struct(Recipe, line["recipe"]))
        self.boots += 1

    def feed(self, line: dict[str, Any], rosters: dict[int, Roster], where: str) -> None:
        if self.core is None:
            raise UsageError(f"{where}: an input of a node that does not run")
        kind = INPUTS.get(str(line["input"]))
        if kind is None:
            raise UsageError(f"{where}: {line['input']!r} is no input of a core")
        with _told_of_line(where):
            incoming = (
                Converge(rosters[line["roster"]])
                if kind is Converge
                else read_struct(
                    kind, {key.removesuffix("_"): value for key, value in line.items()}
                )
            )
            now = float(line["time"])
            clock = float(line.get("clock", now))
        try:
            effects = self.core.handle(incoming, clock)
        except UsageError as error:
            raise UsageError(f"{where}: the core refuses this input: {error}") from None
        except Exception as error:
            error.add_note(f"{where} of the journal: node {self.name} given {incoming!r}"[:2000])
            raise
        self.inputs += 1
        self.pending.extend(line_of_effect(now, self.name, effect) for effect in effects)

    def compare(self, text: str, number: int) -> Difference | None:
        found = self.pending.popleft() if self.pending else None
        if found == text:
            self.effects += 1
            return None
        return Difference(number, text.rstrip("\n"), found and found.rstrip("\n"))

    def leftover(self, number: int) -> Difference | None:
        """An effect that the journal should have held before this line."""
        return Difference(number, None, self.pending[0].rstrip("\n")) if self.pending else None


def replay(lines: Iterable[str], node: str) -> Replay:
    """Replay a node from the lines of a journal, up to the first difference.

    Raises:
        UsageError: If they are no journal of this format, or the node cannot be replayed from it;
            names the line.
    """
    one = _Node(node)
    difference = None
    for difference in _differences(lines, one):
        if difference is not None:
            break
    if not one.boots:
        raise UsageError(f"no node {node!r} boots in this journal")
    return Replay(one.inputs, one.effects, difference)


def _differences(lines: Iterable[str], one: _Node) -> Iterator[Difference | None]:
    mark = f'"node":{json.dumps(one.name)},'
    rosters: dict[int, Roster] = {}
    number = 0
    for number, text in enumerate(lines, 1):
        where = f"line {number}"
        if number == 1:
            _check_header(text)
        elif text.startswith('{"roster"'):
            line = _parse(text, where)
            with _told_of_line(where):
                rosters[line["roster"]] = Roster(read(line["nodes"], tuple[KnownNode, ...]))
        elif mark in text[:300]:
            line = _parse(text, where)
            if line.get("node") != one.name:
                continue
            if "effect" in line:
                yield one.compare(text, number)
                continue
            yield one.leftover(number)
            if "input" in line:
                one.feed(line, rosters, where)
            elif line.get("fault") == "boot":
                one.boot(line, where)
            elif line.get("fault") in ("kill", "stop"):
                one.core = None
            elif "fault" not in line:
                raise UsageError(f"{where}: neither an input nor an effect nor a fault")
    if not number:
        raise UsageError("an empty file is no journal")
    yield one.leftover(number + 1)


@contextmanager
def _told_of_line(where: str) -> Iterator[None]:
    """Turn whatever comes of a line with wrong or missing values into a refusal of that line."""
    try:
        yield
    except UsageError as error:
        raise UsageError(f"{where}: {error}") from None
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        found = f"{type(error).__name__}: {error}"[:200]
        raise UsageError(f"{where}: not a line of a journal: {found}") from None


def _check_header(text: str) -> None:
    header = _parse(text, "line 1")
    if header.get("journal") != FORMAT:
        found = header.get("journal", "none")
        raise UsageError(f"line 1: a journal of format {FORMAT} is wanted, this has {found}")


def _parse(text: str, where: str) -> dict[str, Any]:
    try:
        line = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{where}: not a line of a journal: {error}") from None
    if not isinstance(line, dict):
        raise UsageError(f"{where}: not a line of a journal")
    return line
