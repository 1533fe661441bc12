"""The methods an agent offers on the RPC port, as a table, and the agent's answers to them.

Source: rpc.md §6, §7, §9.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol, TypeVar

from swimnomad.errors import MalformedMessage, OperationError
from swimnomad.nomad.failures import RequestFailed
from swimnomad.nomad.remote import StreamFailed
from swimnomad.nomad.requests import (
    ACLBootstrap,
    ACLDeletePolicies,
    ACLDeleteTokens,
    ACLGetPolicies,
    ACLGetPolicy,
    ACLGetToken,
    ACLListPolicies,
    ACLListTokens,
    ACLResolveToken,
    ACLUpsertPolicies,
    ACLUpsertTokens,
    AgentHost,
    AgentMonitor,
    AgentProfile,
    NodeDeregister,
    NodeGetClientAllocs,
    NodeGetNode,
    NodeList,
    NodeRegister,
    NodeUpdateStatus,
    OperatorAutopilotGetConfiguration,
    OperatorAutopilotSetConfiguration,
    OperatorRaftGetConfiguration,
    OperatorRaftRemovePeerByAddress,
    OperatorRaftRemovePeerByID,
    OperatorServerHealth,
    OperatorTransferLeadershipToPeer,
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
    from swimnomad.names import Address
    from swimnomad.nomad.node_links import NodeLink
    from swimnomad.nomad.remote import Pieces
    from swimnomad.rpc.schemas import Codec
    from swimnomad.rpc.service import Peer, StreamingHandler, StreamWriter

Reply = TypeVar("Reply")


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
    NodeRegister: Method("Node.Register", schemas.NODE_REGISTER, schemas.NODE_UPDATE),
    NodeUpdateStatus: Method("Node.UpdateStatus", schemas.NODE_UPDATE_STATUS, schemas.NODE_UPDATE),
    NodeDeregister: Method("Node.Deregister", schemas.NODE_DEREGISTER, schemas.NODE_UPDATE),
    NodeGetNode: Method("Node.GetNode", schemas.NODE_GET_NODE, schemas.NODE_FOUND),
    NodeList: Method("Node.List", schemas.NODE_LIST, schemas.NODES_FOUND),
    NodeGetClientAllocs: Method(
        "Node.GetClientAllocs", schemas.NODE_GET_CLIENT_ALLOCS, schemas.CLIENT_ALLOCS
    ),
    ACLBootstrap: Method("ACL.Bootstrap", schemas.ACL_BOOTSTRAP, schemas.TOKENS_WRITTEN),
    ACLUpsertPolicies: Method(
        "ACL.UpsertPolicies", schemas.ACL_UPSERT_POLICIES, schemas.WRITTEN_AT
    ),
    ACLDeletePolicies: Method(
        "ACL.DeletePolicies", schemas.ACL_DELETE_POLICIES, schemas.WRITTEN_AT
    ),
    ACLGetPolicy: Method("ACL.GetPolicy", schemas.ACL_GET_POLICY, schemas.POLICY_FOUND),
    ACLGetPolicies: Method("ACL.GetPolicies", schemas.ACL_GET_POLICIES, schemas.POLICIES_FOUND),
    ACLListPolicies: Method("ACL.ListPolicies", schemas.ACL_LIST_POLICIES, schemas.POLICIES_LISTED),
    ACLUpsertTokens: Method("ACL.UpsertTokens", schemas.ACL_UPSERT_TOKENS, schemas.TOKENS_WRITTEN),
    ACLDeleteTokens: Method("ACL.DeleteTokens", schemas.ACL_DELETE_TOKENS, schemas.WRITTEN_AT),
    ACLGetToken: Method("ACL.GetToken", schemas.ACL_GET_TOKEN, schemas.TOKEN_FOUND),
    ACLResolveToken: Method("ACL.ResolveToken", schemas.ACL_RESOLVE_TOKEN, schemas.TOKEN_FOUND),
    ACLListTokens: Method("ACL.ListTokens", schemas.ACL_LIST_TOKENS, schemas.TOKENS_LISTED),
    OperatorRaftGetConfiguration: Method(
        "Operator.RaftGetConfiguration",
        schemas.OPERATOR_RAFT_GET_CONFIGURATION,
        schemas.RAFT_CONFIGURATION,
    ),
    OperatorRaftRemovePeerByAddress: Method(
        "Operator.RaftRemovePeerByAddress",
        schemas.OPERATOR_RAFT_REMOVE_PEER_BY_ADDRESS,
        schemas.DONE,
    ),
    OperatorRaftRemovePeerByID: Method(
        "Operator.RaftRemovePeerByID", schemas.OPERATOR_RAFT_REMOVE_PEER_BY_ID, schemas.DONE
    ),
    OperatorTransferLeadershipToPeer: Method(
        "Operator.TransferLeadershipToPeer",
        schemas.OPERATOR_TRANSFER_LEADERSHIP_TO_PEER,
        schemas.DONE,
    ),
    OperatorAutopilotGetConfiguration: Method(
        "Operator.AutopilotGetConfiguration",
        schemas.OPERATOR_AUTOPILOT_GET_CONFIGURATION,
        schemas.AUTOPILOT,
    ),
    OperatorAutopilotSetConfiguration: Method(
        "Operator.AutopilotSetConfiguration",
        schemas.OPERATOR_AUTOPILOT_SET_CONFIGURATION,
        schemas.YES_OR_NO,
    ),
    OperatorServerHealth: Method(
        "Operator.ServerHealth", schemas.OPERATOR_SERVER_HEALTH, schemas.REGION_HEALTH
    ),
}
"""Methods of one request and one reply, by the request that asks for them."""

BY_NAME: Final[Mapping[str, Method]] = {method.name: method for method in METHODS.values()}

OF_CLIENTS: Final[Mapping[str, Method]] = {
    METHODS[kind].name: METHODS[kind] for kind in (AgentHost, AgentProfile)
}
"""The methods that servers call on the nodes connected to them."""

MONITOR: Final = "Agent.Monitor"
"""The one streaming method."""

NO_RECORD: Final = "only encoded map or array can be decoded into a struct"


class Answerer(Protocol):
    """Who answers: an agent, or what of it servers may call back."""

    async def ask(self, request: Request[Reply], link: NodeLink | None = None) -> Reply:
        """Answer, or have it answered. Raises `OperationError`."""
        ...

    def monitor(self, request: AgentMonitor) -> AbstractAsyncContextManager[Pieces]:
        """The log, piece by piece. Entry and pieces raise `StreamFailed`."""
        ...


class AgentMethods:
    """One agent as the RPC port serves it.

    Whoever asks, the answer is the same: there are no rights yet, and the transport has checked
    certificates.
    """

    def __init__(
        self,
        agent: Answerer,
        link_of: Callable[[Peer], NodeLink | None] = lambda peer: None,
        methods: Mapping[str, Method] = BY_NAME,
    ) -> None:
        """Serve an agent.

        Args:
            agent: Who answers.
            link_of: The connection of a peer as one that a client node can be called back on.
            methods: Those that are offered, by name.
        """
        self._agent = agent
        self._link_of = link_of
        self._methods = methods
        self._services = frozenset(name.partition(".")[0] for name in methods)

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
        entry = self._methods.get(method)
        if entry is None:
            raise unknown_method(method, self._services)
        request = decode_arguments(entry.arguments, arguments)
        try:
            reply = await self._agent.ask(request, self._link_of(peer))
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


def encode_request(request: Request[Any]) -> tuple[str, bytes]:
    """The method that a request asks for, and its arguments."""
    method = METHODS[type(request)]
    return method.name, method.arguments.encode(request)


def decode_reply(request: Request[Reply], body: bytes, peer: Address) -> Reply:
    """The reply to a request, which `peer` wrote.

    Raises:
        RpcFailed: It is none.
    """
    method = METHODS[type(request)]
    try:
        reply: Reply = method.reply.decode_untrusted(body)
    except MalformedMessage as error:
        text = f"rpc error: {peer} answered {method.name} with nonsense: {error}"
        raise RpcFailed(text, may_have_happened=True) from None
    return reply


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
