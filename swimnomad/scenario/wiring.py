"""From the section `network:` to the links of a simulated world.

A rule of `links` is about ways: from one region or node to another, both ways or one, UDP, TCP or
both. What it does not say is as the next wider rule has it: two nodes, a node and a region, two
regions, the whole network. Two rules of one width for one way must not say different things of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

from swimnomad.faults import Bandwidth, Burst, Latency
from swimnomad.names import Value
from swimnomad.scenario.complaint import Complaint, Complaints
from swimnomad.scenario.model import LinkFields, LinkSpec, NetworkSpec
from swimnomad.scenario.targets import matching
from swimnomad.sim.network import Link

Transport = Literal["udp", "tcp"]
TRANSPORTS: tuple[Transport, ...] = ("udp", "tcp")
FIELDS = ("latency", "loss", "burst", "bandwidth", "mtu")
"""Fields of a rule that make a link; the others are faults at its ends."""


class Way(Value, frozen=True):
    """A link in one direction: regions or nodes, and the transport."""

    source: str
    target: str
    transport: Transport


def ends_of(rule: LinkSpec) -> tuple[tuple[Sequence[str], Sequence[str]], ...]:
    """The ways of a rule as pairs of what it names: one if it says `from` and `to`, else two."""
    if rule.between:
        one, other = rule.between[:1], rule.between[1:]
        return ((one, other), (other, one))
    return ((rule.source, rule.target),)


def links_of(network: NetworkSpec, names: Mapping[str, str]) -> Iterator[tuple[Way, Link]]:
    """Every link that is not as the whole network is, widest first.

    Args:
        network: What the file says.
        names: Node to region, of the nodes there are.
    """
    said = _said(network, names)
    for way in sorted(said, key=lambda way: (way.source in names) + (way.target in names)):
        fields = _given(network)
        for wider in _wider(way, names):
            fields.update(said.get(wider, {}))
        yield way, make_link(fields)


def default_link(network: NetworkSpec) -> Link:
    """What a way is like that no rule is about."""
    return make_link(_given(network))


def make_link(fields: Mapping[str, object]) -> Link:
    """A link of the fields of a rule; absent ones are as on a quiet local network."""
    usual = Link()
    latency, loss, length = fields.get("latency"), fields.get("loss", 0.0), fields.get("burst", 0.0)
    bandwidth, mtu = fields.get("bandwidth"), fields.get("mtu", 0)
    assert isinstance(loss, float) and isinstance(length, float) and isinstance(mtu, int)  # noqa: PT018
    burst = bursts(loss, length) if length else None
    return Link(
        latency=latency if isinstance(latency, Latency) else usual.latency,
        loss=0.0 if burst else loss,
        burst=burst,
        bandwidth=bandwidth if isinstance(bandwidth, Bandwidth) else None,
        mtu=mtu,
    )


def bursts(share: float, length: float) -> Burst:
    """Losses of a share of all datagrams, on average `length` in a row.

    In the steady state of the two-state line, share = enter / (enter + leave), and a burst lasts
    1 / leave.
    """
    leave = 1 / length
    return Burst(enter=min(share * leave / (1 - share), 1.0) if share < 1 else 1.0, leave=leave)


def burst_complaints(fields: LinkFields, key: str, share_key: str = "loss") -> Complaints:
    """What is wrong with losses in bursts; `share_key` is what their share is called at `key`."""
    share, length = fields.loss, fields.burst
    if length and not length >= 1:
        yield Complaint(f"{key}.burst", f"found {length:g}; allowed is 1 or more in a row")
    elif length and not 0 < share <= length / (length + 1):
        most = length / (length + 1)
        text = f"found {share:.4g} in bursts of {length:g}; allowed is above 0, at most {most:.4g}"
        yield Complaint(f"{key}.{share_key}", text)


def network_complaints(network: NetworkSpec, names: Mapping[str, str]) -> Complaints:
    """What is wrong with the section: rules about nobody, and rules that contradict each other."""
    yield from burst_complaints(network, "network")
    yield from _range_complaints(network, "network")
    regions = dict.fromkeys(names.values())
    for place, rule in enumerate(network.links):
        key = f"network.links[{place}]"
        yield from _rule_complaints(rule, key, names, regions)
        yield from burst_complaints(rule, key)
        yield from _range_complaints(rule, key)
    yield from _contradictions(network, names)


def _range_complaints(fields: LinkFields, key: str) -> Complaints:
    if fields.mtu and not MTU_MIN <= fields.mtu <= MTU_MAX:
        text = f"found {fields.mtu}; allowed are 0 (any) or {MTU_MIN} to {MTU_MAX}"
        yield Complaint(f"{key}.mtu", text)


MTU_MIN, MTU_MAX = 68, 65_575


def _rule_complaints(
    rule: LinkSpec, key: str, names: Mapping[str, str], regions: Mapping[str, object]
) -> Complaints:
    if bool(rule.between) == bool(rule.source or rule.target):
        yield Complaint(key, "allowed is either between, or from and to")
        return
    if rule.between and len(rule.between) != 2:
        text = f"found {len(rule.between)}; allowed are two regions, nodes or globs"
        yield Complaint(f"{key}.between", text)
    for field, ends in (("between", rule.between), ("from", rule.source), ("to", rule.target)):
        if not rule.between and field != "between" and not ends:
            yield Complaint(key, f"{field} is missing")
        for end in ends:
            if end not in regions and not matching(end, names):
                allowed = ", ".join([*regions, *list(names)[:3]])
                text = f"found {end!r}; allowed are {allowed}, other nodes, globs"
                yield Complaint(f"{key}.{field}", text)
    if rule.transport == "tcp" and (rule.duplicate or rule.reorder or rule.corrupt):
        text = "found tcp; duplicate, reorder and corrupt are for datagrams"
        yield Complaint(f"{key}.transport", text)
    if not _given(rule) and not (rule.duplicate or rule.reorder or rule.corrupt):
        yield Complaint(key, "says nothing of its links")


def _contradictions(network: NetworkSpec, names: Mapping[str, str]) -> Complaints:
    first: dict[tuple[Way, str], tuple[int, object]] = {}
    for place, rule in enumerate(network.links):
        given = _given(rule)
        for way in _ways(rule, names):
            for field, value in given.items():
                before, known = first.setdefault((way, field), (place, value))
                if known != value:
                    text = (
                        f"found another {field} from {way.source} to {way.target} ({way.transport})"
                        f" than network.links[{before}] has; allowed is one"
                    )
                    yield Complaint(f"network.links[{place}].{field}", text)
                    return


def _said(network: NetworkSpec, names: Mapping[str, str]) -> dict[Way, dict[str, object]]:
    said: dict[Way, dict[str, object]] = {}
    for rule in network.links:
        given = _given(rule)
        for way in _ways(rule, names) if given else ():
            said.setdefault(way, {}).update(given)
    return said


def _ways(rule: LinkSpec, names: Mapping[str, str]) -> Iterator[Way]:
    regions = dict.fromkeys(names.values())
    for sources, targets in ends_of(rule):
        for transport in TRANSPORTS if rule.transport == "both" else (rule.transport,):
            for source in _places(sources, names, regions):
                for target in _places(targets, names, regions):
                    if source != target or source in regions:
                        yield Way(source, target, transport)


def _places(
    texts: Sequence[str], names: Mapping[str, str], regions: Mapping[str, object]
) -> list[str]:
    """The regions and nodes that texts mean; a region is one place, a glob many nodes."""
    found: dict[str, None] = {}
    for text in texts:
        found.update(dict.fromkeys([text] if text in regions else matching(text, names)))
    return list(found)


def nodes_at(texts: Sequence[str], names: Mapping[str, str]) -> tuple[str, ...]:
    """The nodes that names of regions, names of nodes and globs mean."""
    meant = [
        name
        for name, region in names.items()
        if any(text == region or matching(text, (name,)) for text in texts)
    ]
    return tuple(meant)


def _wider(way: Way, names: Mapping[str, str]) -> Iterator[Way]:
    """The ways that this one is part of, widest first, itself last."""
    source = names.get(way.source, way.source)
    target = names.get(way.target, way.target)
    pairs = ((source, target), (source, way.target), (way.source, target), (way.source, way.target))
    for pair in dict.fromkeys(pairs):
        yield Way(*pair, way.transport)


def _given(fields: LinkFields) -> dict[str, object]:
    """The fields that a rule says something about."""
    usual = LinkFields()
    given = {name: getattr(fields, name) for name in FIELDS}
    return {name: value for name, value in given.items() if value != getattr(usual, name)}
