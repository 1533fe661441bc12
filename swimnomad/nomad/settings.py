"""One source of configuration as checked values by dotted path, and the merge of several.

A tree from a file is held against the table of keys: what is not in it, or has another type than
it says, is refused with the place. Later sources win by Nomad's rules, which depend on the kind.

Source: nomad-agent.md §10.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from swimnomad.errors import ConfigError, UsageError
from swimnomad.nomad.durations import parse_duration
from swimnomad.nomad.hcl import Entry, Items, Leaf, Object, Tree, plain
from swimnomad.nomad.schema import SCHEMA, Block, Key, Kind, walk

Settings = dict[str, object]
"""Dotted path of a key to its value; keys that were not given are not there."""

Places = dict[str, str]
"""Dotted path of a key to where it stands, as `<file>:<line>`."""

KEYS: Mapping[str, Key] = dict(walk())


def read_settings(tree: Object, file: str) -> tuple[Settings, Places]:
    """Check a file's tree; return its values and where each stands.

    Args:
        tree: As `hcl.parse` made it.
        file: Its name, for messages.

    Raises:
        ConfigError: `<file>:<line>: <block> <key> …`, with what is allowed.
    """
    settings: Settings = {}
    places: Places = {}
    _read_block(settings, places, tree, SCHEMA, "", file)
    return settings, places


def _read_block(
    settings: Settings,
    places: Places,
    tree: Object,
    keys: Mapping[str, Key | Block],
    prefix: str,
    file: str,
) -> None:
    _refuse_unknown(tree, keys, prefix, file)
    for entry in tree.entries:
        item, path, where = keys[entry.key], prefix + entry.key, f"{file}:{entry.line}"
        if isinstance(item, Block):
            for block in _blocks_of(entry, path, where):
                _read_block(settings, places, block, item.keys, f"{path}.", file)
            continue
        value = _read_value(item, entry.value, path, where)
        if item.refusal and value:
            raise ConfigError(f"{where}: {path} cannot be set: {item.refusal}")
        # A key that comes twice in one file is merged like one from two files.
        settings[path] = merge_value(item.kind, settings.get(path), value)
        places[path] = where


def _refuse_unknown(tree: Object, keys: Mapping[str, Key | Block], prefix: str, file: str) -> None:
    unknown = [entry for entry in tree.entries if entry.key not in keys]
    if unknown:
        block = f"{prefix.rstrip('.')} " if prefix else ""
        found = ", ".join(dict.fromkeys(entry.key for entry in unknown))
        raise ConfigError(
            f"{file}:{unknown[0].line}: {block}unexpected keys {found}; "
            f"allowed are {', '.join(keys)}"
        )


def _blocks_of(entry: Entry, path: str, where: str) -> Iterator[Object]:
    """A block, or in JSON a list of them."""
    items = entry.value.items if isinstance(entry.value, Items) else (entry.value,)
    for item in items:
        if not isinstance(item, Object):
            raise ConfigError(f"{where}: {path} is {_shown(item)}; allowed is a block")
        yield item


def _read_value(key: Key, tree: Tree, path: str, where: str) -> object:
    match key.kind:
        case Kind.OPAQUE:
            return plain(tree)
        case Kind.MAP:
            return _read_map(tree, path, where)
        case Kind.APPENDED | Kind.REPLACED:
            if isinstance(tree, Items):
                texts = [_scalar_text(item) for item in tree.items]
                if None not in texts:
                    return tuple(texts)
        case Kind.DURATION | Kind.DURATION_TEXT:
            return _read_duration(key, tree, path, where)
        case _:
            if isinstance(tree, Leaf) and (value := _read_scalar(key.kind, tree)) is not None:
                return _checked_range(key, value, path, where)
    raise ConfigError(f"{where}: {path} is {_shown(tree)}; allowed is {key.kind.words}")


def _read_scalar(kind: Kind, leaf: Leaf) -> object:
    """A value of that kind, or None. Numbers and booleans may stand in quotes, as in Nomad."""
    value = leaf.value
    match kind:
        case Kind.SWITCH | Kind.FLAG:
            return {"true": True, "false": False}.get(str(value).lower())
        case Kind.INT | Kind.FLOAT:
            return _number_of(value, whole=kind is Kind.INT)
        case _:
            return _scalar_text(leaf)


def _number_of(value: object, *, whole: bool) -> int | float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = int(value) if whole else float(value)
    except (ValueError, OverflowError):
        return None
    if isinstance(value, float) and number != value:  # 1.5 is no whole number
        return None
    return number if math.isfinite(number) else None


def _scalar_text(tree: Tree) -> str | None:
    """A string, or a number as text; None for anything else."""
    if isinstance(tree, Leaf) and not isinstance(tree.value, bool | None):
        return str(tree.value)
    return None


def _read_map(tree: Tree, path: str, where: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for item in tree.items if isinstance(tree, Items) else (tree,):
        if not isinstance(item, Object):
            raise ConfigError(f"{where}: {path} is {_shown(item)}; allowed is {Kind.MAP.words}")
        for entry in item.entries:
            leaf = entry.value
            if not isinstance(leaf, Leaf) or leaf.value is None:
                raise ConfigError(f"{where}: {path}.{entry.key} is no string")
            value = leaf.value
            found[entry.key] = str(value).lower() if isinstance(value, bool) else str(value)
    return found


def _read_duration(key: Key, tree: Tree, path: str, where: str) -> object:
    raw = tree.value if isinstance(tree, Leaf) else None
    text = raw if isinstance(raw, str) else ""
    try:
        seconds = parse_duration(text)
    except UsageError:
        raise ConfigError(
            f"{where}: {path} can't parse time duration {_shown(tree).strip(chr(34))}; "
            f"allowed is {key.kind.words}"
        ) from None
    # Where Nomad keeps the text, foreign values are shown as written; ours are used as seconds.
    return text if key.kind is Kind.DURATION_TEXT and not key.ours else seconds


def _checked_range(key: Key, value: object, path: str, where: str) -> object:
    if key.allowed and value not in key.allowed:
        raise ConfigError(
            f"{where}: {path} is {value!r}; allowed are {', '.join(map(str, key.allowed))}"
        )
    if key.low is not None and isinstance(value, int) and not key.low <= value <= (key.high or 0):
        raise ConfigError(f"{where}: {path} is {value}; allowed are {key.low} to {key.high}")
    return value


def _shown(tree: Tree) -> str:
    match tree:
        case Leaf(value=str(value)):
            return f'"{value}"'
        case Leaf(value=bool(value)):
            return str(value).lower()
        case Leaf(value=value):
            return "null" if value is None else str(value)
        case Items():
            return "a list"
        case Object():
            return "a block"


def merge(earlier: Settings, later: Mapping[str, object]) -> Settings:
    """Two sources as one; the later one wins by the rules of each key's kind."""
    merged = dict(earlier)
    for path, value in later.items():
        merged[path] = merge_value(KEYS[path].kind, merged.get(path), value)
    return merged


def merge_value(kind: Kind, earlier: object, later: object) -> object:
    """One value of two sources; `earlier` is None if that source did not give it."""
    match kind:
        case Kind.APPENDED if isinstance(earlier, tuple) and isinstance(later, tuple):
            return earlier + later
        case Kind.MAP if isinstance(earlier, dict) and isinstance(later, dict):
            return {**earlier, **later}
        case Kind.SWITCH:
            return bool(earlier) or bool(later)
        case Kind.FLAG:
            return later
        case _:
            # What is empty counts as not given, as in Nomad: it cannot take anything back.
            return later if later or earlier is None else earlier
