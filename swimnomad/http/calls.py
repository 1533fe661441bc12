"""One request as a handler sees it, and the rules for query parameters.

Source: agent-http.md §1.6.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from urllib.parse import parse_qsl

from swimnomad.errors import UsageError
from swimnomad.names import Value
from swimnomad.nomad.durations import parse_duration
from swimnomad.nomad.failures import RequestFailed

QUERY_FIELDS_MAX = 1000
"""Parameters in one query; further ones are ignored."""

_INDEX = re.compile(r"[0-9]{1,20}")


class Query:
    """Query parameters. Only the first value of a parameter counts unless asked for all."""

    def __init__(self, query_string: bytes) -> None:
        self._values: dict[str, list[str]] = {}
        parts = query_string.split(b"&", QUERY_FIELDS_MAX)[:QUERY_FIELDS_MAX]
        text = b"&".join(parts).decode("latin-1")
        for name, value in parse_qsl(text, keep_blank_values=True):
            self._values.setdefault(name, []).append(value)

    def first(self, name: str) -> str:
        """First value; empty if there is none."""
        values = self._values.get(name)
        return values[0] if values else ""

    def all(self, name: str) -> Sequence[str]:
        """Every value in order."""
        return self._values.get(name, ())

    def has(self, name: str) -> bool:
        """Whether the parameter is there, with or without a value."""
        return name in self._values

    @property
    def pretty(self) -> bool:
        """Whether the answer shall be indented: present with any value but exactly `0`."""
        return self.has("pretty") and self.first("pretty") != "0"

    def check_blocking(self) -> None:
        """Check `wait` and `index`, which every listing takes and none of ours obeys.

        Raises:
            RequestFailed: With status 400, if either is malformed.
        """
        if wait := self.first("wait"):
            try:
                parse_duration(wait)
            except UsageError:
                raise RequestFailed("Invalid wait time", status=400) from None
        index = self.first("index") or "0"
        if not _INDEX.fullmatch(index) or int(index) >= 2**64:
            raise RequestFailed("Invalid index", status=400)


class Call(Value, frozen=True):
    """A request to an endpoint: its method, query, body, and what stood in for `{name}`.

    `token` is the secret of the caller's ACL token; empty for nobody.
    """

    method: str
    query: Query
    body: bytes = b""
    name: str = ""
    token: str = ""


class Answer(Value, frozen=True):
    """What goes back. An empty body has no content type."""

    status: int = 200
    body: bytes = b""
    content_type: str = ""
    headers: Mapping[str, str] = {}


TEXT = "text/plain; charset=utf-8"
JSON = "application/json"


def text_answer(status: int, text: str) -> Answer:
    """Plain text; bytes that were not UTF-8 come back as they were."""
    return Answer(status, text.encode("utf-8", "surrogateescape"), TEXT if text else "")


def failure_answer(error: Exception) -> Answer:
    """The answer to a request that failed.

    Source: agent-http.md §6.
    """
    text = str(error)
    if isinstance(error, RequestFailed) and error.status != 500:
        return text_answer(error.status, text)
    if coded := re.match(r"RPC Error:: ([0-9]{3}),", text):
        return text_answer(int(coded[1]), text[coded.end() :])
    for refusal in ("Permission denied", "ACL token not found"):
        if text.endswith(refusal):
            return text_answer(403, refusal)
    return text_answer(500, text)
