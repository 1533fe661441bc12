"""The record of a run: one JSON line for each input, effect and fault, and the hash of them all.

Same seed, same bytes: fields stand in the order of their classes, bytes are hex, times are the
shortest text that reads back as the same float. Nothing in a line depends on the process, its hash
seed or its memory.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import IO, Any

import msgspec

from swimnomad.names import Address, Stream
from swimnomad.swim.inputs import Converge, Roster

FORMAT = 2
"""Raised when the lines change their meaning."""
LINE_KEYS = ("time", "node", "clock")
"""Keys of a line; a field of the same name has an underscore behind it there, as in `node_`."""
FLUSH_LINES = 512


class Journal:
    """Writes lines to a hash, and to a file if there is a path.

    Raises:
        OSError: If the file cannot be written.
    """

    def __init__(self, seed: int | str, path: Path | None = None) -> None:
        self._hash = hashlib.sha256()
        self._file: IO[bytes] | None = path.open("wb") if path else None
        self._lines: list[str] = [f'{{"journal":{FORMAT},"seed":{render(seed)}}}\n']
        self._names: dict[str, str] = {}
        self._rosters: dict[Roster, int] = {}

    def input(self, now: float, node: str, incoming: object, clock: float | None = None) -> None:
        """A core is about to be given `incoming`.

        `clock` is what it is told of the time, if that is not `now`.
        """
        start = self._start(now, node)
        if clock is not None:
            start = f'{start}clock":{clock!r},"'
        if type(incoming) is Converge:
            number = self._roster_number(incoming.roster)
            self._add(f'{start}input":"Converge","roster":{number}}}\n')
        else:
            self._add(f"{start}input{_members(incoming, _LINE_FIELDS)}")

    def effects(self, now: float, node: str, effects: Iterable[object]) -> None:
        """What a core asked for in answer to the last input."""
        for effect in effects:
            self._add(f"{self._start(now, node)}effect{_members(effect, _LINE_FIELDS)}")

    def step(self, now: float, node: str, incoming: object, effects: Iterable[object]) -> None:
        """An input and its effects in one call, for a driver whose clock is the core's."""
        self.input(now, node, incoming)
        self.effects(now, node, effects)

    def fault(self, now: float, node: str, fault: str, **details: object) -> None:
        """Something the world does to `node`: kill, pause, a lost datagram, a rule set."""
        fields = "".join(f',"{key}":{render(value)}' for key, value in details.items())
        self._add(f'{self._start(now, node)}fault":{render(fault)}{fields}}}\n')

    def sha256(self) -> str:
        """Hash of every line so far, in hex."""
        self._flush()
        return self._hash.hexdigest()

    def close(self) -> None:
        """Write what is left and close the file."""
        self._flush()
        if self._file:
            self._file.close()
            self._file = None

    def _roster_number(self, roster: Roster) -> int:
        """The number of a roster, which stands in a line of its own before its first use."""
        number = self._rosters.get(roster)
        if number is None:
            number = self._rosters[roster] = len(self._rosters) + 1
            self._add(f'{{"roster":{number},"nodes":{render(roster.nodes)}}}\n')
        return number

    def _start(self, now: float, node: str) -> str:
        name = self._names.get(node)
        if name is None:
            name = self._names[node] = render(node)
        return f'{{"time":{now!r},"node":{name},"'

    def _add(self, line: str) -> None:
        self._lines.append(line)
        if len(self._lines) >= FLUSH_LINES:
            self._flush()

    def _flush(self) -> None:
        data = "".join(self._lines).encode("ascii")
        self._lines.clear()
        self._hash.update(data)
        if self._file:
            self._file.write(data)


def line_of_effect(now: float, node: str, effect: object) -> str:
    """The line that a journal holds for an effect."""
    return f'{{"time":{now!r},"node":{render(node)},"effect{_members(effect, _LINE_FIELDS)}'


def render(value: object) -> str:
    """A value as JSON text in ASCII; a struct becomes an object with its `type` first."""
    how = _RENDERERS.get(type(value))
    if how is not None:
        return how(value)
    if isinstance(value, msgspec.Struct):
        return f'{{"type{_members(value)[:-1]}'
    if isinstance(value, Mapping):
        return _render_mapping(value)
    if isinstance(value, int):  # enumerations
        return repr(int(value))
    raise AssertionError(f"a journal cannot hold {type(value).__name__}")


def _members(value: object, known: _Fields | None = None) -> str:
    """The rest of an object's line after its opening key: name of the class, fields, newline."""
    kind = type(value)
    known = _FIELDS if known is None else known
    fields = known.get(kind)
    if fields is None:
        assert isinstance(value, msgspec.Struct), f"{kind.__name__} is not a value"
        taken = LINE_KEYS if known is _LINE_FIELDS else ()
        fields = known[kind] = tuple(
            (field, f',"{field}_":' if field in taken else f',"{field}":')
            for field in value.__struct_fields__
        )
    parts = [f'":"{kind.__name__}"']
    for field, prefix in fields:
        parts.append(prefix)
        parts.append(render(getattr(value, field)))
    parts.append("}\n")
    return "".join(parts)


def _render_float(value: float) -> str:
    # JSON has no infinity; a deadline that never comes is written as text.
    return repr(value) if value - value == 0 else f'"{value!r}"'


def _render_text(value: str) -> str:
    return msgspec.json.encode(value).decode() if value.isascii() else _escaped(value)


def _escaped(value: str) -> str:
    """Text that is not ASCII; lone surrogates, which hostile names may hold, stay visible too."""
    out = [
        character
        if 0x20 <= ord(character) < 0x7F and character not in '"\\'
        else "".join(
            f"\\u{unit:04x}"
            for unit in memoryview(character.encode("utf-16-le", "surrogatepass")).cast("H")
        )
        for character in value
    ]
    return f'"{"".join(out)}"'


def _render_sequence(value: Any) -> str:  # noqa: ANN401 - tuples and lists of anything
    return f"[{','.join(map(render, value))}]"


def _render_mapping(value: Mapping[Any, Any]) -> str:
    fields = ",".join(f"{_render_text(str(key))}:{render(item)}" for key, item in value.items())
    return f"{{{fields}}}"


_Fields = dict[type, tuple[tuple[str, str], ...]]
_FIELDS: _Fields = {}
_LINE_FIELDS: _Fields = {}
"""The same for what stands in a line itself, beside the line's own keys."""
_RENDERERS: dict[type, Callable[[Any], str]] = {
    int: repr,
    float: _render_float,
    str: _render_text,
    bytes: lambda value: f'"{value.hex()}"',
    bool: lambda value: "true" if value else "false",
    type(None): lambda _: "null",
    Address: lambda value: f'"{value}"',
    Stream: lambda value: f'"{"in" if value.inbound else "out"}-{value.number}"',
    tuple: _render_sequence,
    list: _render_sequence,
    dict: _render_mapping,
}
