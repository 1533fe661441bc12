"""Paths as the reference's router treats them: cleaned ones only, others are redirected.

Source: agent-http.md §1.1.
"""

from __future__ import annotations

import html
from urllib.parse import quote

from swimnomad.http.calls import Answer

_PHRASES = {301: "Moved Permanently", 307: "Temporary Redirect"}


def clean_path(path: str) -> str:
    """The path without doubled slashes and dotted segments; a slash at the end stays."""
    kept: list[str] = []
    for segment in path.split("/"):
        if segment == "..":
            del kept[-1:]
        elif segment not in ("", "."):
            kept.append(segment)
    cleaned = "/" + "/".join(kept)
    return f"{cleaned}/" if path.endswith("/") and kept else cleaned


def redirect(status: int, location: str, method: str) -> Answer:
    """Send the client elsewhere; a GET carries a link for people.

    Args:
        status: 301 or 307.
        location: Where to, already quoted.
        method: Of the request.
    """
    headers = {"location": location}
    if method not in ("GET", "HEAD"):
        return Answer(status, headers=headers)
    link = f'<a href="{html.escape(location)}">{_PHRASES[status]}</a>.\n\n'
    return Answer(status, link.encode(), "text/html; charset=utf-8", headers)


def quoted(path: str, query_string: bytes) -> str:
    """A path and its query as they stand in `Location`."""
    text = quote(path, safe="/:@!$&'()*+,;=~")
    return f"{text}?{query_string.decode('latin-1')}" if query_string else text
