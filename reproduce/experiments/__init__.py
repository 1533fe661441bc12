"""The experiments: each runs nodes, looks, and returns what it saw, row by row."""

from __future__ import annotations

from collections.abc import Callable

from reproduce.effort import Effort
from reproduce.experiments.detection import swim_detection
from reproduce.experiments.dissemination import gossip_dissemination, swim_infection
from reproduce.experiments.false_detection import swim_false_detection
from reproduce.experiments.formulas import published_formulas
from reproduce.experiments.kills import memberlist_kill, memberlist_kill_sizes
from reproduce.experiments.lifeguard import lifeguard_ablation
from reproduce.experiments.probing import swim_probing
from reproduce.experiments.rapid import rapid_views
from reproduce.experiments.tuning import (
    lifeguard_alpha,
    loss_alone,
    retransmit_tuning,
    suspicion_tuning,
)
from reproduce.rows import Measurement

Run = Callable[[Effort], list[Measurement]]

EXPERIMENTS: dict[str, Run] = {
    "swim-detection": swim_detection,
    "swim-probing": swim_probing,
    "swim-false-detection": swim_false_detection,
    "swim-infection": swim_infection,
    "formulas": published_formulas,
    "dissemination": gossip_dissemination,
    "memberlist-kill": memberlist_kill,
    "memberlist-kill-sizes": memberlist_kill_sizes,
    "tuning-suspicion": suspicion_tuning,
    "tuning-retransmit": retransmit_tuning,
    "loss-alone": loss_alone,
    "lifeguard-alpha": lifeguard_alpha,
    "lifeguard": lifeguard_ablation,
    "rapid": rapid_views,
}
"""Every experiment by its name, in the order in which they run."""
