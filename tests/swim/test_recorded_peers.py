"""What real Serf agents and memberlist nodes wrote, fed to a whole node."""

from __future__ import annotations

import base64
import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from swimnomad.names import Stream
from swimnomad.swim.effects import CloseStream, WriteStream
from swimnomad.swim.events import ExchangeFailed, InputDropped, NodeJoined
from swimnomad.swim.inputs import DatagramReceived, StreamOpened, StreamReceived
from swimnomad.wire.keyring import Keyring
from swimnomad.wire.messages import Alive
from tests.swim.swim_support import PEER, Rig

VECTORS = Path(__file__).resolve().parents[1] / "vectors"
USELESS = ("empty user message", "0 version bytes instead of 6 (alive of 'novsn')")
"""What the recorded nodes sent and we drop on purpose; pings name nodes that we are not."""


@cache
def recorded(file: str) -> dict[str, list[dict[str, Any]]]:
    """The recordings by scenario."""
    scenarios: dict[str, list[dict[str, Any]]] = {}
    for vector in json.loads((VECTORS / file).read_bytes()):
        scenarios.setdefault(vector["name"].split("/")[0], []).append(vector)
    return scenarios


def rig_for(vector: dict[str, Any], **settings: Any) -> Rig:  # noqa: ANN401 - settings by name
    key = vector.get("key")
    ring = Keyring(primary=base64.b64decode(key)) if key else None
    return Rig(name="nobody", keyring=ring, **settings)


@pytest.mark.parametrize("scenario", sorted(recorded("gossip-udp.json")))
def test_every_recorded_datagram_is_understood(scenario: str) -> None:
    for vector in recorded("gossip-udp.json")[scenario]:
        rig = rig_for(vector)
        rig.feed(DatagramReceived(bytes.fromhex(vector["hex"]), PEER))
        for event in rig.events(InputDropped):
            assert event.kind == "ping" or event.reason in USELESS, (vector["name"], event)


@pytest.mark.parametrize("scenario", sorted(recorded("gossip-tcp.json")))
def test_every_recorded_request_is_served(scenario: str) -> None:
    served = 0
    for vector in recorded("gossip-tcp.json")[scenario]:
        if "dialer" not in vector["name"]:
            continue
        rig = rig_for(vector, versions=bytes((1, 5, 2, 2, 5, 4)))
        stream = Stream(True, 1)
        rig.feed(StreamOpened(stream, PEER))
        rig.feed(StreamReceived(stream, bytes.fromhex(vector["hex"])))
        assert [effect.stream for effect in rig.of(CloseStream)] == [stream], vector["name"]
        if "push-pull" in vector["name"]:
            served += 1
            assert len(rig.of(WriteStream)) == 1, vector["name"]
            # Members of the library speak no application protocol and do not go with ours.
            assert scenario.startswith("library") or not rig.events(ExchangeFailed)
            assert scenario.startswith("library") or rig.events(NodeJoined)
    assert served


def test_recorded_alive_is_passed_on_byte_for_byte() -> None:
    passed_on = 0
    for vectors in recorded("gossip-udp.json").values():
        for vector in vectors:
            rig = rig_for(vector)
            rig.drain()
            rig.feed(DatagramReceived(bytes.fromhex(vector["hex"]), PEER))
            queue = rig.node._context.queue
            for message in queue.fetch(0, 1 << 20, 9):
                if message[0] != 4:
                    continue
                # An empty metadata field is passed on as nil, all else as it came.
                originals = [message, message.replace(b"\xa4Meta\xc0", b"\xa4Meta\xa0")]
                raw = _plain(rig, bytes.fromhex(vector["hex"]))
                assert any(original in raw for original in originals), vector["name"]
                passed_on += 1
    assert passed_on > 50


def _plain(rig: Rig, data: bytes) -> list[bytes]:
    return list(rig.node._packets.unpack_untrusted(data).messages)


def test_recorded_names_join() -> None:
    (vector, *_) = [v for v in recorded("gossip-udp.json")["plain"] if "alive" in v["name"]]
    rig = rig_for(vector)
    rig.feed(DatagramReceived(bytes.fromhex(vector["hex"]), PEER))
    assert rig.events(NodeJoined)
    assert any(isinstance(message, Alive) for message in rig.queued())
