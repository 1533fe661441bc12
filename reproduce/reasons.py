"""Why rows miss their bands, as far as it was found out; shown only while they miss."""

from __future__ import annotations

REASONS: dict[str, str] = {
    "kill-100-p99": (
        "all members report a killed one within a few tenths of a second, so the 99th percentile of"
        " 30 kills is the slowest kill. The dead is probed about once a second by somebody, so the"
        " slowest of 30 waits H(30) = 4.0 s for that on average; 1 s until the suspicion and its"
        " minimum of 8 s make 13 s and more. The reference is one run of 30 kills, a quick one"
    ),
}
"""Row to the reason of its miss."""

UNKNOWN = "the reason has not been found"
