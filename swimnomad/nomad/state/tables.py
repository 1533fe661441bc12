"""The tables of the state, each with the index of its latest write."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator, Mapping
from typing import Generic, TypeVar

R = TypeVar("R")


class Table(enum.StrEnum):
    """What can change, and so be waited for; the words are those of Nomad's index table."""

    NODES = "nodes"
    POLICIES = "acl_policy"
    TOKENS = "acl_token"
    BOOTSTRAP = "acl_token_bootstrap"
    AUTOPILOT = "autopilot-config"
    KEYRING = "keyring"
    CLUSTER = "cluster_meta"


Listener = Callable[[tuple[Table, ...]], None]
"""Told which tables changed, after they did. It must not raise, wait, or change the state."""


class Records(Generic[R]):
    """Records by key; iteration is in the order of the keys, whatever the order of writing."""

    def __init__(self, records: Mapping[str, R] | None = None) -> None:
        self._records: dict[str, R] = dict(records or {})
        self._sorted: tuple[str, ...] | None = None

    def __len__(self) -> int:
        """How many there are."""
        return len(self._records)

    def __iter__(self) -> Iterator[R]:
        """All of them."""
        return (self._records[key] for key in self._keys())

    def __contains__(self, key: str) -> bool:
        """Whether there is a record of this key."""
        return key in self._records

    def get(self, key: str) -> R | None:
        """The record of a key."""
        return self._records.get(key)

    def put(self, key: str, record: R) -> None:
        """Write a record, in place of another of that key."""
        if key not in self._records:
            self._sorted = None
        self._records[key] = record

    def remove(self, key: str) -> R | None:
        """Forget a record; what it was."""
        found = self._records.pop(key, None)
        if found is not None:
            self._sorted = None
        return found

    def beginning_with(self, prefix: str) -> Iterator[R]:
        """The records whose keys begin so."""
        return (self._records[key] for key in self._keys() if key.startswith(prefix))

    def _keys(self) -> tuple[str, ...]:
        if self._sorted is None:
            self._sorted = tuple(sorted(self._records))
        return self._sorted
