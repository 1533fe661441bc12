"""What stands in a journal, by class: values read back from JSON, and the schema they follow.

The journal's JSON is written from the classes of inputs, effects and events; here the annotations
of the same classes say how to read it. Only inputs and configurations are ever read back: effects
are compared as text.
"""

from __future__ import annotations

import enum
import types
import typing
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import msgspec

from swimnomad.errors import UsageError
from swimnomad.names import Address, Stream
from swimnomad.nomad import peers as _nomad_events
from swimnomad.serf.events import MemberEvent
from swimnomad.serf.inputs import SerfInput
from swimnomad.serf.timers import SerfTimer
from swimnomad.swim import events as _events
from swimnomad.swim import timers as _timers
from swimnomad.swim.effects import Effect, Event
from swimnomad.swim.inputs import Converge, SwimInput, Timer

Json = dict[str, Any]

KNOWN_MODULES = (_nomad_events, _events, _timers)
"""Modules whose classes are found as subclasses: a class is there once its module is imported."""

INPUTS: Mapping[str, type[msgspec.Struct]] = {
    kind.__name__: kind for kind in (*typing.get_args(SwimInput), *typing.get_args(SerfInput))
}
EFFECTS: Mapping[str, type[msgspec.Struct]] = {
    kind.__name__: kind for kind in typing.get_args(Effect)
}
_BASES = (Event, Timer, SerfTimer, MemberEvent)
_CORE = ("swimnomad.swim.", "swimnomad.serf.", "swimnomad.nomad.peers", "swimnomad.nomad.tags")


@cache
def hints(kind: type) -> Mapping[str, Any]:
    """Annotations of a struct's fields, in their order."""
    known = typing.get_type_hints(kind)
    return {field: known[field] for field in kind.__struct_fields__}  # type: ignore[attr-defined]


def subclasses(kind: type) -> Iterator[type]:
    """`kind` and the classes below it that a core may use, by name; not the mere bases."""
    found: dict[str, type] = {}
    todo: list[type] = [kind]
    while todo:
        below = todo.pop()
        todo += below.__subclasses__()
        if below not in _BASES and below.__module__.startswith(_CORE):
            found[below.__name__] = below
    yield from (found[name] for name in sorted(found))


def read_struct(kind: type, fields: Mapping[str, Any]) -> Any:  # noqa: ANN401 - of class `kind`
    """A struct from its fields as JSON.

    Raises:
        UsageError: If a field is missing or not what its annotation says.
    """
    wanted = hints(kind)
    missing = [field for field in wanted if field not in fields]
    if missing:
        raise UsageError(f"a {kind.__name__} without {missing[0]}")
    return kind(**{field: read(fields[field], hint) for field, hint in wanted.items()})


def read(value: Any, hint: Any) -> Any:  # noqa: ANN401 - whatever the annotation says
    """A value from its JSON, by an annotation.

    Raises:
        UsageError: If it does not fit.
    """
    try:
        return _read(value, hint)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise UsageError(f"{str(value)[:100]!r} is not a {hint}: {error}") from None


def _read(value: Any, hint: Any) -> Any:  # noqa: ANN401 - see `read`
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return (
            None
            if value is None
            else read(value, next(a for a in arguments if a is not type(None)))
        )
    if origin is typing.Literal:
        return value
    if origin is tuple:
        kinds = arguments if arguments[-1] is not ... else arguments[:1] * len(value)
        return tuple(read(one, kind) for one, kind in zip(value, kinds, strict=True))
    if origin is not None and issubclass(origin, Mapping):
        return {key: read(one, arguments[1]) for key, one in value.items()}
    if hint is bytes:
        return bytes.fromhex(value)
    if hint is Address:
        host, _, port = value.rpartition(":")
        return Address(host.strip("[]"), int(port))
    if hint is Stream:
        side, _, number = value.partition("-")
        return Stream(side == "in", int(number))
    if hint is float:
        return float(value)
    if issubclass(hint, enum.IntEnum):
        return hint(value)
    if issubclass(hint, msgspec.Struct):
        named = {one.__name__: one for one in subclasses(hint)}
        return read_struct(named.get(value["type"], hint), value)
    if type(value) is not hint:
        raise TypeError(type(value).__name__)
    return value


# --- schema ---------------------------------------------------------------------------------------


def schema_of(hint: Any) -> Json:  # noqa: ANN401 - any annotation
    """JSON Schema of a value, by an annotation."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return {"anyOf": [schema_of(one) for one in arguments]}
    if origin is typing.Literal:
        return {"enum": list(arguments)}
    if origin is tuple:
        if arguments[-1] is ...:
            return {"type": "array", "items": schema_of(arguments[0])}
        return {"type": "array", "prefixItems": [schema_of(one) for one in arguments]}
    if origin is not None and issubclass(origin, Mapping):
        return {"type": "object", "additionalProperties": schema_of(arguments[1])}
    if hint in _PLAIN:
        return _PLAIN[hint]
    if issubclass(hint, enum.IntEnum):
        return {"enum": [int(one) for one in hint]}
    named = [{"$ref": f"#/$defs/{one.__name__}"} for one in subclasses(hint)]
    return named[0] if len(named) == 1 else {"anyOf": named}


_PLAIN: Mapping[Any, Json] = {
    bytes: {"type": "string", "pattern": "^([0-9a-f]{2})*$"},
    Address: {"type": "string", "description": "host:port, IPv6 in brackets"},
    Stream: {"type": "string", "pattern": "^(in|out)-[0-9]+$"},
    float: {"anyOf": [{"type": "number"}, {"enum": ["inf", "-inf", "nan"]}]},
    int: {"type": "integer"},
    bool: {"type": "boolean"},
    str: {"type": "string"},
    type(None): {"type": "null"},
    object: {},
}


def fields_schema(kind: type) -> Json:
    """Properties of a struct's fields; a roster is told by its number, see the journal."""
    if kind is Converge:
        return {"roster": {"type": "integer", "minimum": 1}}
    return {field: schema_of(hint) for field, hint in hints(kind).items()}


def definitions() -> Json:
    """Schemas of every struct that may stand inside a line, by name."""
    found: dict[str, type] = {}
    todo: list[Any] = [*INPUTS.values(), *EFFECTS.values()]
    while todo:
        hint = todo.pop()
        arguments = typing.get_args(hint)
        if arguments:
            todo += [one for one in arguments if one is not ...]
        elif isinstance(hint, type) and issubclass(hint, msgspec.Struct) and hint is not Stream:
            fresh = [one for one in subclasses(hint) if one.__name__ not in found]
            for one in fresh:
                found[one.__name__] = one
                todo += hints(one).values()
    return {
        name: {
            "type": "object",
            "description": (found[name].__doc__ or "").split("\n")[0],
            "properties": {"type": {"const": name}, **fields_schema(found[name])},
            "required": ["type", *fields_schema(found[name])],
        }
        for name in sorted(found)
        if issubclass(found[name], Timer) or name not in (*INPUTS, *EFFECTS)
    }
