"""What one particular agent is asked.

Source: rpc.md §8.3, §9.
"""

from __future__ import annotations

from collections.abc import Mapping

from swimnomad.names import Value
from swimnomad.nomad.requests.base import Targeted


class DiskUse(Value, frozen=True):
    """Size of a file system, and what of it is not free for everyone, in MiB."""

    disk_mb: int
    used_mb: int


class HostData(Value, frozen=True):
    """The host of an agent, as support people want to see it; secrets are masked.

    `os` is the text of uname, `network` one map per interface address, `disk` the file systems by
    mount point.
    """

    os: str
    network: tuple[Mapping[str, str], ...]
    resolv_conf: str
    hosts: str
    environment: Mapping[str, str]
    disk: Mapping[str, DiskUse]


class Host(Value, frozen=True):
    """Which agent answered, and its host."""

    agent_id: str
    data: HostData


class AgentHost(Targeted[Host], frozen=True, kw_only=True):
    """What does the host look like?"""


class Profile(Value, frozen=True):
    """Which agent was profiled, the profile, and the HTTP headers that say what it is."""

    agent_id: str
    payload: bytes | None
    headers: Mapping[str, str]


class AgentProfile(Targeted[Profile], frozen=True, kw_only=True):
    """Take a profile of the process.

    `kind` is `cmdline`, `cpu`, `trace`, or `lookup` of the profile called `profile`. `seconds` is
    how long to look; `debug` and `gc` are those of Go's profiles.
    """

    kind: str = ""
    profile: str = ""
    seconds: int = 0
    debug: int = 0
    gc: int = 0


class AgentMonitor(Targeted[None], frozen=True, kw_only=True):
    """Stream the agent's log at `level` (empty means INFO), its lines as text or JSON.

    The pieces are frames of JSON, or plain text if `plain`.
    """

    level: str = ""
    json: bool = False
    plain: bool = False
