"""Scripts of inputs with the node's whole recorded reaction, in tests/traces/swim.

Each line that begins with `>` is an input, the lines under it are the effects. After a wanted
change run with SWIMNOMAD_RECORD_TRACES=1, read the difference, and commit only what you can
explain.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from swimnomad.swim import timers
from swimnomad.swim.effects import (
    CancelTimer,
    CloseStream,
    Effect,
    Emit,
    OpenStream,
    SendDatagram,
    SetTimer,
    WriteStream,
)
from swimnomad.swim.inputs import Join, JoinTarget, Leave, Shutdown, Timer, UpdateMeta
from swimnomad.wire.messages import Ack, Dead, Nack, NodeState, PacketMessage, Ping, Suspect
from tests.swim.swim_support import Rig, alive, host, record

TRACES = sorted((Path(__file__).resolve().parents[1] / "traces" / "swim").glob("*.txt"))
IS_RECORDING = os.environ.get("SWIMNOMAD_RECORD_TRACES") == "1"


def host_of(name: str) -> str:
    """Node a is at .1, b at .2, …"""
    return host(ord(name) - ord("a") + 1)


def message_of(words: list[str]) -> PacketMessage:
    match words:
        case ["alive", node, incarnation]:
            return alive(node, int(incarnation), host=host_of(node))
        case ["alive", node, incarnation, "at", other]:
            return alive(node, int(incarnation), host=host_of(other))
        case ["suspect", node, incarnation, accuser]:
            return Suspect(node, int(incarnation), accuser)
        case ["dead", node, incarnation, accuser]:
            return Dead(node, int(incarnation), accuser)
        case ["ping", sequence, node]:
            return Ping(int(sequence), node)
        case ["ack", sequence]:
            return Ack(int(sequence))
        case ["nack", sequence]:
            return Nack(int(sequence))
        case _:
            raise AssertionError(f"unknown message: {words}")


def obey(rig: Rig, command: str) -> list[Effect]:
    """Carry out one line of a script."""
    verb, *words = command.split()
    match verb:
        case "hear":
            messages = [message_of(part.split()) for part in " ".join(words).split(" + ")]
            return rig.hear(*messages)
        case "fire":
            return rig.fire(getattr(timers, words[0]))
        case "wait":
            rig.now += float(words[0])
            return []
        case "merge":
            name, incarnation, state = words
            number = int(rig.now * 1000)
            return rig.merge(
                record(name, int(incarnation), NodeState[state.upper()], host=host_of(name)),
                number=number,
            )
        case "join":
            peers = tuple(JoinTarget(rig.entry(name).address) for name in words)
            return rig.feed(Join(1, peers))
        case "leave":
            return rig.feed(Leave(2))
        case "update":
            return rig.feed(UpdateMeta(3, words[0].encode()))
        case "shutdown":
            return rig.feed(Shutdown())
        case _:
            raise AssertionError(f"unknown command: {command}")


def timer_text(timer: Timer) -> str:
    fields = ", ".join(str(getattr(timer, field)) for field in timer.__struct_fields__)
    return f"{type(timer).__name__}({fields})"


def message_text(message: PacketMessage) -> str:
    fields = [str(getattr(message, f)) for f in message.__struct_fields__ if f in SHOWN]
    return " ".join([type(message).__name__.lower(), *filter(None, fields)])


SHOWN = ("sequence", "node", "incarnation", "accuser", "meta", "wants_nack", "payload")


def effect_text(rig: Rig, effect: Effect) -> str:
    match effect:
        case SendDatagram(to, data):
            return f"send {to.host}: " + " + ".join(map(message_text, rig.messages_in(data)))
        case SetTimer(timer, at):
            return f"timer {timer_text(timer)} in {at - rig.now:.3f}"
        case CancelTimer(timer):
            return f"no timer {timer_text(timer)}"
        case OpenStream(stream, to, _):
            return f"dial {to.host} as {stream.number}"
        case WriteStream(_, data):
            return f"answer {len(data)} bytes"
        case CloseStream(stream):
            return f"close {'inbound' if stream.inbound else stream.number}"
        case Emit(event):
            fields = {f: getattr(event, f) for f in event.__struct_fields__}
            for field in ("ip", "port", "versions"):
                fields.pop(field, None)
            shown = " ".join(f"{key}={value}" for key, value in fields.items())
            return f"event {type(event).__name__} {shown}"


def play(script: str) -> str:
    """The script again, with the reactions that its commands really draw."""
    rig = Rig(name="a", seed="trace")
    lines: list[str] = []
    for line in script.splitlines():
        if line.startswith("#") or not line.strip():
            lines.append(line)
        elif line.startswith("> "):
            lines.append(line)
            lines += ["  " + effect_text(rig, effect) for effect in obey(rig, line[2:])]
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
