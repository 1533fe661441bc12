"""What a peer may ask: from whom, and within which bounds. Nothing here changes anything.

Each function returns why a request is refused, or None. They are asked before the first change of
state, so a refused request leaves none.
"""

from __future__ import annotations

from swimnomad.raft.context import Context
from swimnomad.raft.log import INDEX_MAX, EntryKind, LogEntry
from swimnomad.raft.messages import (
    AppendEntries,
    InstallSnapshot,
    PreVote,
    Request,
    RequestVote,
)
from swimnomad.raft.servers import TEXT_BYTES_MAX, ServerAddress, problem_of


def sender_of(request: Request, source: str) -> str:
    """Whom a request is from: as it says, else as the driver knows."""
    if isinstance(request, AppendEntries | InstallSnapshot):
        return request.leader
    if isinstance(request, RequestVote | PreVote):
        return request.candidate
    return source


def problem_with_sender(context: Context, sender: ServerAddress) -> str | None:
    """Whether this server listens to `sender`.

    A server whose configuration is old must listen to leaders and candidates that it does not
    know, or it can never learn better (thesis §4.1). Whom it knows besides is for `Introduce` to
    say; a server without any configuration waits for the first to come.
    """
    if not 0 < len(sender) <= TEXT_BYTES_MAX:
        return f"a sender of {len(sender)} characters, 1 to {TEXT_BYTES_MAX} are allowed"
    if sender == context.config.address:
        return "it claims to be from this server itself"
    # The leader we follow may be taking itself out.
    if sender == context.leader or sender in context.introduced:
        return None
    if context.configurations.knows(sender):
        return None
    if not context.configurations.latest.servers and not context.introduced:
        return None
    return f"{sender} is not a server of this region"


def problem_with_request(context: Context, request: Request) -> str | None:
    """Whether a request keeps within the bounds that hold for any correct peer."""
    match request:
        case AppendEntries():
            return _problem_with_append(context, request)
        case RequestVote() | PreVote():
            if not 0 < request.term <= INDEX_MAX:
                return f"term {request.term} is impossible"
            if not 0 <= request.last_index <= INDEX_MAX:
                return f"last index {request.last_index} is impossible"
            # The candidate stands for a term beyond those of its entries.
            if not 0 <= request.last_term < request.term:
                return f"last term {request.last_term} is impossible in term {request.term}"
            return None
        case InstallSnapshot():
            return _problem_with_snapshot(context, request)
        case _:
            return None


def _problem_with_append(context: Context, request: AppendEntries) -> str | None:
    if not 0 < request.term <= INDEX_MAX:
        return f"term {request.term} is impossible"
    if not 0 <= request.previous_index <= INDEX_MAX:
        return f"previous index {request.previous_index} is impossible"
    if not 0 <= request.previous_term <= request.term:
        return f"previous term {request.previous_term} is impossible in term {request.term}"
    if not 0 <= request.commit_index <= INDEX_MAX:
        return f"commit index {request.commit_index} is impossible"
    entries = request.entries
    if not entries:
        return _problem_with_previous(context, request)
    config = context.config
    if len(entries) > config.received_entries_max:
        return f"{len(entries)} entries, at most {config.received_entries_max} are allowed"
    index, term = request.previous_index, request.previous_term
    for entry in entries:
        index += 1
        if entry.index != index:
            return f"entry {entry.index} stands where {index} belongs"
        if not term <= entry.term <= request.term or entry.term < 1:
            return f"entry {index} is of term {entry.term}, after {term} and in {request.term}"
        term = entry.term
        if len(entry.data) > config.entry_bytes_max:
            return f"entry {index} has {len(entry.data)} bytes, at most {config.entry_bytes_max}"
        if entry.kind is EntryKind.CONFIGURATION or entry.configuration is not None:
            problem = _problem_with_configuration(context, entry)
            if problem:
                return problem
    return _problem_with_previous(context, request) or _problem_with_overlap(context, request)


def _problem_with_configuration(context: Context, entry: LogEntry) -> str | None:
    if entry.configuration is None or entry.kind is not EntryKind.CONFIGURATION:
        return f"entry {entry.index} and its kind disagree whether it is a configuration"
    problem = problem_of(entry.configuration, context.config.servers_max)
    return f"the configuration at {entry.index} is impossible: {problem}" if problem else None


def _problem_with_previous(context: Context, request: AppendEntries) -> str | None:
    index = request.previous_index
    if request.entries is None or not 0 < index <= context.commit_index:
        return None
    # A deposed leader may contradict what was committed since: it is to hear of the new term.
    if request.term < context.term:
        return None
    held = context.term_at(index)
    if held is None or held == request.previous_term:
        return None
    return f"entry {index} is committed here in term {held}, not {request.previous_term}"


def _problem_with_overlap(context: Context, request: AppendEntries) -> str | None:
    """Whether entries contradict committed ones, which the leader of this term never does."""
    if request.previous_index >= context.commit_index or request.term < context.term:
        return None
    for entry in request.entries or ():
        if entry.index > context.commit_index:
            break
        held = context.term_at(entry.index)
        if held is not None and held != entry.term:
            return f"entry {entry.index} is committed here in term {held}, not {entry.term}"
    return None


def _problem_with_snapshot(context: Context, request: InstallSnapshot) -> str | None:
    if not 0 < request.term <= INDEX_MAX:
        return f"term {request.term} is impossible"
    snapshot = request.snapshot
    if not 0 < snapshot.last_index <= INDEX_MAX:
        return f"last index {snapshot.last_index} is impossible"
    if not 0 < snapshot.last_term <= request.term:
        return f"last term {snapshot.last_term} is impossible in term {request.term}"
    if not 0 <= snapshot.configuration_index <= snapshot.last_index:
        return f"a configuration at {snapshot.configuration_index} is impossible"
    if not 0 <= snapshot.size <= context.config.snapshot_bytes_max:
        return f"{snapshot.size} bytes, at most {context.config.snapshot_bytes_max} are allowed"
    problem = problem_of(snapshot.configuration, context.config.servers_max)
    if problem:
        return f"its configuration is impossible: {problem}"
    if snapshot.last_index > context.commit_index or request.term < context.term:
        return None
    held = context.term_at(snapshot.last_index)
    if held not in (None, snapshot.last_term):
        return f"entry {snapshot.last_index} is committed here in term {held}"
    return None
