"""Configuration text to a tree of values that know their line: HCL version 1, and JSON.

Nomad's files are HCL 1: keys may be quoted, values carry no expressions, `a "b" { … }` is an object
in an object, commas and line ends between items are optional. (Libraries for HCL 2 refuse some of
this and know no lines.) Text that begins with `{` is JSON, whatever the file is called.

    object = { item [","] }
    item   = key { key } object-in-braces  |  key ("=" | ":" in JSON) value
    value  = string | here-document | number | "true" | "false" | "null" in JSON
           | "[" [ value { "," value } [","] ] "]" | object-in-braces

Source: nomad-agent.md §10.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import NamedTuple

from swimnomad.errors import ConfigError
from swimnomad.names import Value

DEPTH_MAX = 32
"""Objects and lists within each other."""

NUMBER_LENGTH_MAX = 40
"""Characters of a number; none that means something here is longer."""

Scalar = str | int | float | bool | None


class Leaf(Value, frozen=True):
    """A single value."""

    line: int
    value: Scalar


class Items(Value, frozen=True):
    """A list."""

    line: int
    items: tuple[Tree, ...]


class Entry(Value, frozen=True):
    """A key of an object and its value. Keys may come more than once."""

    line: int
    key: str
    value: Tree


class Object(Value, frozen=True):
    """A block or an object."""

    line: int
    entries: tuple[Entry, ...]


Tree = Leaf | Items | Object


def parse(text: str) -> Object:
    """Read a whole file.

    Raises:
        ConfigError: `At <line>:<column>: <what is wrong>`.
    """
    is_json = text.lstrip("\ufeff \t\r\n").startswith("{")
    if is_json:
        _check_json(text)
    parser = _Parser(text.removeprefix("\ufeff"), is_json)
    return parser.json_file() if is_json else parser.hcl_file()


def plain(tree: Tree) -> object:
    """A tree as ordinary values; a key that comes twice holds a list."""
    match tree:
        case Leaf(value=value):
            return value
        case Items(items=items):
            return [plain(item) for item in items]
        case Object(entries=entries):
            return _plain_object(entries)


def _plain_object(entries: tuple[Entry, ...]) -> dict[str, object]:
    values: dict[str, list[object]] = {}
    for entry in entries:
        values.setdefault(entry.key, []).append(plain(entry.value))
    return {key: found[0] if len(found) == 1 else found for key, found in values.items()}


class _Token(NamedTuple):
    kind: str
    text: str
    start: int


_TOKENS = re.compile(
    r"""
    (?P<skip>[\s\ufeff]+ | (?:\#|//)[^\n]* | /\*.*?\*/)
  | (?P<heredoc><<-?(?P<tag>\w+)[ \t\r]*\n)
  | (?P<number>-?(?:0[xX][0-9a-fA-F]+|(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?))
  | (?P<name>[^\W\d][\w.-]*)
  | (?P<sign>[{}\[\]=,:])
    """,
    re.VERBOSE | re.DOTALL,
)
_ESCAPE = re.compile(
    r"\\(?:x(?P<x>[0-9a-fA-F]{2})|u(?P<u>[0-9a-fA-F]{4})|U(?P<U>[0-9a-fA-F]{8})"
    r"|(?P<o>[0-7]{3})|(?P<c>.))",
    re.DOTALL,
)
_LETTERS = {
    "n": "\n",
    "t": "\t",
    "r": "\r",
    "a": "\a",
    "b": "\b",
    "f": "\f",
    "v": "\v",
    "\\": "\\",
    '"': '"',
}
_NAMES = {"{": "LBRACE", "}": "RBRACE", "[": "LBRACK", "]": "RBRACK", "=": "ASSIGN", ",": "COMMA"}


class _Parser:
    """Recursive descent with one token of lookahead."""

    def __init__(self, text: str, is_json: bool) -> None:
        self._text = text
        self._is_json = is_json
        self._at = 0
        self._depth = 0
        self._token = self._next()

    def hcl_file(self) -> Object:
        """Items until the end of the text."""
        entries = self._entries("end")
        return Object(1, entries)

    def json_file(self) -> Object:
        """One object and nothing else."""
        value = self._value()
        assert isinstance(value, Object)
        return value

    def _entries(self, closing: str) -> tuple[Entry, ...]:
        entries: list[Entry] = []
        while self._token.kind != closing:
            if self._token.kind == "end":
                raise self._error("object expected closing RBRACE got: EOF")
            entries.append(self._entry())
            if self._token.kind == ",":
                self._advance()
        return tuple(entries)

    def _entry(self) -> Entry:
        first = self._token
        keys: list[str] = []
        while self._token.kind in ("name", "string"):
            keys.append(self._take().text)
        if not keys:
            raise self._error(f"expected: IDENT | STRING got: {self._found()}")
        line = self._line(first)
        if self._token.kind in ("=", ":" if self._is_json else "=") and len(keys) == 1:
            self._advance()
            return Entry(line, keys[0], self._value())
        if self._token.kind != "{":
            raise self._error(
                f"key '{' '.join(keys)}' expected start of object ('{{') or assignment ('=')"
            )
        value = self._value()
        for key in reversed(keys[1:]):
            value = Object(line, (Entry(line, key, value),))
        return Entry(line, keys[0], value)

    def _value(self) -> Tree:
        token = self._token
        line = self._line(token)
        match token.kind:
            case "string" | "heredoc":
                return Leaf(line, self._take().text)
            case "number" if len(token.text) <= NUMBER_LENGTH_MAX:
                self._advance()
                return Leaf(line, _number(token.text))
            case "name" if token.text in _WORDS and (token.text != "null" or self._is_json):
                self._advance()
                return Leaf(line, _WORDS[token.text])
            case "{":
                return self._nested(self._object)
            case "[":
                return self._nested(self._list)
            case _:
                raise self._error(f"Unknown token: {self._found()}")

    def _object(self) -> Tree:
        line = self._line(self._take())
        entries = self._entries("}")
        self._advance()
        return Object(line, entries)

    def _list(self) -> Tree:
        line = self._line(self._take())
        items: list[Tree] = []
        while self._token.kind != "]":
            items.append(self._value())
            if self._token.kind == ",":
                self._advance()
            elif self._token.kind != "]":
                raise self._error(
                    f"error parsing list, expected comma or list end, got: {self._found()}"
                )
        self._advance()
        return Items(line, tuple(items))

    def _nested(self, read: Callable[[], Tree]) -> Tree:
        if self._depth >= DEPTH_MAX:
            raise self._error(f"more than {DEPTH_MAX} objects and lists within each other")
        self._depth += 1
        tree = read()
        self._depth -= 1
        return tree

    def _take(self) -> _Token:
        token = self._token
        self._advance()
        return token

    def _advance(self) -> None:
        self._token = self._next()

    def _next(self) -> _Token:
        while True:
            start = self._at
            if start == len(self._text):
                return _Token("end", "", start)
            if self._text[start] == '"':
                return self._string(start)
            match = _TOKENS.match(self._text, start)
            if match is None:
                raise self._error("illegal character", start)
            self._at = match.end()
            if match["heredoc"]:
                return self._heredoc(match)
            if match["skip"] is None:
                kind = match.lastgroup
                assert kind is not None
                return _Token(match[0] if kind == "sign" else kind, match[0], start)

    def _string(self, start: int) -> _Token:
        """A quoted string; what stands in `${…}` may hold quotes itself and is kept as it is."""
        at, depth = start + 1, 0
        while at < len(self._text):
            char = self._text[at]
            if char == "\\":
                at += 1
            elif char == '"' and not depth:
                break
            elif char == "\n" and not depth:
                raise self._error("literal not terminated", start)
            elif not self._is_json:
                if self._text.startswith("${", at):
                    depth += 1
                elif char == "}" and depth:
                    depth -= 1
            at += 1
        else:
            raise self._error("literal not terminated", start)
        self._at = at + 1
        raw = self._text[start : at + 1]
        if self._is_json:
            return _Token("string", json.loads(raw), start)
        try:
            return _Token("string", _ESCAPE.sub(_unescape, raw[1:-1]), start)
        except ValueError as error:
            raise self._error(str(error), start) from None

    def _heredoc(self, opening: re.Match[str]) -> _Token:
        end = re.compile(rf"^[ \t]*{re.escape(opening['tag'])}[ \t\r]*$", re.MULTILINE).search(
            self._text, self._at
        )
        if end is None:
            raise self._error("heredoc not terminated", opening.start())
        body = self._text[self._at : end.start()]
        self._at = end.end()
        if opening["heredoc"].startswith("<<-"):
            lines = body.splitlines(keepends=True)
            indent = min((len(s) - len(s.lstrip(" \t")) for s in lines if s.strip()), default=0)
            body = "".join(line[indent:] for line in lines)
        return _Token("heredoc", body, opening.start())

    def _found(self) -> str:
        token = self._token
        return "EOF" if token.kind == "end" else _NAMES.get(token.kind, token.text)

    def _line(self, token: _Token) -> int:
        return self._text.count("\n", 0, token.start) + 1

    def _error(self, what: str, at: int | None = None) -> ConfigError:
        at = self._token.start if at is None else at
        line = self._text.count("\n", 0, at) + 1
        column = at - (self._text.rfind("\n", 0, at) + 1) + 1
        return ConfigError(f"At {line}:{column}: {what}")


_WORDS: dict[str, Scalar] = {"true": True, "false": False, "null": None}


def _unescape(match: re.Match[str]) -> str:
    """What an escape stands for; ValueError says why it stands for nothing."""
    for base, digits in ((16, match["x"] or match["u"] or match["U"]), (8, match["o"])):
        if digits:
            if int(digits, base) > 0x10FFFF:
                raise ValueError("escape sequence is invalid Unicode code point")
            return chr(int(digits, base))
    if match["c"] not in _LETTERS:
        raise ValueError(f"illegal char escape \\{match['c']}")
    return _LETTERS[match["c"]]


def _number(text: str) -> int | float:
    if "x" in text.lower():
        return int(text, 16)
    return float(text) if any(char in text for char in ".eE") else int(text)


def _check_json(text: str) -> None:
    """Let the strict parser have the first word on JSON; ours is more generous, for HCL's sake."""
    try:
        json.loads(text.removeprefix("\ufeff"))
    except json.JSONDecodeError as error:
        raise ConfigError(f"At {error.lineno}:{error.colno}: {error.msg}") from None
    except ValueError as error:  # a number of thousands of digits
        raise ConfigError(str(error)) from None
    except RecursionError:
        raise ConfigError(f"more than {DEPTH_MAX} objects and lists within each other") from None
