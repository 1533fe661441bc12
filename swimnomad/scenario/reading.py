"""Turns YAML into typed values; every error names file, line and key, what was found and allowed.

The type annotations of the model drive the reading:

- a struct is a mapping with the struct's fields; its class may name a `SHORT` field that a bare
  scalar or list stands for, so that `kill: node-3` is `kill: {target: node-3}`;
- a tuple is a list, or one bare element;
- a latency may be one of the `LATENCIES` or `TRACES`, see `docs/scenarios.md`;
- `Duration` and `Share` are floats written as `units.py` says.

What YAML calls a boolean or a date means nothing here: text stays text until a type asks for more.
"""

from __future__ import annotations

import difflib
import re
import types
import typing
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn

import msgspec
import yaml

from swimnomad.errors import ConfigError, UsageError
from swimnomad.faults import Bandwidth, Latency
from swimnomad.names import Value
from swimnomad.scenario.quantities import NODES_MAX
from swimnomad.scenario.settings import SET_ELSEWHERE, SETTING_KINDS
from swimnomad.scenario.traces import Traces
from swimnomad.scenario.units import parse_bytes, parse_duration, parse_share, parse_signed

_Node = yaml.Node
LATENCIES: dict[str, tuple[str, str]] = {
    "constant": ("duration", ""),
    "uniform": ("duration", "duration"),
    "normal": ("duration", "duration"),
    "lognormal": ("duration", "number"),
    "pareto": ("duration", "number"),
}


TRACES = ("trace", "shuffled")
"""Latencies that are lists, or files of them: in their order, or drawn."""


class Reader:
    """Reads the nodes of one document.

    Args:
        source: Stands in every error.
        folder: From where files that the document names are looked for; None: it can name none.

    Attributes:
        lines: Dotted name of each value that was read to its line, for what is found out later.
    """

    def __init__(self, source: str, folder: Path | None = None) -> None:
        self.lines: dict[str, int] = {}
        self._source = source
        self._traces = Traces(folder)

    def fail(self, node: _Node, key: str, text: str) -> NoReturn:
        """Raise the error for a node of the document."""
        raise ConfigError(f"{self._source}:{node.start_mark.line + 1}: {key}: {text}")

    def fail_at(self, key: str, text: str) -> NoReturn:
        """Raise the error for a value by its name: the line is its own or that of what holds it."""
        place = key
        while place not in self.lines and place:
            place = place[: max(place.rfind("."), place.rfind("["), 0)]
        raise ConfigError(f"{self._source}:{self.lines.get(place, 1)}: {key}: {text}")

    def pairs(self, node: _Node, key: str) -> dict[str, _Node]:
        """A mapping's values by key; an empty value counts as a mapping without keys."""
        self._note(node, key)
        if is_empty(node):
            return {}
        if not isinstance(node, yaml.MappingNode):
            self.fail(node, key, f"found {show(node)}; allowed is a mapping of keys to values")
        pairs: dict[str, _Node] = {}
        for name, value in node.value:
            if not isinstance(name, yaml.ScalarNode):
                where = key or "the outermost mapping"
                self.fail(name, where, f"found {show(name)} as a key; allowed is text")
            full = f"{key}.{name.value}" if key else name.value
            if name.value in pairs:
                self.fail(name, full, "found twice; a key is allowed once")
            pairs[name.value] = value
            self._note(name, full)
        return pairs

    def items(self, node: _Node, key: str) -> list[_Node]:
        """The elements of a list."""
        if is_empty(node):
            return []
        if not isinstance(node, yaml.SequenceNode):
            self.fail(node, key, f"found {show(node)}; allowed is a list")
        return list(node.value)

    def read(self, node: _Node, kind: Any, key: str) -> Any:  # noqa: ANN401 - any type of the model
        """The value at a node as `kind`; `key` is its dotted name for errors."""
        self._note(node, key)
        origin = typing.get_origin(kind)
        if origin is Annotated:
            return self._annotated(node, key, typing.get_args(kind)[1])
        if origin in (typing.Union, types.UnionType):
            options = [one for one in typing.get_args(kind) if one is not type(None)]
            assert len(options) == 1, f"{kind} is not a type of the model"
            return None if is_empty(node) else self.read(node, options[0], key)
        if origin is Literal:
            return self._choice(node, key, typing.get_args(kind))
        if origin is tuple:
            return self._tuple(node, key, typing.get_args(kind)[0])
        if origin is dict:
            of = typing.get_args(kind)[1]
            return {
                name: self.read(value, of, f"{key}.{name}")
                for name, value in self.pairs(node, key).items()
            }
        if kind is Latency:
            return self._latency(node, key)
        if kind is Bandwidth:
            return self._bandwidth(node, key)
        if isinstance(kind, type) and issubclass(kind, Value):
            return self.struct(node, kind, key)
        return self.quantity(node, key, _SCALARS[kind])

    def _annotated(self, node: _Node, key: str, marker: str) -> object:
        if marker == "nodes":
            if isinstance(node, yaml.ScalarNode):
                return self.quantity(node, key, _parse_count)
            return self.read(node, tuple[str, ...], key)
        if marker == "settings":
            return {
                name: self._setting(value, name, f"{key}.{name}")
                for name, value in self.pairs(node, key).items()
            }
        return self.quantity(node, key, _QUANTITIES[marker])

    def _setting(self, node: _Node, name: str, key: str) -> object:
        if name in SET_ELSEWHERE:
            self.fail(node, key, f"is not set here; allowed is {SET_ELSEWHERE[name]}")
        if name not in SETTING_KINDS:
            close = difflib.get_close_matches(name, SETTING_KINDS, 3)
            hint = f" (close: {', '.join(close)})" if close else ""
            allowed = ", ".join(SETTING_KINDS)
            self.fail(node, key, f"unknown setting{hint}; allowed are {allowed}")
        value: object = self.read(node, SETTING_KINDS[name], key)
        return value

    def struct(self, node: _Node, kind: type[Value], key: str) -> Any:  # noqa: ANN401 - a `kind`
        """The mapping at a node, or what its short form stands for, as a struct."""
        short = getattr(kind, "SHORT", None)
        if short and not is_empty(node) and not isinstance(node, yaml.MappingNode):
            found = {short: node}
        else:
            found = self.pairs(node, key)
        hints = typing.get_type_hints(kind, include_extras=True)
        fields = {one.encode_name: one for one in msgspec.structs.fields(kind)}
        for name, value in found.items():
            if name not in fields:
                self.fail(value, f"{key}.{name}", f"unknown key; allowed are {', '.join(fields)}")
        values: dict[str, Any] = {}
        for name, field in fields.items():
            if name in found:
                values[field.name] = self.read(found[name], hints[field.name], f"{key}.{name}")
            elif field.required:
                self.fail(node, key, f"{name} is missing; allowed are {', '.join(fields)}")
        return kind(**values)

    def _note(self, node: _Node, key: str) -> None:
        # A node made up for a word without arguments has no place of its own.
        if node.start_mark is not None:
            self.lines.setdefault(key, node.start_mark.line + 1)

    def _tuple(self, node: _Node, key: str, of: Any) -> tuple[Any, ...]:  # noqa: ANN401 - a type
        if isinstance(node, yaml.SequenceNode):
            return tuple(
                self.read(item, of, f"{key}[{place}]") for place, item in enumerate(node.value)
            )
        return () if is_empty(node) else (self.read(node, of, key),)

    def _choice(self, node: _Node, key: str, allowed: tuple[str, ...]) -> str:
        text = node.value if isinstance(node, yaml.ScalarNode) else None
        if text not in allowed:
            self.fail(node, key, f"found {show(node)}; allowed are {', '.join(allowed)}")
        return str(text)

    def quantity(self, node: _Node, key: str, parse: Callable[[str], Any]) -> Any:  # noqa: ANN401 - what `parse` returns
        """What `parse` makes of the text at a node; its UsageError gets file, line and key."""
        if not isinstance(node, yaml.ScalarNode):
            self.fail(node, key, f"found {show(node)}; allowed is one value")
        try:
            return parse(node.value)
        except UsageError as error:
            self.fail(node, key, str(error))

    def _latency(self, node: _Node, key: str) -> Latency:
        """`5ms`, or one distribution with its parameters: `{uniform: [1ms, 3ms]}`."""
        if isinstance(node, yaml.ScalarNode) and not is_empty(node):
            latency = Latency("constant", self.quantity(node, key, parse_duration))
            self._check_range(latency, node, key)
            return latency
        found = self.pairs(node, key)
        for trace in TRACES:
            if list(found) == [trace]:
                return self._trace(found[trace], f"{key}.{trace}", trace)
        if len(found) != 1 or next(iter(found)) not in LATENCIES:
            names = ", ".join((*LATENCIES, *TRACES))
            self.fail(node, key, f"found {show(node)}; allowed is 5ms or one of {names}")
        ((name, value),) = found.items()
        key = f"{key}.{name}"
        parameters = value.value if isinstance(value, yaml.SequenceNode) else [value]
        wanted = [one for one in LATENCIES[name] if one]
        if len(parameters) != len(wanted):
            what = " and a ".join(wanted)
            self.fail(value, key, f"found {show(value)}; allowed is a {what} in a list")
        numbers = [
            self.quantity(item, key, _QUANTITIES[quantity])
            for item, quantity in zip(parameters, wanted, strict=True)
        ]
        latency = msgspec.convert({"kind": name, "a": numbers[0]}, Latency)
        if len(numbers) == 2:
            latency = msgspec.structs.replace(latency, b=numbers[1])
        self._check_range(latency, value, key)
        return latency

    def _trace(self, node: _Node, key: str, kind: str) -> Latency:
        """`[1ms, 4ms]`, or the name of a file of delays."""
        shuffled = kind == "shuffled"
        if isinstance(node, yaml.SequenceNode) and node.value:
            delays = tuple(
                self.quantity(item, f"{key}[{place}]", parse_duration)
                for place, item in enumerate(node.value)
            )
            latency = Latency("trace", values=delays, shuffled=shuffled)
        elif isinstance(node, yaml.ScalarNode) and not is_empty(node):
            read = partial(self._traces.from_file, shuffled=shuffled)
            latency = self.quantity(node, key, read)
        else:
            found = "nothing" if is_empty(node) or not node.value else show(node)
            allowed = "a list of durations, or the name of a file of them"
            self.fail(node, key, f"found {found}; allowed is {allowed}")
        self._check_range(latency, node, key)
        try:
            self._traces.add(latency)
        except UsageError as error:
            self.fail(node, key, str(error))
        return latency

    def _bandwidth(self, node: _Node, key: str) -> Bandwidth:
        """`10Mbit`, or `{rate: 10Mbit, queue: 64kB}`."""
        if isinstance(node, yaml.ScalarNode) and not is_empty(node):
            found: dict[str, _Node] = {"rate": node}
        else:
            found = self.pairs(node, key)
        for name, value in found.items():
            if name not in ("rate", "queue"):
                self.fail(value, f"{key}.{name}", "unknown key; allowed are rate, queue")
        if "rate" not in found:
            self.fail(node, key, "rate is missing; allowed are rate, queue")
        bandwidth = Bandwidth(self.quantity(found["rate"], f"{key}.rate", parse_bytes))
        if "queue" in found:
            queue = self.quantity(found["queue"], f"{key}.queue", parse_bytes)
            bandwidth = msgspec.structs.replace(bandwidth, queue_bytes=int(queue))
        self._check_range(bandwidth, node, key)
        return bandwidth

    def _check_range(self, value: Latency | Bandwidth, node: _Node, key: str) -> None:
        """Fail if a number of a distribution or a bandwidth is out of range."""
        try:
            value.validate("")
        except UsageError as error:
            match = _OUT_OF_RANGE.fullmatch(str(error))
            if match is None:
                self.fail(node, key, str(error))
            field, allowed, found = match.groups()
            place, unit = _PLACES.get(field, field.removeprefix("values")), ""
            if isinstance(value, Latency):
                place = "" if value.kind == "constant" else place
                unit = "" if (field, value.kind) in _BARE else " s"
            text = f"found {found}{unit}; allowed is {allowed}{unit}"
            self.fail(node, f"{key}{place}", text)


_OUT_OF_RANGE = re.compile(r"\.(\S+) must be (\S+ to \S+), not (\S+)")
_PLACES = {"a": "[0]", "b": "[1]", "rate": ".rate", "queue_bytes": ".queue"}
"""Field of a latency or bandwidth to where its value stands in a file."""
_BARE = (("b", "lognormal"), ("b", "pareto"))
"""Parameters of latencies that are no durations."""


def is_empty(node: _Node) -> bool:
    """Whether nothing stands at a node: `heal:` or `{converged}`."""
    return (
        isinstance(node, yaml.ScalarNode) and node.style is None and node.value in ("", "~", "null")
    )


def show(node: _Node) -> str:
    """What was found, for an error: short and on one line."""
    if isinstance(node, yaml.ScalarNode):
        return repr(node.value[:80])
    return "a list" if isinstance(node, yaml.SequenceNode) else "a mapping"


def _parse_bool(text: str) -> bool:
    if text not in ("true", "false"):
        raise UsageError(f"found {text!r}; allowed are true, false")
    return text == "true"


def _parse_int(text: str) -> int:
    # A narrower range is for `sense.py` to know: what is said here must be true of all fields.
    if not _is_whole(text):
        raise UsageError(f"found {text[:80]!r}; allowed is a whole number of up to 9 digits")
    return int(text)


def _parse_count(text: str) -> int:
    if not _is_whole(text):
        allowed = f"a whole number, 1 to {NODES_MAX}, or a list of names"
        raise UsageError(f"found {text[:80]!r}; allowed is {allowed}")
    return int(text)


def _is_whole(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 9


def _parse_number(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number <= 1e12:
        raise UsageError(f"found {text!r}; allowed is a number, 0 to 1e12")
    return number


_SCALARS: dict[Any, Callable[[str], Any]] = {
    str: str,
    int: _parse_int,
    float: _parse_number,
    bool: _parse_bool,
}
_QUANTITIES: dict[str, Callable[[str], float]] = {
    "duration": parse_duration,
    "signed": parse_signed,
    "share": parse_share,
    "number": _parse_number,
}
