"""Profiles of the process, as far as this version takes any: its command line.

Those that Go's runtime makes are known by name, so that a misspelt one is told from one that is
not built here.

Source: rpc.md §9; agent-http.md §4.9; nomad command/agent/pprof/pprof.go.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from swimnomad.nomad.failures import coded
from swimnomad.nomad.requests import Profile

if TYPE_CHECKING:
    from swimnomad.nomad.requests import AgentProfile

LOOKUPS = ("allocs", "block", "goroutine", "heap", "mutex", "threadcreate")
"""Profiles that Go's runtime keeps by name."""

_TEXT_HEADERS = {
    "Content-Type": "text/plain; charset=utf-8",
    "X-Content-Type-Options": "nosniff",
}


def take_profile(request: AgentProfile, agent_id: str, command_line: Sequence[str]) -> Profile:
    """The profile of this process that a request asks for.

    Raises:
        RequestFailed: There is no such profile, or this version does not take it.
    """
    match request.kind:
        case "cmdline":
            payload = "\0".join(command_line).encode("utf-8", "surrogateescape")
            return Profile(agent_id, payload, _TEXT_HEADERS)
        case "lookup" if request.profile not in LOOKUPS:
            raise coded(404, f"Pprof profile not found profile: {request.profile}")
        case "cpu" | "trace" | "lookup":
            name = request.profile if request.kind == "lookup" else request.kind
            raise coded(501, f"this version takes no {name} profile")
        case _:
            # Nomad wraps this one twice.
            raise coded(500, str(coded(404, "Unknown profile request type")))
