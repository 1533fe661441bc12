"""Our own endpoints under /v1/swimnomad/: what Nomad does not show and cannot do.

GET    /v1/swimnomad/gossip         the node table with states and incarnations
GET    /v1/swimnomad/events         events as they happen, one JSON object a line
PUT    /v1/swimnomad/leave          leave the pool, answer, stop
GET    /v1/swimnomad/faults         link faults in force, by name
DELETE /v1/swimnomad/faults         remove all
GET    /v1/swimnomad/faults/NAME    one fault
PUT    /v1/swimnomad/faults/NAME    add or replace it; the body is a link fault as JSON
DELETE /v1/swimnomad/faults/NAME    remove it
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from swimnomad.errors import UsageError
from swimnomad.faults import fault_from_json
from swimnomad.http.calls import Call
from swimnomad.http.streams import EventStream
from swimnomad.nomad.failures import RequestFailed

if TYPE_CHECKING:
    from swimnomad.nomad.agent import Agent


async def gossip(agent: Agent, call: Call) -> object:
    """The gossip layer as it is now."""
    return agent.gossip()


async def events(agent: Agent, call: Call) -> object:
    """Events from now on."""
    agent.require_server()
    return EventStream(agent.events())


async def leave(agent: Agent, call: Call) -> object:
    """Leave the pool; the answer comes when the others had time to hear it."""
    return {"heard": await agent.leave()}


async def all_faults(agent: Agent, call: Call) -> object:
    """Faults in force by name, or remove them all."""
    if call.method == "DELETE":
        return {"removed": agent.faults.clear_faults()}
    return agent.faults.list_faults()


async def one_fault(agent: Agent, call: Call) -> object:
    """Show, set or remove one fault."""
    port = agent.faults
    if call.method == "PUT":
        try:
            port.set_fault(call.name, fault_from_json(call.body))
        except UsageError as error:
            raise RequestFailed(str(error), status=400) from None
    elif call.method == "DELETE":
        return {"removed": port.clear_faults(call.name)}
    fault = port.list_faults().get(call.name)
    if fault is None:
        raise RequestFailed(f"no fault is named {call.name!r}", status=404)
    return fault
