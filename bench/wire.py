"""What the wire costs: messages and datagrams a second on one core, streams in milliseconds.

    python -m bench.wire

Every figure is CPU time of the best of several rounds: what else runs on the machine can only add.
Pings go to a thousand nodes in turn with rising sequence numbers, so nothing is helped by sending
the same bytes again; claims are measured both new and repeated, as gossip repeats them.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Final

from swimnomad.wire import lzw
from swimnomad.wire.codec import decode_untrusted, encode
from swimnomad.wire.compound import make_compound
from swimnomad.wire.coordinates import CoordinatePayload, encode_coordinate
from swimnomad.wire.frames import StreamCodec, StreamSettings, encode_stream
from swimnomad.wire.keyring import Keyring
from swimnomad.wire.messages import (
    Ack,
    Alive,
    NodeRecord,
    PacketMessage,
    Ping,
    PushPull,
    Suspect,
)
from swimnomad.wire.packets import PacketCodec, PacketSettings
from swimnomad.wire.serf_messages import MemberState, encode_serf
from swimnomad.wire.tags import encode_tags

ROUNDS: Final = 7
MESSAGES: Final = 10_000
NODES: Final = 1000
RECORDS: Final = 120
PINGS_WANTED: Final = 150_000
"""Records that make a push/pull of about 30 KB."""

VERSIONS: Final = bytes((1, 5, 2, 2, 5, 4))


def node_name(number: int) -> str:
    return f"server-{number}.global"


def node_ip(number: int) -> bytes:
    return bytes((10, 0, number >> 8, number & 255))


def node_meta(number: int) -> bytes:
    """Tags as a Nomad server has them."""
    rng = random.Random(number)
    tags = {
        "role": "nomad",
        "region": "global",
        "dc": "dc1",
        "build": "1.0.4",
        "port": "4647",
        "id": f"{rng.randrange(2**128):032x}",
        "rpc_addr": ".".join(map(str, node_ip(number))),
        "vsn": "1",
        "mvn": "1",
        "raft_vsn": "2",
    }
    return encode_tags(tags)


def alive(number: int, incarnation: int = 1) -> Alive:
    return Alive(node_name(number), incarnation, node_ip(number), 4648, node_meta(number), VERSIONS)


def pings() -> list[PacketMessage]:
    source = (node_ip(1), 4648, node_name(1))
    return [Ping(number, node_name(number % NODES), *source) for number in range(MESSAGES)]


def acks() -> list[PacketMessage]:
    rng = random.Random(1)
    messages: list[PacketMessage] = []
    for number in range(MESSAGES):
        vec = tuple(rng.gauss(0, 0.01) for _ in range(8))
        coordinate = CoordinatePayload(vec, rng.random(), rng.gauss(0, 1e-4), rng.random() * 1e-4)
        messages.append(Ack(number, encode_coordinate(coordinate)))
    return messages


def suspicions() -> list[PacketMessage]:
    return [Suspect(node_name(n % NODES), n, node_name(n % 7)) for n in range(MESSAGES)]


def push_pull() -> PushPull:
    records = tuple(
        NodeRecord(node_name(n), 1, node_ip(n), 4648, node_meta(n), VERSIONS, 0)
        for n in range(RECORDS)
    )
    ltimes = {node_name(n): n for n in range(RECORDS)}
    state = MemberState(RECORDS, ltimes, events=(None,) * 512)
    return PushPull(True, records, encode_serf(state))


def cpu_seconds(run: Callable[[], object]) -> float:
    """CPU time of the best round."""
    best = float("inf")
    for _ in range(ROUNDS):
        start = time.process_time()
        run()
        best = min(best, time.process_time() - start)
    return best


def exhaust(function: Callable[[bytes], object], items: Iterable[bytes]) -> None:
    for item in items:
        function(item)


def packet_codec(key: bytes | None = None) -> PacketCodec:
    rng = random.Random(1)
    return PacketCodec(PacketSettings(), Keyring(primary=key), lambda: rng.randbytes(12))


def report_rate(
    label: str, count: int, out: float, back: float, wanted: float | None = None
) -> None:
    ratios = ""
    if wanted is not None:
        ratios = f"   {count / out / wanted:.2f} and {count / back / wanted:.2f} of what is wanted"
    print(f"{label:<44}{count / out:>12,.0f}{count / back:>12,.0f}{ratios}")


def measure_messages(
    label: str,
    messages: Sequence[PacketMessage],
    codec: PacketCodec,
    wanted: float | None = None,
) -> None:
    """Value to datagram, datagram to value: the whole pipeline both ways."""

    def out() -> None:
        for message in messages:
            codec.pack(encode(message))

    def back() -> None:
        for data in datagrams:
            for part in codec.unpack_untrusted(data).messages:
                decode_untrusted(part)

    datagrams = [codec.pack(encode(message)) for message in messages]
    report_rate(label, len(messages), cpu_seconds(out), cpu_seconds(back), wanted)


def measure_compounds() -> None:
    """Gossip datagrams filled with six claims, about 1400 bytes before compression.

    Each is new, or sent to four nodes and read by four nodes of one process, as in a simulation.
    """
    codec = packet_codec()
    compounds = [
        make_compound([encode(alive(start + offset, start)) for offset in range(6)])
        for start in range(500)
    ]
    mean = sum(map(len, compounds)) // len(compounds)
    for label, copies in (("new", 1), ("four times", 4)):
        sent = [compound for compound in compounds for _ in range(copies)]
        read = [codec.pack(compound, crc=True) for compound in sent]
        out = cpu_seconds(partial(exhaust, partial(codec.pack, crc=True), sent))
        back = cpu_seconds(partial(exhaust, codec.unpack_untrusted, read))
        report_rate(f"gossip, {mean} bytes compressed, {label}", len(sent), out, back)


def measure_streams() -> None:
    message = push_pull()
    plain = encode_stream(message)
    stream = lzw.compress(plain)
    print(
        f"\n{f'push/pull of {RECORDS} nodes, {len(plain)} bytes':<44}{'out ms':>12}{'back ms':>12}"
    )

    def row(label: str, out: Callable[[], object], back: Callable[[], object]) -> None:
        print(f"{label:<44}{cpu_seconds(out) * 1000:>12.2f}{cpu_seconds(back) * 1000:>12.2f}")

    row("LZW alone", lambda: lzw.compress(plain), lambda: lzw.decompress_untrusted(stream, 1 << 24))
    for label, settings, key in (
        ("plain", StreamSettings(compression=False), None),
        ("compressed", StreamSettings(), None),
        ("compressed and encrypted", StreamSettings(), bytes(32)),
    ):
        codec = StreamCodec(settings, Keyring(primary=key), lambda: bytes(12))
        data = codec.pack(message, dialer=True)

        def out(codec: StreamCodec = codec) -> None:
            codec.pack(message, dialer=True)

        def back(codec: StreamCodec = codec, data: bytes = data) -> None:
            assert codec.reader(dialer=False).feed(data)

        row(label, out, back)


def main() -> None:
    print(f"{'datagrams a second':<44}{'out':>12}{'back':>12}")
    measure_messages("ping", pings(), packet_codec(), PINGS_WANTED)
    measure_messages("ping, encrypted", pings(), packet_codec(bytes(32)))
    measure_messages("ack with a coordinate", acks(), packet_codec())
    measure_messages("suspect, never the same", suspicions(), packet_codec())
    claims: list[PacketMessage] = [alive(n % 100) for n in range(MESSAGES)]
    measure_messages("alive, of 100 nodes again and again", claims, packet_codec())
    measure_compounds()
    measure_streams()


if __name__ == "__main__":
    main()
