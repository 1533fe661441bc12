"""What is wrong with a value of a scenario."""

from __future__ import annotations

from collections.abc import Iterator

from swimnomad.names import Value


class Complaint(Value, frozen=True):
    """The dotted name of a value (`steps[2].kill.target`), what was found and what is allowed."""

    key: str
    text: str


Complaints = Iterator[Complaint]
