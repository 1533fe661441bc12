"""Text that can go on the wire."""

from __future__ import annotations


def is_writable(text: str) -> bool:
    """Whether the text has bytes: lone surrogates, which JSON can smuggle in, have none.

    Surrogates that stand for bytes which are not UTF-8 are fine: names come from peers, too.
    """
    try:
        text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return False
    return True
