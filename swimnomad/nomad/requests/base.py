"""What all requests and replies have in common: their envelopes.

Source: rpc.md §8.1.
"""

from __future__ import annotations

from typing import Generic, TypeVar

from swimnomad.names import Value

Reply_co = TypeVar("Reply_co", covariant=True)


class Request(Value, Generic[Reply_co], frozen=True, kw_only=True):
    """Base of all requests; `Reply_co` is the type of the answer."""


class Done(Value, frozen=True):
    """The answer to a request that asks for nothing."""


class Query(Request[Reply_co], Generic[Reply_co], frozen=True, kw_only=True):
    """A request that reads, with the envelope of one.

    `region` says where it is answered. `stale` lets a server answer that does not lead.
    `min_index` and `wait` (seconds; 0 means the default) make some reads wait for a change; none of
    those here do. `token` is the secret of an ACL token, empty for nobody. `forwarded` is set once
    a server has passed the request on.
    """

    region: str = ""
    namespace: str = ""
    min_index: int = 0
    wait: float = 0.0
    stale: bool = False
    prefix: str = ""
    token: str = ""
    forwarded: bool = False


class Write(Request[Reply_co], Generic[Reply_co], frozen=True, kw_only=True):
    """A request that changes something, with the envelope of one; as in `Query`."""

    region: str = ""
    namespace: str = ""
    token: str = ""
    forwarded: bool = False


class Targeted(Query[Reply_co], Generic[Reply_co], frozen=True, kw_only=True):
    """A request to one particular agent, or to any server if both ids are empty.

    `server_id` is a member name, a server's identifier, or `leader`. `node_id` is the identifier of
    a client node.
    """

    server_id: str = ""
    node_id: str = ""


NEVER = 1e10
"""`last_contact` of a server that has heard no leader; on the wire the longest duration."""


class Answered(Value, frozen=True, kw_only=True):
    """What replies about the replicated state say besides.

    `index` is that of the latest write to what was read. `last_contact` says how many seconds ago
    the server that answers heard the leader, `known_leader` whether it knows one.
    """

    index: int = 0
    last_contact: float = 0.0
    known_leader: bool = False
