"""Changing who takes part: one server at a time, each change an entry of the log.

A change is refused while another is not committed, and before the leader has committed an entry of
its own term: else two leaders could each change the set by one server and between them have
disjoint majorities (Ongaro, "bug in single-server membership changes", 2015).
"""

from __future__ import annotations

from collections.abc import Callable

from swimnomad.errors import UsageError
from swimnomad.names import Operation
from swimnomad.raft.context import Context
from swimnomad.raft.events import ProposalDone
from swimnomad.raft.inputs import AddServer, Bootstrap, PromoteServer, RemoveServer
from swimnomad.raft.log import EntryKind, LogEntry
from swimnomad.raft.proposals import Proposals
from swimnomad.raft.replication import Replication
from swimnomad.raft.servers import (
    Configuration,
    problem_of,
    with_promoted,
    with_server,
    without_server,
)

BUSY = "another membership change is in progress"
TOO_EARLY = "the leader has not committed an entry of its term yet"
HAS_STATE = "bootstrap only works on new clusters"


class Changes:
    """Membership changes of a leader, and the first configuration of all."""

    def __init__(self, context: Context, replication: Replication, proposals: Proposals) -> None:
        self._context = context
        self._replication = replication
        self._proposals = proposals

    def start(self, command: AddServer | RemoveServer | PromoteServer) -> None:
        """Append the changed configuration, or say why it certainly will not be."""
        match command:
            case AddServer(operation, server, deadline):
                self._change(operation, deadline, lambda known: with_server(known, server))
            case RemoveServer(operation, server_id, deadline):
                self._change(operation, deadline, lambda known: without_server(known, server_id))
            case PromoteServer(operation, server_id, deadline):
                self._change(operation, deadline, lambda known: with_promoted(known, server_id))

    def _change(
        self,
        operation: Operation,
        deadline: float,
        change: Callable[[Configuration], Configuration],
    ) -> None:
        context = self._context
        refusal = self._proposals.refusal(deadline) or self._obstacle()
        if refusal is not None:
            context.fail(operation, refusal)
            return
        latest = context.configurations.latest
        try:
            changed = change(latest)
        except UsageError as error:
            context.fail(operation, str(error))
            return
        if changed == latest:
            context.emit(ProposalDone(operation, context.configurations.latest_index))
            return
        problem = problem_of(changed, context.config.servers_max)
        if problem is not None:
            context.fail(operation, problem)
            return
        index = context.append_own(EntryKind.CONFIGURATION, configuration=changed)
        self._replication.follow_configuration()
        self._proposals.wait(operation, index, deadline)

    def _obstacle(self) -> str | None:
        context = self._context
        if context.configurations.is_changing:
            return BUSY
        return TOO_EARLY if context.commit_index < context.term_start else None

    def bootstrap(self, command: Bootstrap) -> None:
        """Write the first configuration as entry 1 of term 1."""
        context = self._context
        problem: str | None = None
        if context.term or context.log.last_index or context.snapshot is not None:
            problem = HAS_STATE
        elif command.configuration.by_id(context.config.id) is None:
            problem = f"{context.config.id!r} itself is not in the configuration"
        else:
            problem = problem_of(command.configuration, context.config.servers_max)
        if problem is not None:
            context.fail(command.operation, problem)
            return
        context.set_term(1, None)
        kind = EntryKind.CONFIGURATION
        context.append([LogEntry(1, 1, kind, configuration=command.configuration)])
        context.write_entries()
        context.emit(ProposalDone(command.operation, 1))
