"""Why rows miss their bands, as far as it was found out; shown only while they miss."""

from __future__ import annotations

_READING = """
a slow member that reads slowly stays deaf for good, and then even Lifeguard's long suspicions run
out; how long reading took the authors' members is not known. The row's note shows it: at a third of
our guess of 0.1 ms Lifeguard makes (nearly) no false positive, at three times the guess more. Where
members have the time to read what waited (D = 16.384 s), LHA-Suspicion and Lifeguard make
(nearly) none
"""

REASONS: dict[str, str] = {
    "kill-100-p99": """
the reports of one kill come within half a second of each other, so this percentile is about which
victim was found last, and not about so many thousand independent detections. A victim waits
exponentially long for its first probe, 99th percentile 4.5 periods (swim-detection, in band), and
nine seconds more until it is reported dead; over ever more kills that makes 13.6 s. The published
figure rests on 30 kills, and about one batch of 30 in three falls into the band: the note lists
them. The median and its band agree
""",
    "lifeguard-order": f"""
with D = 2.048 s LHA-Suspicion does worse than published: {_READING.strip()}. LHA-Probe helps where
slowness is shorter than its longest deadline of 9 s and not where it is longer, so its total is set
by the mixture of the two in the grid. The Buddy System makes no difference that stands out of
chance: here the suspect hears of the suspicion from gossip as soon as the slow member can send
""",
    "lifeguard-share": _READING,
    "lifeguard-healthy": """
too few to compare: healthy members report hardly any false positive in these runs, under plain SWIM
either. It takes a member that says "dead" before it has said "suspect"; ours, once they go on, send
their suspicion at once, sending taking no time, and the accused has refuted it when the death comes
""",
    "lifeguard-messages": """
the two rhythms pull in opposite directions. Short slowness makes Lifeguard's slow members probe
less often and saves messages, long slowness makes more confirmations to pass on (LHA-Suspicion
alone adds more than the published 11 %). The sum depends on the mixture in the grid, and ours is a
small part of the paper's
""",
    "lifeguard-bytes": """
as for messages, the mixture in the grid decides; and these are bytes before compression, while
the paper counts them after
""",
    "lifeguard-dose-apart": f"""
SWIM's false positives are those of the grid; of Lifeguard's, {_READING.strip()}
""",
}
"""Row to the reason of its miss; line breaks mean nothing."""

UNKNOWN = "the reason has not been found"
