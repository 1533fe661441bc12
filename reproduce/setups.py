"""How each experiment is set up, for the page: what the sources leave open is said here."""

from __future__ import annotations

SETUPS: dict[str, str] = {
    "swim-detection": """
Profile `paper`, the failure detector alone: no gossip, no push/pull, no stream pings,
suspicions that never end, local health off. Nothing takes time on the way. A victim stops,
is seen to be probed (or suspected), and goes on; then the next. Common rounds: all ticks
begin at whole periods, targets random. Free-running: 100 members, each with its own phase,
targets round-robin. For 1,000 members no one is stopped: every member's wait for its next
probe is counted, which with targets drawn anew each period is the same.
""",
    "swim-probing": """
The same failure detector, free-running, nobody at fault. Round-robin gaps are looked at for
every pair of prober and target. Messages are all datagrams: pings and acks.
""",
    "swim-false-detection": """
50 members, the same failure detector, random targets, every datagram lost with the
probability given. The formula counts accusations in the time in which a crash is noticed on
average, e/(e - 1) periods; so does the figure. The rate of one period is beside it.
""",
    "swim-infection": """
One member changes its metadata; the news travels on pings and acks only. Free-running,
random targets, no limit on retransmissions that would matter: the model has none.
""",
    "formulas": """
The program's own functions; the last row by crashes in pools of each size.
""",
    "dissemination": """
LAN profile, gossip alone (no probes, no push/pull), common rounds of 200 ms, 1 ms a way:
what is told in a round is passed on in the next. The limit on retransmissions holds.
""",
    "memberlist-kill": """
100 members, LAN profile, normal delay of 2 ms ± 1 ms a way, 1 % loss of datagrams. Each
kill in a fresh pool, at a random moment; the process is gone at once and its port refuses
connections.
""",
    "memberlist-kill-sizes": """
LAN profile, 0.2 to 0.8 ms a way, no loss. 20 and 60: Serf nodes; 100, 150, 200: gossip
layer alone. The published figure is one run; the median over several is judged.
""",
    "tuning-suspicion": """
50 members, LAN profile, the same kills with both settings.
""",
    "tuning-retransmit": """
Our guess at "loss and starvation", which the source does not describe: 50 members, LAN
profile, 30 % loss; 5 of them stand still for 4 s, run for 1 s, again and again for 120 s.
All deaths reported are counted, those of the starved included, since nobody died.
""",
    "loss-alone": """
LAN profile, 2 ms ± 1 ms a way, 1, 2, 3, 4, 5 % loss in turn, 60 s a run, stream pings on.
The source ran 200 with each size.
""",
    "lifeguard-alpha": """
128 members, profile `paper` with all of Lifeguard. C members at once become slow, as below, for
32.768 s; for each, the time until the first healthy member reports it failed. C = 1 (four runs),
4, 8 (two each), 16, 32; all detections together, so the large C weigh most. The same seeds with
each alpha.
""",
    "lifeguard": """
128 members, profile `paper`, 120 s a run after 5 s of quiet, the same slow members and moments for
all configurations. C members at once block before each send and after each receive for D seconds,
then run for I seconds, again and again; then they read what waited, 0.04 ms a message, which is
what a real Serf agent takes (`python -m reproduce.reading`). Grid: C = 1, 4, 8, 16, 32, each with
every other cell of D = 0.128, 0.512, 2.048, 8.192, 16.384, 32.768 s by I = 1, 4, 16, 64, 256,
1,024, 4,096, 16,384 ms, in the manner of a chess board, the shortest of both included. A false
positive is a failure reported about a member that was never slow. Datagrams are sent plain, so
bytes are those before compression. Assumed: that clocks run on in a blocked member.
""",
    "rapid": """
1,000 members, LAN profile, stream pings on. 1 % of them lose what comes in: everything, connections
included, for 20 s, then nothing for 20 s; or 80 % of the datagrams all the time. Connections get
through that second fault, as lost segments are sent again, and with them stream pings and
push/pulls: they keep the faulty members in the views. "For good": no healthy member holds it alive
at the end, and none took it back in the last third.
""",
}
"""Experiment to its set-up; line breaks mean nothing."""
