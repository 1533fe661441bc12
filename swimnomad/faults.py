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
from pathlib import Path
from types import MappingProxyType
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
TRACE_LENGTH_MAX = 1_000_000
"""Delays in one trace."""
TRACE_BYTES_MAX = 16 * 1024 * 1024
"""Length of a trace file, its comments included."""
LINES_MAX = 65_536
"""Remote hosts that one fault keeps apart; those beyond share one line."""
MTU_MIN = 68
"""Bytes of an IP packet that every link carries (RFC 791)."""
RATE_MAX = 1e12
HEADER_BYTES_V4 = 28
HEADER_BYTES_V6 = 48
"""IP and UDP headers of a datagram."""


class Latency(Value, frozen=True, forbid_unknown_fields=True):
    """A distribution of one-way delays in seconds; negative draws count as 0.

    `constant`: a. `uniform`: a … b. `normal`: mean a, standard deviation b. `lognormal`: median a,
    sigma b. `pareto`: minimum a, shape b. `trace`: the `values` one after another and again from
    the first, or each time any of them with `shuffled`.
    """

    kind: Literal["constant", "uniform", "normal", "lognormal", "pareto", "trace"] = "constant"
    a: float = 0.0
    b: float = 0.0
    values: tuple[float, ...] = ()
    shuffled: bool = False

    def sample(self, rng: random.Random, turn: int = 0) -> float:
        """Draw one delay: 0 … `DELAY_MAX` seconds.

        Args:
            rng: Source of the draw; `constant` and a trace in order draw nothing.
            turn: How many were drawn before, which is the place in a trace.
        """
        match self.kind:
            case "trace":
                count = len(self.values)
                delay = self.values[rng.randrange(count) if self.shuffled else turn % count]
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
        if self.kind != "trace" and (self.values or self.shuffled):
            raise UsageError(f"{where}.values and shuffled must be absent when kind is {self.kind}")
        match self.kind:
            case "trace":
                self._validate_trace(where)
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

    def _validate_trace(self, where: str) -> None:
        if self.a or self.b:
            raise UsageError(f"{where}.a and b must be absent when kind is trace")
        if not 0 < len(self.values) <= TRACE_LENGTH_MAX:
            count = len(self.values)
            raise UsageError(f"{where}.values must be 1 to {TRACE_LENGTH_MAX} delays, not {count}")
        for place, value in enumerate(self.values):
            _check_range(f"{where}.values[{place}]", value, 0.0, DELAY_MAX)


def read_trace(path: Path, *, shuffled: bool = False) -> Latency:
    """The latency that a trace file holds: seconds, one number a line; `#` begins a comment.

    Delays are kept to the nanosecond.

    Raises:
        UsageError: If it is no file of such lines, or too long; names the file, the line if it is
            about one, what was found and what is allowed.
    """
    values: list[float] = []
    for number, line in enumerate(_trace_text(path).split("\n"), 1):
        text = line.partition("#")[0].strip()
        if not text:
            continue
        try:
            seconds = float(text)
        except ValueError:
            seconds = math.nan
        if not 0.0 <= seconds <= DELAY_MAX:
            allowed = f"a number of seconds, 0 to {DELAY_MAX:g}"
            raise UsageError(f"{path}:{number}: found {text[:40]!r}; allowed is {allowed}")
        values.append(round(abs(seconds), 9))  # abs: there is a -0.0
    if not 0 < len(values) <= TRACE_LENGTH_MAX:
        allowed = f"1 to {TRACE_LENGTH_MAX}, one a line"
        raise UsageError(f"{path}: found {len(values)} delays; allowed are {allowed}")
    return Latency("trace", values=tuple(values), shuffled=shuffled)


def _trace_text(path: Path) -> str:
    try:
        if path.exists() and not path.is_file():  # a pipe might never end
            raise UsageError(f"{path}: found something else; allowed is a file of text")
        with path.open("rb") as file:
            data = file.read(TRACE_BYTES_MAX + 1)
        if len(data) > TRACE_BYTES_MAX:
            raise UsageError(f"{path}: found more bytes than the {TRACE_BYTES_MAX} allowed")
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UsageError(f"{path}: found other bytes; allowed is text in UTF-8") from None
    except (OSError, ValueError) as error:  # ValueError: such a name no file can have
        found = getattr(error, "strerror", None) or error
        raise UsageError(f"{path}: {found}; allowed is a file that can be read") from None


class Burst(Value, frozen=True, forbid_unknown_fields=True):
    """Losses in bursts: a line that is good or bad, and changes with each datagram.

    `enter` and `leave` are the probabilities 0 … 1 to turn bad and to turn good again; `loss` is
    that of losing a datagram while it is bad, `loss_good` while it is good. The share of lost
    datagrams is (enter * loss + leave * loss_good) / (enter + leave), a burst lasts 1 / leave.

    Source: Gilbert 1960; Elliott 1963.
    """

    enter: float
    leave: float
    loss: float = 1.0
    loss_good: float = 0.0

    def validate(self, where: str = "burst") -> None:
        """Check the parameters.

        Raises:
            UsageError: Naming the field below `where`, what was found and what is allowed.
        """
        for field in self.__struct_fields__:
            _check_range(f"{where}.{field}", getattr(self, field), 0.0, 1.0)


class Bandwidth(Value, frozen=True, forbid_unknown_fields=True):
    """A line that passes `rate` bytes a second; what comes faster waits its turn.

    A datagram that would find more than `queue_bytes` waiting before it is lost; TCP only waits.
    """

    rate: float
    queue_bytes: int = 262_144

    def validate(self, where: str = "bandwidth") -> None:
        """Check the parameters.

        Raises:
            UsageError: Naming the field below `where`, what was found and what is allowed.
        """
        _check_range(f"{where}.rate", self.rate, 1.0, RATE_MAX)
        _check_range(f"{where}.queue_bytes", self.queue_bytes, 0, RATE_MAX)


class Line:
    """What one way between two hosts remembers from packet to packet."""

    __slots__ = ("_free_at", "_is_bad", "_turn")

    def __init__(self) -> None:
        self._is_bad = False
        self._free_at = 0.0
        self._turn = 0

    def loses(self, burst: Burst, rng: random.Random) -> bool:
        """Whether the next datagram falls into a burst: two draws."""
        change = burst.leave if self._is_bad else burst.enter
        if rng.random() < change:
            self._is_bad = not self._is_bad
        return rng.random() < (burst.loss if self._is_bad else burst.loss_good)

    def delay(self, latency: Latency, rng: random.Random) -> float:
        """Draw the next delay in seconds, in a trace the next one of it."""
        self._turn += 1
        return latency.sample(rng, self._turn - 1)

    def wait(self, bandwidth: Bandwidth, size: int, now: float, *, lossless: bool) -> float | None:
        """Seconds until `size` bytes are through the line, or None if its queue is full."""
        waiting = max(self._free_at - now, 0.0)
        if not lossless and waiting * bandwidth.rate > bandwidth.queue_bytes:
            return None
        through = waiting + size / bandwidth.rate
        self._free_at = now + through
        return min(through, DELAY_MAX)


def exceeds_mtu(mtu: int, size: int, host: str) -> bool:
    """Whether a datagram of `size` bytes with `host` does not fit into packets of `mtu`; 0: any."""
    return 0 < mtu < size + (HEADER_BYTES_V6 if ":" in host else HEADER_BYTES_V4)


def check_mtu(mtu: int) -> None:
    """Check an MTU.

    Raises:
        UsageError: If it is neither 0 nor one that exists.
    """
    if mtu:
        _check_range("mtu", mtu, MTU_MIN, 65_575)


class LinkFault(Value, frozen=True, forbid_unknown_fields=True):
    """One fault on the traffic between a node and some others, as that node sees it.

    `hosts`: the remote IP addresses it applies to; empty means all. `direction`: traffic that the
    node receives (`in`), sends (`out`) or both. `transport`: `udp`, `tcp`, both. Probabilities are
    0 … 1 for each datagram; TCP knows only `blocked`, `latency` and `bandwidth`: the kernel hides
    the rest. `SIMULATED_ONLY` names what a live agent cannot do.
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
    burst: Burst | None = None
    bandwidth: Bandwidth | None = None
    mtu: int = 0
    """Bytes of an IP packet; datagrams that need a longer one are lost. 0: any length passes."""
    shared: bool = False
    """Whether all hosts are behind one line, as on an uplink: bursts hit them all, and they share
    the bandwidth. Otherwise each has a line of its own. In and out are apart in any case."""

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
        check_mtu(self.mtu)
        for part in (self.latency, self.burst, self.bandwidth):
            if part is not None:
                part.validate()


SIMULATED_ONLY: Mapping[str, str] = MappingProxyType(
    {"bandwidth": "a live agent's faults know no clock by which a queue would drain"}
)
"""Fields of `LinkFault` that have an effect in simulated worlds alone, and why."""


def find_simulated_only(fault: LinkFault) -> dict[str, str]:
    """What a fault asks for that a live agent would ignore: field to reason."""
    return {
        field: reason
        for field, reason in SIMULATED_ONLY.items()
        if getattr(fault, field) is not None
    }


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
        self._known: dict[str, _Rule] = {}
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
        self,
        transport: Transport,
        inbound: bool,
        remote: str,
        data: bytes,
        rng: random.Random,
        now: float | None = None,
    ) -> tuple[Delivery, ...]:
        """What becomes of one datagram or stream write: none is a loss, two a duplicate.

        For TCP, a driver keeps the order of a stream's writes whatever the delays say.

        Args:
            transport: `udp` for a datagram, `tcp` for a stream write (or connect, without data).
            inbound: Whether this node receives it.
            remote: IP address of the other side.
            data: The bytes.
            rng: Source of the draws.
            now: Seconds on a clock that never goes back; without it there is no bandwidth limit.
        """
        deliveries = [Delivery(0.0, data)]
        for rule in self._rules.get((transport, inbound), ()):
            if not rule.matches(remote):
                continue
            if rule.fault.blocked:
                return ()
            line = rule.line(inbound, remote)
            if transport == "tcp":
                deliveries = [
                    _through(rule.fault, line, _delayed(rule.fault, line, one, rng), now)
                    for one in deliveries
                ]
                continue
            if exceeds_mtu(rule.fault.mtu, len(data), remote):
                return ()
            deliveries = [
                out for one in deliveries for out in _apply(rule.fault, line, one, rng, now)
            ]
        return tuple(deliveries)

    def _compile(self) -> None:
        """Sort the faults by the traffic they concern, so that a verdict looks at few."""
        rules: dict[tuple[Transport, bool], list[_Rule]] = {}
        # A rule that stays keeps its lines: bursts and queues go on when another rule changes.
        known = self._known
        self._known = {
            name: known[name] if name in known and known[name].fault is fault else _Rule(fault)
            for name, fault in self._faults.items()
        }
        for rule in self._known.values():
            fault = rule.fault
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
    """A fault with its hosts as a set, each written as addresses of peers are, and its lines."""

    __slots__ = ("_hosts", "_lines", "fault")

    def __init__(self, fault: LinkFault) -> None:
        self.fault = fault
        self._hosts = frozenset(host_of_ip(ip_of_host(host)) for host in fault.hosts)
        self._lines: dict[tuple[bool, str], Line] = {}

    def line(self, inbound: bool, remote: str) -> Line:
        """The line on which traffic with `remote` comes in or goes out."""
        is_apart = not self.fault.shared and len(self._lines) < LINES_MAX
        key = (inbound, remote if is_apart or (inbound, remote) in self._lines else "")
        line = self._lines.get(key)
        if line is None:
            line = self._lines[key] = Line()
        return line

    def matches(self, remote: str) -> bool:
        """Whether the fault concerns traffic with `remote`."""
        return not self._hosts or remote in self._hosts


def _apply(
    fault: LinkFault, line: Line, delivery: Delivery, rng: random.Random, now: float | None
) -> list[Delivery]:
    """One fault on one datagram. The order of the draws is part of a seed's meaning: keep it."""
    if fault.burst is not None and line.loses(fault.burst, rng):
        return []
    if fault.loss and rng.random() < fault.loss:
        return []
    copies = 2 if fault.duplicate and rng.random() < fault.duplicate else 1
    out: list[Delivery] = []
    for _ in range(copies):
        delay, data = _delayed(fault, line, delivery, rng).delay, delivery.data
        if fault.bandwidth is not None and now is not None:
            wait = line.wait(fault.bandwidth, len(data), now, lossless=False)
            if wait is None:
                continue
            delay = min(delay + wait, DELAY_MAX)
        if fault.reorder and rng.random() < fault.reorder:
            delay = min(delay + rng.uniform(0.0, fault.reorder_delay), DELAY_MAX)
        if fault.corrupt and rng.random() < fault.corrupt:
            data = _flip_bit(data, rng)
        out.append(Delivery(delay, data))
    return out


def _delayed(fault: LinkFault, line: Line, delivery: Delivery, rng: random.Random) -> Delivery:
    if fault.latency is None:
        return delivery
    delay = delivery.delay + line.delay(fault.latency, rng)
    return Delivery(min(delay, DELAY_MAX), delivery.data)


def _through(fault: LinkFault, line: Line, delivery: Delivery, now: float | None) -> Delivery:
    """One write of a stream on a line of limited bandwidth: it waits, it is never lost."""
    if fault.bandwidth is None or now is None:
        return delivery
    wait = line.wait(fault.bandwidth, len(delivery.data), now, lossless=True)
    assert wait is not None
    return Delivery(min(delivery.delay + wait, DELAY_MAX), delivery.data)


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
        if isinstance(value, dict):
            for field, kind in _PARTS.items():
                _check_keys(value.get(field), kind, f"{field}.")
        fault = msgspec.convert(value, LinkFault)
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError) as error:
        raise UsageError(f"not a link fault: {error}") from None
    fault.validate()
    return fault


_PARTS: Mapping[str, type[Value]] = {"latency": Latency, "burst": Burst, "bandwidth": Bandwidth}


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
