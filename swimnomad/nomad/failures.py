"""Why a request to an agent was not done, with the status that HTTP gives it.

Source: agent-http.md §6.
"""

from __future__ import annotations

from swimnomad.errors import OperationError


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


def not_forwarded() -> RequestFailed:
    """The answer lies with another agent, and this version speaks no RPC."""
    return RequestFailed("rpc error: this agent cannot forward requests to other agents")
