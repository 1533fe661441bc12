"""Why rows miss their bands, as far as it was found out; shown only while they miss."""

from __future__ import annotations

REASONS: dict[str, str] = {
    "kill-100-p99": """
the reports of one kill come within half a second of each other, so this percentile is about which
victim was found last, and not about so many thousand independent detections. A victim waits
exponentially long for its first probe, 99th percentile 4.5 periods (swim-detection, in band), and
nine seconds more until it is reported dead; over ever more kills that makes 13.6 s. The published
figure rests on 30 kills, of which such a quick one is no surprise: by that theory about one batch
of 30 in five stays below its longest time. The note lists ours. The median and its band agree
""",
    "lifeguard-healthy": """
too few to compare: healthy members report hardly any false positive in these runs, under plain SWIM
either. It takes a member that says "dead" before it has said "suspect"; ours, once they go on, send
their suspicion at once, sending taking no time, and the accused has refuted it when the death comes
""",
    "lifeguard-messages": """
short slowness and long pull in opposite directions, and the sum depends on how often each occurs.
Up to D = 2.048 s Lifeguard's slow members probe less often and save messages. From 8.192 s on plain
SWIM declares them dead and then spends nothing on them, while Lifeguard still suspects them, probes
them and passes confirmations on. The paper does not say how its cells weigh; each of ours weighs
the same
""",
}
"""Row to the reason of its miss; line breaks mean nothing."""

UNKNOWN = "the reason has not been found"
