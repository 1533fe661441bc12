"""Why a request to an agent was not done, with the status that HTTP gives it.

Source: agent-http.md §6; rpc.md §8, §11, §13.
"""

from __future__ import annotations

from swimnomad.errors import OperationError
from swimnomad.nomad.identifiers import uuid_flaw

PERMISSION_DENIED = "Permission denied"


class RequestFailed(OperationError):
    """A request that the agent did not carry out; the text is the body of the answer.

    Attributes:
        status: HTTP status; 500 unless the failure has one of its own.
    """

    def __init__(self, text: str, *, status: int = 500, may_have_happened: bool = False) -> None:
        super().__init__(text, may_have_happened=may_have_happened)
        self.status = status


def role_missing() -> RequestFailed:
    """This agent does not run the role that the request needs."""
    return RequestFailed("Invalid method", status=501)


def cannot_forward() -> RequestFailed:
    """The answer lies with another agent, and this one was started without RPC."""
    return RequestFailed("rpc error: this agent cannot forward requests to other agents")


def coded(code: int, text: str) -> RequestFailed:
    """A failure with a number, in the form that keeps it across agents; HTTP unwraps it."""
    return RequestFailed(f"RPC Error:: {code},{text}")


def permission_denied() -> RequestFailed:
    """The caller may not do that."""
    return RequestFailed(PERMISSION_DENIED)


def no_path_to_region() -> RequestFailed:
    """Nobody of that region is known."""
    return RequestFailed("No path to region")


def no_leader() -> RequestFailed:
    """Nobody leads the region."""
    return RequestFailed(NO_LEADER)


def no_servers() -> RequestFailed:
    """This client knows no server."""
    return RequestFailed("no servers")


NO_LEADER = "No cluster leader"


def node_failure(node_id: str) -> RequestFailed:
    """Why nothing can be asked of a node: its id is none, or nobody registered it.

    No node is registered anywhere yet, so that is the answer for every id.
    """
    if flaw := uuid_flaw(node_id):
        return coded(500, f"node lookup failed: index error: {flaw}")
    return coded(404, f'Unknown node "{node_id}"')
