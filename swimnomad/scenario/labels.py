"""Whether labels make sense: who has which, as `cluster.labels` and `restart` say it.

A label (memberlist's packet label) keeps clusters apart that can reach each other: a node refuses
every packet and every stream with another label than its own, or with none.
"""

from __future__ import annotations

from collections.abc import Iterable

from swimnomad.scenario.complaint import Complaint, Complaints
from swimnomad.scenario.model import ClusterSpec
from swimnomad.scenario.targets import is_random, matching
from swimnomad.wire.labels import LABEL_BYTES_MAX


def label_complaints(cluster: ClusterSpec, names: Iterable[str]) -> Complaints:
    """What is wrong with the labels of a cluster.

    Args:
        cluster: What the file says.
        names: All nodes that there ever are.
    """
    names = list(names)
    holders: dict[str, str] = {}
    for label, targets in cluster.labels.items():
        key = f"cluster.labels.{label}"
        if not label:
            yield Complaint(key, f"found an empty label; allowed is {_ALLOWED}")
        yield from text_complaints(label, key)
        if not targets:
            yield Complaint(key, "found nobody; allowed are names of nodes, globs")
        for target in targets:
            found = [] if is_random(target) else matching(target, names)
            if not found:
                text = f"found {target!r}; allowed are names of nodes, started later or not, globs"
                yield Complaint(key, text)
            for name in found:
                other = holders.setdefault(name, label)
                if other != label:
                    text = f"found {name}, which has the label {other!r}; a node has one"
                    yield Complaint(key, text)
                    return


def text_complaints(label: str, key: str) -> Complaints:
    """What is wrong with the text of a label; the empty one means none."""
    try:
        size = len(label.encode())
    except UnicodeEncodeError:
        yield Complaint(key, f"found {label!r}; allowed is {_ALLOWED}")
        return
    if size > LABEL_BYTES_MAX:
        yield Complaint(key, f"found {size} bytes; allowed is {_ALLOWED}")


_ALLOWED = f"a text of 1 to {LABEL_BYTES_MAX} bytes in UTF-8"
