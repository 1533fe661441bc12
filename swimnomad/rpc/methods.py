"""The methods an agent offers on the RPC port, as a table, and the agent's answers to them.

Source: rpc.md §6, §7, §9.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from swimnomad.errors import MalformedMessage, OperationError
from swimnomad.nomad.failures import RequestFailed
from swimnomad.nomad.remote import StreamFailed
from swimnomad.nomad.requests import (
    AgentHost,
    AgentMonitor,
    AgentProfile,
    RegionList,
    Request,
    StatusHasNodeConn,
    StatusLeader,
    StatusMembers,
    StatusPeers,
    StatusPing,
    StatusRaftStats,
    StatusVersion,
)
from swimnomad.rpc import schemas
from swimnomad.rpc.failures import BadArguments, RpcFailed, unknown_method

if TYPE_CHECKING:
    from swimnomad.nomad.agent import Agent
    from swimnomad.rpc.schemas import Codec
    from swimnomad.rpc.service import Peer, StreamingHandler, StreamWriter


class Method(NamedTuple):
    """One method: its name, and how its arguments and its reply are written."""

    name: str
    arguments: Codec[Any]
    reply: Codec[Any]


METHODS: Final[dict[type[Request[Any]], Method]] = {
    StatusPing: Method("Status.Ping", schemas.STATUS_PING, schemas.DONE),
    StatusVersion: Method("Status.Version", schemas.STATUS_VERSION, schemas.VERSION),
    StatusLeader: Method("Status.Leader", schemas.STATUS_LEADER, schemas.ADDRESS),
    StatusPeers: Method("Status.Peers", schemas.STATUS_PEERS, schemas.NAMES),
    StatusMembers: Method("Status.Members", schemas.STATUS_MEMBERS, schemas.MEMBERS),
    StatusRaftStats: Method("Status.RaftStats", schemas.STATUS_RAFT_STATS, schemas.RAFT_STATS),
    StatusHasNodeConn: Method(
        "Status.HasNodeConn", schemas.STATUS_HAS_NODE_CONN, schemas.NODE_CONNECTION
    ),
    RegionList: Method("Region.List", schemas.REGION_LIST, schemas.NAMES),
    AgentHost: Method("Agent.Host", schemas.AGENT_HOST, schemas.HOST),
    AgentProfile: Method("Agent.Profile", schemas.AGENT_PROFILE, schemas.PROFILE),
}
"""Methods of one request and one reply, by the request that asks for them."""

BY_NAME: Final = {method.name: method for method in METHODS.values()}
SERVICES: Final = frozenset(name.partition(".")[0] for name in BY_NAME)

MONITOR: Final = "Agent.Monitor"
"""The one streaming method."""

NO_RECORD: Final = "only encoded map or array can be decoded into a struct"


class AgentMethods:
    """One agent as the RPC port serves it.

    Whoever asks, the answer is the same: there are no rights yet, and the transport has checked
    certificates.
    """

    def __init__(self, agent: Agent) -> None:
        self._agent = agent

    async def answer(self, method: str, arguments: bytes, peer: Peer) -> bytes:
        """Carry out a call.

        Args:
            method: `Service.Method` as the peer wrote it.
            arguments: One MessagePack object.
            peer: Who asks.

        Returns:
            The reply as one MessagePack object.

        Raises:
            UnknownMethod: There is no such method; the conversation ends.
            BadArguments: They are not those of the method; the conversation ends.
            RpcFailed: The agent refused, or could not; the conversation goes on.
        """
        entry = BY_NAME.get(method)
        if entry is None:
            raise unknown_method(method, SERVICES)
        request = decode_arguments(entry.arguments, arguments)
        try:
            reply = await self._agent.ask(request)
        except OperationError as error:
            raise as_rpc_failure(error) from None
        return entry.reply.encode(reply)

    def streaming(self, method: str) -> StreamingHandler | None:
        """What serves a streaming method; None if there is no such method."""
        return self._monitor if method == MONITOR else None

    async def _monitor(self, request: bytes, writer: StreamWriter, peer: Peer) -> None:
        try:
            asked: AgentMonitor = schemas.AGENT_MONITOR.decode_untrusted(request)
        except MalformedMessage as error:
            await writer.fail(500, f"msgpack decode error [pos 1]: {error}")
            return
        try:
            async with self._agent.monitor(asked) as pieces:
                async for piece in pieces:
                    await writer.send(piece)
        except StreamFailed as error:
            await writer.fail(error.code, str(error))
        except RequestFailed as error:  # this agent has no log to offer
            await writer.fail(error.status, str(error))


def decode_arguments(codec: Codec[Any], arguments: bytes) -> Request[Any]:
    """The request in the arguments of a call.

    Raises:
        BadArguments: They are not those of the method.
    """
    try:
        request: Request[Any] = codec.decode_untrusted(arguments)
    except MalformedMessage as error:
        text = str(error)
        raise BadArguments(NO_RECORD if text == "expected a record" else text) from None
    return request


def as_rpc_failure(error: OperationError) -> RpcFailed:
    """An error of the agent as it travels."""
    if isinstance(error, RpcFailed):
        return error
    return RpcFailed(str(error), may_have_happened=error.may_have_happened)
