"""From a step that makes links worse to the faults of each node, so that every backend does alike.

A step concerns the links between its targets and their peers. The fault stands at the targets, on
what they receive and what they send; but a link between two targets must not be made worse twice,
so sending is left alone where the receiver is a target, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import msgspec

from swimnomad.faults import LinkFault, partition_faults
from swimnomad.names import Value
from swimnomad.scenario.model import (
    BlockArgs,
    CorruptArgs,
    DuplicateArgs,
    LatencyArgs,
    LinkArgs,
    LinkFields,
    LossArgs,
    NetworkSpec,
    PartitionArgs,
    ReorderArgs,
)
from swimnomad.scenario.wiring import bursts, ends_of, nodes_at

EVERYBODY = ("*",)


class LinkRule(Value, frozen=True):
    """A step on links with its nodes chosen: what must be at which node until it is healed."""

    args: LinkArgs | PartitionArgs
    targets: tuple[str, ...]
    peers: tuple[str, ...]
    """Never empty; with the others of a partition, or all nodes."""
    is_cut: bool
    """Whether it can make healthy nodes unreachable for each other."""

    def faults(
        self, host_of: Callable[[str], str], everybody: Sequence[str]
    ) -> dict[tuple[str, str], LinkFault]:
        """Node and suffix of the fault's name to fault; nodes and addresses as they are now.

        A rule for everybody takes in nodes that were started later.
        """
        args = self.args
        if isinstance(args, PartitionArgs):
            found = partition_faults(
                {name: host_of(name) for name in self.targets},
                {name: host_of(name) for name in self.peers},
                one_way=args.one_way,
            )
            return {(name, "cut"): fault for name, fault in found.items()}
        targets = everybody if args.target == EVERYBODY else self.targets
        # No hosts means all of them: a thousand nodes must not list each other a thousand times.
        peers = None if args.peers == EVERYBODY else self.peers
        outside = list(everybody) if peers is None else list(peers)
        if args.direction != "out":
            within = dict.fromkeys(targets)
            outside = [name for name in outside if name not in within]
        template = _template(args)
        faults: dict[tuple[str, str], LinkFault] = {}
        for name in targets:
            if args.direction != "out":
                self._add(faults, name, "in", peers, template, host_of)
            if args.direction == "out":
                self._add(faults, name, "out", peers, template, host_of)
            elif args.direction == "both":
                self._add(faults, name, "out", outside, template, host_of)
        return faults

    def _add(
        self,
        faults: dict[tuple[str, str], LinkFault],
        name: str,
        direction: str,
        peers: Sequence[str] | None,
        template: LinkFault,
        host_of: Callable[[str], str],
    ) -> None:
        hosts = tuple(host_of(peer) for peer in peers or () if peer != name)
        if hosts or peers is None:  # no hosts would mean all hosts
            faults[name, direction] = msgspec.structs.replace(
                template, hosts=hosts, direction=direction
            )


def standing_rules(network: NetworkSpec, names: Mapping[str, str]) -> dict[str, LinkRule]:
    """What a network does to datagrams from the beginning to the end, beyond what links know.

    Args:
        network: What the file says.
        names: Node to region, of the nodes there are.
    """
    everybody = tuple(names)
    rules: dict[str, LinkRule] = {}
    for args in _ailments(network, EVERYBODY, EVERYBODY):
        rules[f"network.{len(rules)}"] = LinkRule(args, everybody, everybody, False)
    for spec in network.links:
        for sources, targets in ends_of(spec):
            first, second = nodes_at(sources, names), nodes_at(targets, names)
            for args in _ailments(spec, second, first):
                rules[f"network.{len(rules)}"] = LinkRule(args, second, first, False)
    return rules


def _ailments(
    fields: LinkFields, target: tuple[str, ...], peers: tuple[str, ...]
) -> Iterator[LinkArgs]:
    """At those who receive: a datagram passes one of them, and that once."""
    if fields.duplicate:
        yield DuplicateArgs(target, peers, "in", share=fields.duplicate)
    if fields.reorder:
        yield ReorderArgs(target, peers, "in", share=fields.reorder, delay=fields.reorder_delay)
    if fields.corrupt:
        yield CorruptArgs(target, peers, "in", share=fields.corrupt)


def _template(args: LinkArgs) -> LinkFault:
    match args:
        case LossArgs(share=share, burst=length) if length:
            return LinkFault(transport="udp", burst=bursts(share, length))
        case LossArgs(share=share):
            return LinkFault(transport="udp", loss=share)
        case DuplicateArgs(share=share):
            return LinkFault(transport="udp", duplicate=share)
        case ReorderArgs(share=share, delay=delay):
            return LinkFault(transport="udp", reorder=share, reorder_delay=delay)
        case CorruptArgs(share=share):
            return LinkFault(transport="udp", corrupt=share)
        case LatencyArgs(delay=latency, transport=transport):
            return LinkFault(transport=transport, latency=latency)
        case BlockArgs(transport=transport):
            return LinkFault(transport=transport, blocked=True)
        case _:
            raise AssertionError(f"no fault for {type(args).__name__}")
