"""Faults of a link as plain data and arithmetic: the one vocabulary of simulator and live shim.

A `FaultTable` stands between a node and its network. It is asked about every datagram and stream
write for a verdict: deliver now, later, twice, damaged or never. It draws from the generator it is
given, knows no clock, and draws nothing for a fault that is off: a table without probabilities
leaves the generator untouched, so adding one kind of fault does not move the draws of a run that
has none of it.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping
from typing import Literal

import msgspec

from swimnomad.errors import UsageError
from swimnomad.names import Value, host_of_ip, ip_of_host

Transport = Literal["udp", "tcp"]
Direction = Literal["in", "out", "both"]

FAULTS_MAX = 1024
"""Faults in one table; a client that adds without removing stops here."""
HOSTS_MAX = 65_536
"""Remote hosts in one fault."""
DELAY_MAX = 3600.0
"""Longest delay, in seconds, that a verdict asks for."""
NAME_LENGTH_MAX = 128
"""Characters in the name of a fault."""


class Latency(Value, frozen=True, forbid_unknown_fields=True):
    """A distribution of one-way delays in seconds; negative draws count as 0.

    `constant`: a. `uniform`: a … b. `normal`: mean a, standard deviation b. `lognormal`: median a,
    sigma b. `pareto`: minimum a, shape b.
    """

    kind: Literal["constant", "uniform", "normal", "lognormal", "pareto"] = "constant"
    a: float = 0.0
    b: float = 0.0

    def sample(self, rng: random.Random) -> float:
        """Draw one delay: 0 … `DELAY_MAX` seconds. `constant` draws nothing from `rng`."""
        match self.kind:
            case "constant":
                delay = self.a
            case "uniform":
                delay = rng.uniform(self.a, self.b)
            case "normal":
                # Not gauss(): it keeps every second draw for later, outside what a seed shows.
                delay = rng.normalvariate(self.a, self.b)
            case "lognormal":
                delay = self.a * math.exp(rng.normalvariate(0.0, self.b))
            case "pareto":
                delay = self.a * rng.paretovariate(self.b)
        return min(max(delay, 0.0), DELAY_MAX)

    def validate(self, where: str = "latency") -> None:
        """Check the parameters.

        Raises:
            UsageError: Naming the field below `where`, what was found and what is allowed.
        """
        _check_range(f"{where}.a", self.a, 0.0, DELAY_MAX)
        match self.kind:
            case "constant":
                if self.b != 0:
                    raise UsageError(f"{where}.b must be absent when kind is constant: {self.b}")
            case "uniform":
                _check_range(f"{where}.b", self.b, self.a, DELAY_MAX)
            case "normal":
                _check_range(f"{where}.b", self.b, 0.0, DELAY_MAX)
            case "lognormal":
                _check_range(f"{where}.b", self.b, 0.0, 10.0)
            case "pareto":
                _check_range(f"{where}.b", self.b, 0.1, 1000.0)


class LinkFault(Value, frozen=True, forbid_unknown_fields=True):
    """One fault on the traffic between a node and some others, as that node sees it.

    `hosts`: the remote IP addresses it applies to; empty means all. `direction`: traffic that the
    node receives (`in`), sends (`out`) or both. `transport`: `udp`, `tcp`, both. Probabilities are
    0 … 1 for each datagram; TCP knows only `blocked` and `latency`: the kernel hides the rest.
    """

    hosts: tuple[str, ...] = ()
    direction: Direction = "both"
    transport: Literal["udp", "tcp", "both"] = "both"
    blocked: bool = False
    loss: float = 0.0
    latency: Latency | None = None
    duplicate: float = 0.0
    reorder: float = 0.0
    """Probability of being held back, for 0 … `reorder_delay` seconds, while later ones pass."""
    corrupt: float = 0.0
    """Probability that one bit is flipped."""
    reorder_delay: float = 0.05

    def validate(self) -> None:
        """Check every field.

        Raises:
            UsageError: Naming the field, what was found and what is allowed.
        """
        if len(self.hosts) > HOSTS_MAX:
            raise UsageError(f"hosts: at most {HOSTS_MAX} addresses, not {len(self.hosts)}")
        for host in self.hosts:
            try:
                ip_of_host(host)
            except UsageError as error:
                raise UsageError(f"hosts: {error}") from None
        for field in ("loss", "duplicate", "reorder", "corrupt"):
            _check_range(field, getattr(self, field), 0.0, 1.0)
        _check_range("reorder_delay", self.reorder_delay, 0.0, DELAY_MAX)
        if self.latency is not None:
            self.latency.validate()


class Delivery(Value, frozen=True):
    """Hand over `data` after `delay` seconds."""

    delay: float
    data: bytes


class FaultTable:
    """The faults in force at one node, by name; combines them into a verdict.

    All faults that match are applied, oldest first: one that blocks or loses ends the matter,
    delays add up, and a duplicate goes through the later faults by itself.
    """

    def __init__(self) -> None:
        self._faults: dict[str, LinkFault] = {}
        self._rules: dict[tuple[Transport, bool], list[_Rule]] = {}

    def list_faults(self) -> dict[str, LinkFault]:
        """Faults in force by name, oldest first; the caller's own copy."""
        return dict(self._faults)

    def set_fault(self, name: str, fault: LinkFault) -> None:
        """Add a fault, or replace the one of that name in its place.

        Raises:
            UsageError: If the name or a field is not allowed, or the table is full.
        """
        if not 0 < len(name) <= NAME_LENGTH_MAX:
            raise UsageError(
                f"a fault's name has 1 to {NAME_LENGTH_MAX} characters: {name[:200]!r}"
            )
        fault.validate()
        if name not in self._faults and len(self._faults) >= FAULTS_MAX:
            raise UsageError(f"at most {FAULTS_MAX} faults at one time")
        self._faults[name] = fault
        self._compile()

    def clear_faults(self, name: str | None = None) -> int:
        """Remove one fault, or all; return how many there were."""
        if name is None:
            count = len(self._faults)
            self._faults.clear()
        else:
            count = 0 if self._faults.pop(name, None) is None else 1
        self._compile()
        return count

    def applies(self, transport: Transport, inbound: bool) -> bool:
        """Whether any fault concerns this kind of traffic: False lets a driver take a short cut."""
        return (transport, inbound) in self._rules

    def blocks(self, transport: Transport, inbound: bool, remote: str) -> bool:
        """Whether all traffic of this kind with `remote` is blocked; draws nothing."""
        rules = self._rules.get((transport, inbound), ())
        return any(rule.fault.blocked and rule.matches(remote) for rule in rules)

    def verdict(
        self, transport: Transport, inbound: bool, remote: str, data: bytes, rng: random.Random
    ) -> tuple[Delivery, ...]:
        """What becomes of one datagram or stream write: none is a loss, two a duplicate.

        For TCP, a driver keeps the order of a stream's writes whatever the delays say.

        Args:
            transport: `udp` for a datagram, `tcp` for a stream write (or connect, without data).
            inbound: Whether this node receives it.
            remote: IP address of the other side.
            data: The bytes.
            rng: Source of the draws.
        """
        deliveries = [Delivery(0.0, data)]
        for rule in self._rules.get((transport, inbound), ()):
            if not rule.matches(remote):
                continue
            if rule.fault.blocked:
                return ()
            if transport == "tcp":
                deliveries = [_delayed(rule.fault, one, rng) for one in deliveries]
            else:
                deliveries = [out for one in deliveries for out in _apply(rule.fault, one, rng)]
        return tuple(deliveries)

    def _compile(self) -> None:
        """Sort the faults by the traffic they concern, so that a verdict looks at few."""
        rules: dict[tuple[Transport, bool], list[_Rule]] = {}
        for fault in self._faults.values():
            rule = _Rule(fault)
            transports: tuple[Transport, ...] = ("udp", "tcp")
            for transport in transports:
                for inbound, direction in ((True, "in"), (False, "out")):
                    if fault.transport in (transport, "both") and fault.direction in (
                        direction,
                        "both",
                    ):
                        rules.setdefault((transport, inbound), []).append(rule)
        self._rules = rules


class _Rule:
    """A fault with its hosts as a set, each written as addresses of peers are."""

    __slots__ = ("_hosts", "fault")

    def __init__(self, fault: LinkFault) -> None:
        self.fault = fault
        self._hosts = frozenset(host_of_ip(ip_of_host(host)) for host in fault.hosts)

    def matches(self, remote: str) -> bool:
        """Whether the fault concerns traffic with `remote`."""
        return not self._hosts or remote in self._hosts


def _apply(fault: LinkFault, delivery: Delivery, rng: random.Random) -> list[Delivery]:
    """One fault on one datagram. The order of the draws is part of a seed's meaning: keep it."""
    if fault.loss and rng.random() < fault.loss:
        return []
    copies = 2 if fault.duplicate and rng.random() < fault.duplicate else 1
    out: list[Delivery] = []
    for _ in range(copies):
        delay, data = _delayed(fault, delivery, rng).delay, delivery.data
        if fault.reorder and rng.random() < fault.reorder:
            delay = min(delay + rng.uniform(0.0, fault.reorder_delay), DELAY_MAX)
        if fault.corrupt and rng.random() < fault.corrupt:
            data = _flip_bit(data, rng)
        out.append(Delivery(delay, data))
    return out


def _delayed(fault: LinkFault, delivery: Delivery, rng: random.Random) -> Delivery:
    if fault.latency is None:
        return delivery
    return Delivery(min(delivery.delay + fault.latency.sample(rng), DELAY_MAX), delivery.data)


def _flip_bit(data: bytes, rng: random.Random) -> bytes:
    if not data:
        return data
    bit = rng.randrange(len(data) * 8)
    damaged = bytearray(data)
    damaged[bit // 8] ^= 1 << bit % 8
    return bytes(damaged)


def _check_range(field: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:  # also refuses NaN
        raise UsageError(f"{field} must be {low:g} to {high:g}, not {value:g}")


def fault_to_json(fault: LinkFault) -> bytes:
    """A fault as a JSON object with every field, as `fault_from_json` reads it."""
    return msgspec.json.encode(fault)


def fault_from_json(data: bytes) -> LinkFault:
    """Read a fault from a JSON object; absent fields take their defaults.

    Raises:
        UsageError: If it is not such an object; names the field and what is allowed.
    """
    return _checked(lambda: msgspec.json.decode(data))


def fault_from_value(value: object) -> LinkFault:
    """Read a fault from what a JSON or YAML parser returned; see `fault_from_json`.

    Raises:
        UsageError: If it is not such an object; names the field and what is allowed.
    """
    return _checked(lambda: value)


def _checked(read: Callable[[], object]) -> LinkFault:
    try:
        value = read()
        _check_keys(value, LinkFault)
        if isinstance(value, dict) and value.get("latency") is not None:
            _check_keys(value["latency"], Latency, "latency.")
        fault = msgspec.convert(value, LinkFault)
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError) as error:
        raise UsageError(f"not a link fault: {error}") from None
    fault.validate()
    return fault


def _check_keys(value: object, kind: type[Value], prefix: str = "") -> None:
    """Name the allowed fields, which the decoder's own message does not."""
    if isinstance(value, dict):
        for key in value:
            if key not in kind.__struct_fields__:
                allowed = ", ".join(kind.__struct_fields__)
                raise UsageError(f"unknown field {prefix}{key}: allowed are {allowed}")


def partition_faults(
    first: Mapping[str, str], second: Mapping[str, str], *, one_way: bool = False
) -> dict[str, LinkFault]:
    """The fault for each node that cuts two groups apart; on both sides, so that one is enough.

    Args:
        first: Name to IP address of one group.
        second: The other; no name is in both.
        one_way: Only what goes from the first to the second is cut.

    Raises:
        UsageError: If a node is in both groups.
    """
    for name in first:
        if name in second:
            raise UsageError(f"node {name} cannot be on both sides of a partition")
    way_out: Direction = "out" if one_way else "both"
    way_in: Direction = "in" if one_way else "both"
    return {
        name: LinkFault(hosts=tuple(others.values()), direction=direction, blocked=True)
        for group, others, direction in ((first, second, way_out), (second, first, way_in))
        for name in group
    }
