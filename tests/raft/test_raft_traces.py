"""Scripts of inputs with the node's whole recorded reaction, in tests/traces/raft.

Each line that begins with `>` is an input, the lines under it are the effects. After a wanted
change run with SWIMNOMAD_RECORD_TRACES=1, read the difference, and commit only what you can
explain.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from swimnomad.names import Value
from swimnomad.raft import timers
from swimnomad.raft.effects import (
    Answer,
    Apply,
    CancelTimer,
    Effect,
    Emit,
    PersistEntries,
    Send,
    SetTimer,
)
from swimnomad.raft.inputs import (
    AddServer,
    Failure,
    PromoteServer,
    Propose,
    ReadIndex,
    RemoveServer,
    SnapshotReceived,
    SnapshotTaken,
    Ticket,
    TransferLeadership,
)
from swimnomad.raft.log import EntryKind, LogEntry
from swimnomad.raft.messages import (
    AppendEntries,
    AppendEntriesReply,
    InstallSnapshot,
    InstallSnapshotReply,
    PreVote,
    PreVoteReply,
    Reply,
    Request,
    RequestVote,
    RequestVoteReply,
    TimeoutNow,
    TimeoutNowReply,
)
from swimnomad.raft.servers import Configuration, Server, Suffrage
from swimnomad.raft.snapshot import Snapshot
from tests.raft.raft_support import Rig, servers

TRACES = sorted((Path(__file__).resolve().parents[1] / "traces" / "raft").glob("*.txt"))
IS_RECORDING = os.environ.get("SWIMNOMAD_RECORD_TRACES") == "1"
PATIENCE = 30.0


class Player:
    """A node, and the requests that it waits for."""

    def __init__(self, names: str, terms: list[int]) -> None:
        self.rig = Rig(names, *terms, snapshot_threshold=3, trailing_entries=0)
        self.waiting: dict[str, list[Send]] = {}

    def obey(self, command: str) -> list[Effect]:
        effects = self._obey(command.split())
        for effect in effects:
            if isinstance(effect, Send):
                self.waiting.setdefault(effect.to, []).append(effect)
        return effects

    def _obey(self, words: list[str]) -> list[Effect]:
        rig = self.rig
        deadline = rig.now + PATIENCE
        match words:
            case ["fire", kind]:
                return rig.fire(getattr(timers, kind))
            case ["hear", *rest]:
                rig.ask(request_of(rest), "somebody")
                return rig.effects
            case ["yes", peer, kind]:
                sent = self._take(peer, kind)
                return rig.answer(sent.number, yes_to(sent.request))
            case ["no", peer, kind, *rest]:
                sent = self._take(peer, kind)
                return rig.answer(sent.number, no_to(sent.request, *map(int, rest)))
            case ["lose", peer, kind]:
                return rig.fail(self._take(peer, kind).number, Failure.LOST)
            case ["propose", operation, data]:
                return rig.feed(Propose(int(operation), data.encode(), deadline))
            case ["read", operation]:
                return rig.feed(ReadIndex(int(operation), deadline))
            case ["add", operation, name]:
                return rig.feed(AddServer(int(operation), Server(name, name), deadline))
            case ["add", operation, name, "nonvoter"]:
                server = Server(name, name, Suffrage.NONVOTER)
                return rig.feed(AddServer(int(operation), server, deadline))
            case ["promote", operation, name]:
                return rig.feed(PromoteServer(int(operation), name, deadline))
            case ["remove", operation, name]:
                return rig.feed(RemoveServer(int(operation), name, deadline))
            case ["transfer", operation, name]:
                return rig.feed(TransferLeadership(int(operation), name))
            case ["taken", place, names]:
                index, term = place_of(place)
                return rig.feed(SnapshotTaken(Snapshot(index, term, servers(names), 1, 8)))
            case ["received", ticket]:
                return rig.feed(SnapshotReceived(Ticket(int(ticket))))
            case _:
                raise AssertionError(f"unknown command: {words}")

    def _take(self, peer: str, kind: str) -> Send:
        """The oldest request of a kind that the peer has not answered."""
        for sent in self.waiting[peer]:
            if kind_of(sent.request) == kind:
                self.waiting[peer].remove(sent)
                return sent
        raise AssertionError(f"{peer} was asked no {kind}")


def kind_of(request: Request) -> str:
    if isinstance(request, AppendEntries):
        return "heartbeat" if request.entries is None else "append"
    return {
        RequestVote: "vote",
        PreVote: "pre-vote",
        InstallSnapshot: "snapshot",
        TimeoutNow: "stand",
    }[type(request)]


def place_of(word: str) -> tuple[int, int]:
    """`7/2` is index 7 of term 2."""
    index, term = word.split("/")
    return int(index), int(term)


def request_of(words: list[str]) -> Request:
    match words:
        case ["heartbeat", leader, "term", term]:
            return AppendEntries(int(term), leader)
        case ["append", leader, "term", term, "after", previous, "commit", commit, *entries]:
            new = tuple(LogEntry(*place_of(word)) for word in entries)
            return AppendEntries(int(term), leader, *place_of(previous), new, int(commit))
        case ["vote", candidate, "term", term, "last", last]:
            return RequestVote(int(term), candidate, *place_of(last))
        case ["vote", candidate, "term", term, "last", last, "transfer"]:
            return RequestVote(int(term), candidate, *place_of(last), is_transfer=True)
        case ["pre-vote", candidate, "term", term, "last", last]:
            return PreVote(int(term), candidate, *place_of(last))
        case ["snapshot", leader, "term", term, "at", last, "of", names]:
            snapshot = Snapshot(*place_of(last), servers(names), 1, 8)
            return InstallSnapshot(int(term), leader, snapshot)
        case ["stand"]:
            return TimeoutNow()
        case _:
            raise AssertionError(f"unknown request: {words}")


def yes_to(request: Request) -> Reply:
    match request:
        case AppendEntries(term, _, previous, _, entries):
            return AppendEntriesReply(term, previous + len(entries or ()), True)
        case RequestVote(term):
            return RequestVoteReply(term, True)
        case PreVote(term):
            return PreVoteReply(term - 1, True)
        case InstallSnapshot(term):
            return InstallSnapshotReply(term, True)
        case TimeoutNow():
            return TimeoutNowReply()


def no_to(request: Request, number: int = 0) -> Reply:
    """`number` is the last index of a follower, or a voter's term."""
    match request:
        case AppendEntries(term):
            return AppendEntriesReply(term, number, False, True)
        case RequestVote():
            return RequestVoteReply(number, False)
        case PreVote():
            return PreVoteReply(number, False)
        case InstallSnapshot(term):
            return InstallSnapshotReply(term, False)
        case TimeoutNow():
            return TimeoutNowReply()


# --- effects as text ------------------------------------------------------------------------------


def text(value: object) -> str:
    match value:
        case LogEntry(index, term, EntryKind.CONFIGURATION, _, configuration):
            return f"{index}/{term}:{text(configuration)}"
        case LogEntry(index, term, kind, data):
            return f"{index}/{term}:{data.decode() or kind.name.lower()}"
        case Configuration(members):
            voters = "".join(s.id for s in members if s.is_voter)
            others = "".join(s.id for s in members if not s.is_voter)
            return f"{{{voters}{' +' + others if others else ''}}}"
        case Snapshot(index, term, configuration):
            return f"snapshot {index}/{term} of {text(configuration)}"
        case tuple():
            return "[" + " ".join(map(text, value)) + "]"
        case Ticket(number):
            return f"#{number}"
        case Value():
            fields = {name: text(getattr(value, name)) for name in value.__struct_fields__}
            inside = " ".join(f"{name}={shown}" for name, shown in fields.items())
            return f"{type(value).__name__}({inside})"
        case _:
            return str(value)


def effect_text(rig: Rig, effect: Effect) -> str:
    match effect:
        case Send(to, request, _) if kind_of(request) == "heartbeat":
            return f"heartbeat {to} term={request.term}"  # type: ignore[union-attr]
        case Send(to, request, _):
            return f"send {to}: {text(request)}"
        case Answer(ticket, reply):
            return f"answer {text(ticket)}: {text(reply)}"
        case SetTimer(timer, at):
            return f"timer {text(timer)} in {at - rig.now:.3f}"
        case CancelTimer(timer):
            return f"no timer {text(timer)}"
        case PersistEntries(entries):
            return f"WRITE {text(entries)}"
        case Apply(entries):
            return f"apply {text(entries)}"
        case Emit(event):
            return f"event {text(event)}"
        case _:
            shown = text(effect)
            return shown.replace("Persist", "WRITE ") if "Persist" in shown else shown


def play(script: str) -> str:
    """The script again, with the reactions that its commands really draw."""
    player: Player | None = None
    lines: list[str] = []
    for line in script.splitlines():
        if line.startswith("#") or not line.strip():
            lines.append(line)
        elif line.startswith("> node "):
            names, *terms = line.removeprefix("> node ").split()
            player = Player(names, [int(term) for term in terms])
            lines.append(line)
        elif line.startswith("> "):
            assert player is not None, "a script begins with `> node NAMES TERMS`"
            lines.append(line)
            lines += ["  " + effect_text(player.rig, e) for e in player.obey(line[2:])]
    return "\n".join(lines) + "\n"


def test_there_are_traces() -> None:
    assert TRACES


@pytest.mark.parametrize("path", TRACES, ids=lambda path: path.stem)
def test_reaction_is_as_recorded(path: Path) -> None:
    recorded = path.read_text()
    played = play(recorded)
    if IS_RECORDING:
        path.write_text(played)
    assert played == recorded
