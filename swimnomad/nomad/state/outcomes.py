"""What became of a command that was applied: the same on every server."""

from __future__ import annotations

from swimnomad.names import Value
from swimnomad.nomad.state.records import Token


class Written(Value, frozen=True):
    """It changed the state at `index`; `tokens` are those it wrote, as they now stand."""

    index: int
    tokens: tuple[Token, ...] = ()


class Unchanged(Value, frozen=True):
    """Its condition did not hold; nothing changed."""


class Refused(Value, frozen=True):
    """It was not possible; nothing changed.

    `text` says why in Nomad's words, `code` is the number that travels with it, if any.
    """

    text: str
    code: int | None = None


Outcome = Written | Unchanged | Refused
