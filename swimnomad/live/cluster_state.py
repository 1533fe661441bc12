"""The file that remembers a local cluster between two commands."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from swimnomad.errors import OperationError, UsageError
from swimnomad.live.places import Place
from swimnomad.live.processes import ProcessMark
from swimnomad.names import Value

STATE_VERSION = 1
_FILE = "cluster.json"


class NodeRecord(Value, frozen=True):
    """One agent of a local cluster. `process` is None before its first start.

    `paused` tells that we stopped it by a signal and have not resumed it. `label` is the memberlist
    label that it has, or will have when it is started again.
    """

    name: str
    place: Place
    command: tuple[str, ...]
    process: ProcessMark | None = None
    paused: bool = False
    label: str = ""


class ClusterState(Value, frozen=True):
    """A local cluster as its file remembers it."""

    version: int
    profile: str
    nodes: tuple[NodeRecord, ...]


def state_home() -> Path:
    """Where clusters are remembered: $XDG_STATE_HOME/swimnomad or ~/.local/state/swimnomad."""
    base = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(base) / "swimnomad"


def read_state(directory: Path) -> ClusterState | None:
    """The cluster remembered in a directory; None if there is none.

    Raises:
        UsageError: If the file cannot be read or is none of ours.
    """
    path = directory / _FILE
    try:
        state = msgspec.json.decode(path.read_bytes(), type=ClusterState)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError) as error:
        raise UsageError(f"cannot read the cluster's state in {path}: {error}") from None
    if state.version != STATE_VERSION:
        raise UsageError(
            f"{path} has version {state.version}, this program knows {STATE_VERSION}: "
            "use the program that wrote it, or remove the file"
        )
    return state


def write_state(directory: Path, state: ClusterState) -> None:
    """Remember a cluster; the file is replaced whole.

    Raises:
        OperationError: If it cannot be written.
    """
    path = directory / _FILE
    draft = directory / f"{_FILE}.{os.getpid()}.tmp"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        draft.write_bytes(msgspec.json.format(msgspec.json.encode(state), indent=2))
        draft.replace(path)
    except OSError as error:
        raise OperationError(
            f"cannot write the cluster's state to {path}: {error}", may_have_happened=False
        ) from None


def forget_state(directory: Path) -> None:
    """Remove the file, if there is one."""
    (directory / _FILE).unlink(missing_ok=True)
