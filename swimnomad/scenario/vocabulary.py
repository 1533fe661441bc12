"""The closed vocabulary of scenario files: every step and check, and where each is possible.

A word without arguments here is part of the language but not available yet; a word outside the
tables is a mistake in the file. Either way the loader says so before anything runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from swimnomad.names import Value
from swimnomad.scenario import model

BACKENDS = ("sim", "live", "hosts", "compose")
"""Where a scenario can be asked to run."""
BACKENDS_AVAILABLE = ("sim", "live")
TOP_KEYS = ("name", "description", "cluster", "network", "duration", "steps", "expect")
STEP_KEYS = ("at", "after", "timeout", "id")
"""What may stand beside the word of a step."""
EXPECT_KEYS = ("at", "within", "of", "always")
"""What may stand beside the word of a check."""
REPEAT_KEYS = ("times", "every", "steps")
SIM = frozenset({"sim"})
ANYWHERE = frozenset(BACKENDS_AVAILABLE)


class Word(Value, frozen=True):
    """A step or a check: the class of its arguments (None: not available yet), and where."""

    args: type[Value] | None = None
    on: frozenset[str] = ANYWHERE


STEPS: Mapping[str, Word] = MappingProxyType(
    {
        # A local cluster of processes has the size it was started with.
        "start": Word(model.StartArgs, SIM),
        "join": Word(model.JoinArgs),
        "leave": Word(model.TargetArgs),
        "force-leave": Word(model.ForceLeaveArgs),
        "prune": Word(model.ForceLeaveArgs),
        "kill": Word(model.TargetArgs),
        "restart": Word(model.RestartArgs),
        "pause": Word(model.TargetArgs),
        "resume": Word(model.TargetArgs),
        "starve": Word(model.StarveArgs),
        "partition": Word(model.PartitionArgs),
        "heal": Word(model.HealArgs),
        "loss": Word(model.LossArgs),
        "latency": Word(model.LatencyArgs),
        "duplicate": Word(model.DuplicateArgs),
        "reorder": Word(model.ReorderArgs),
        "corrupt": Word(model.CorruptArgs),
        "block": Word(model.BlockArgs),
        # Nobody can set the monotonic clock of a process.
        "skew": Word(model.SkewArgs, SIM),
        "churn": Word(model.ChurnArgs),
        # An agent changes its tags only by being configured anew.
        "tags": Word(model.TagsArgs, SIM),
        # Nomad's HTTP API cannot fire user events.
        "event": Word(model.EventArgs, SIM),
        "query": Word(),
        "key-rotate": Word(),
        # A local cluster has no place for another agent.
        "conflict": Word(model.ConflictArgs, SIM),
        "flood": Word(model.FloodArgs),
        "repeat": Word(model.RepeatArgs),
    }
)
"""Everything that can happen."""

LINK_STEPS = ("partition", "loss", "latency", "duplicate", "reorder", "corrupt", "block")
"""Steps that make links worse until a heal."""
HEALED_STEPS = (*LINK_STEPS, "starve", "skew")
"""Steps that a heal ends."""

CHECKS: Mapping[str, Word] = MappingProxyType(
    {
        "status": Word(model.StatusArgs),
        "converged": Word(model.NoArgs),
        "agree": Word(model.NoArgs),
        "detected": Word(model.DetectedArgs),
        "false-positives": Word(model.LimitArgs),
        "dissemination": Word(model.DisseminationArgs),
        "load": Word(model.LoadArgs),
        "event-delivered": Word(model.DeliveredArgs, SIM),
        "query-answered": Word(),
        "leader": Word(),
        # Agents do not tell over HTTP what they dropped.
        "no-errors": Word(model.NoArgs, SIM),
        "health-score": Word(model.LimitArgs),
        # Only the simulator can look into a node after each of its steps.
        "invariants": Word(model.NoArgs, SIM),
    }
)
"""Everything that can be checked."""

CONDITIONS = ("converged", "agree", "status", "event-delivered", "health-score")
"""Checks that a step can wait for: those that become true."""


def why_unknown(kind: str, word: str, known: Mapping[str, Word]) -> str:
    """Why a word cannot be used anywhere; empty if it can."""
    if word not in known:
        return f"unknown {kind}; allowed are {', '.join(known)}"
    return "" if known[word].args is not None else "not available yet"


def why_not_on(word: str, known: Mapping[str, Word], on: str) -> str:
    """Why a known word cannot be used on a backend; empty if it can."""
    return "" if on in known[word].on else f"not possible on {on}"


def why_not_args(args: Value, on: str) -> str:
    """Why a word cannot be used with these arguments on a backend; empty if it can."""
    if on == "sim":
        return ""
    match args:
        case model.RestartArgs(address="new"):
            return f"address: new is not possible on {on}; allowed is same"
        case model.RestartArgs(join=False):
            return f"join: false is not possible on {on}: agents join by themselves"
        case model.LoadArgs(messages_per_second=limit) if limit is not None:
            return f"messages-per-second is not possible on {on}: agents count bytes only"
        case _:
            return ""
