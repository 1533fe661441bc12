"""How to make a core again: what a journal tells at the boot of a node."""

from __future__ import annotations

import random
from typing import Any, Literal

from swimnomad.names import Value
from swimnomad.nomad.core import NomadCore
from swimnomad.nomad.filter import ServersOnly
from swimnomad.serf.config import SerfConfig
from swimnomad.serf.node import SerfNode
from swimnomad.swim.config import SwimConfig
from swimnomad.swim.core import Core
from swimnomad.swim.node import SwimNode

NODE_ID_BITS = 128
"""Drawn by the simulated server before its core is made."""


class Recipe(Value, frozen=True):
    """A protocol stack, its settings, and the seed of the generator it was given.

    `serf` is None for a bare gossip node. `region` and `allow_any_serf` are of a Nomad server.
    """

    stack: Literal["swim", "serf", "nomad"]
    seed: str
    swim: SwimConfig
    serf: SerfConfig | None = None
    region: str = ""
    allow_any_serf: bool = False


def generator(seed: str) -> random.Random:
    """The generator for a Nomad server's core, as a replay of it makes it.

    The identifier is drawn first, as a simulated server does, also by a server that has one.
    """
    rng = random.Random(seed)
    rng.getrandbits(NODE_ID_BITS)
    return rng


def recipe_of(core: Core, seed: str) -> Recipe | None:
    """The recipe of a core that has just been made; None if it is of no kind we know."""
    inner: Any = core
    while not isinstance(inner, SwimNode | SerfNode | NomadCore):
        inner = getattr(inner, "core", None)  # what watches a core keeps it so
        if inner is None:
            return None
    if isinstance(inner, SwimNode):
        return Recipe("swim", seed, inner.config)
    if isinstance(inner, SerfNode):
        return Recipe("serf", seed, inner.config.swim, inner.config)
    serf = inner.serf.config
    return Recipe("nomad", seed, serf.swim, serf, inner.region, inner.allow_any_serf)


def make_core(recipe: Recipe) -> Core:
    """The same core once more, without keys."""
    if recipe.serf is None:
        return SwimNode(recipe.swim, random.Random(recipe.seed))
    if recipe.stack == "serf":
        return SerfNode(recipe.serf, random.Random(recipe.seed))
    rng = generator(recipe.seed)
    member_filter = None if recipe.allow_any_serf else ServersOnly()
    serf = SerfNode(recipe.serf, rng, member_filter=member_filter)
    return NomadCore.around(serf, recipe.region, allow_any_serf=recipe.allow_any_serf)
