"""Why rows miss their bands, as far as it was found out; shown only while they miss."""

from __future__ import annotations

REASONS: dict[str, str] = {}
"""Row to the reason of its miss."""

UNKNOWN = "the reason has not been found"
