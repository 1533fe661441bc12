"""Faults of a link as plain data and arithmetic: the one vocabulary of simulator and live shim.

A `FaultTable` is asked about every datagram and stream write for a verdict: deliver now, later,
twice, damaged or never. It draws from the generator it is given and knows no clock.
"""

from __future__ import annotations

from typing import Literal

from swimnomad.names import Value

Transport = Literal["udp", "tcp"]


class Latency(Value, frozen=True):
    """A distribution of one-way delays in seconds; negative draws count as 0.

    `constant`: a. `uniform`: a … b. `normal`: mean a, standard deviation b. `lognormal`: median a,
    sigma b. `pareto`: minimum a, shape b.
    """

    kind: Literal["constant", "uniform", "normal", "lognormal", "pareto"] = "constant"
    a: float = 0.0
    b: float = 0.0


class LinkFault(Value, frozen=True):
    """One fault on the traffic between a node and some others, as that node sees it.

    `hosts`: the remote IP addresses it applies to; empty means all. `direction`: traffic that the
    node receives (`in`), sends (`out`) or both. `transport`: `udp`, `tcp`, both. Probabilities are
    0 … 1 for each datagram; TCP knows only `blocked` and `latency`: the kernel hides the rest.
    """

    hosts: tuple[str, ...] = ()
    direction: Literal["in", "out", "both"] = "both"
    transport: Literal["udp", "tcp", "both"] = "both"
    blocked: bool = False
    loss: float = 0.0
    latency: Latency | None = None
    duplicate: float = 0.0
    reorder: float = 0.0
    corrupt: float = 0.0


class Delivery(Value, frozen=True):
    """Hand over `data` after `delay` seconds."""

    delay: float
    data: bytes
