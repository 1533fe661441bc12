"""Calls and streams between two ends on loopback over one multiplexed connection.

    python -m bench rpc --calls 30000 --seconds 5

Each end is a process of its own. A core's worth of calls is what both together did in one second
of CPU time: `calls / (CPU seconds of the server + CPU seconds of the client)`.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from dataclasses import dataclass

import psutil
import trio
from rich.console import Console
from rich.table import Table

from swimnomad.names import Address
from swimnomad.rpc.listener import serve_rpc
from swimnomad.rpc.pool import Pool
from swimnomad.rpc.service import Peer, StreamingHandler, StreamWriter

IN_FLIGHT = 32
WANTED_CALLS = 3_000
WANTED_P99_MS = 20.0
WANTED_STREAM = 40.0
PAYLOAD_BYTES = 65_536
WARM_UP_CALLS = 2_000
CALL_TIMEOUT = 10.0
ARGUMENTS = b"\x81\xa6Region\xa6global"


class EchoService:
    """Answers every call with its arguments; streams as much as is asked for."""

    async def answer(self, method: str, arguments: bytes, peer: Peer) -> bytes:
        return arguments

    def streaming(self, method: str) -> StreamingHandler | None:
        return self._flood

    async def _flood(self, request: bytes, writer: StreamWriter, peer: Peer) -> None:
        payload = os.urandom(PAYLOAD_BYTES)
        while True:
            await writer.send(payload)


@dataclass
class Figures:
    """What was measured."""

    calls: int = 0
    calls_wall: float = 0.0
    calls_cpu: float = 0.0
    latencies_ms: list[float] | None = None
    stream_mb: float = 0.0
    stream_wall: float = 0.0
    stream_cpu: float = 0.0

    @property
    def calls_per_core(self) -> float:
        return self.calls / self.calls_cpu

    @property
    def stream_rate(self) -> float:
        return self.stream_mb / self.stream_wall

    def percentile_ms(self, share: float) -> float:
        """A latency that `share` of the calls did not exceed."""
        assert self.latencies_ms
        ranked = sorted(self.latencies_ms)
        return ranked[min(int(share * len(ranked)), len(ranked) - 1)]


class Stopwatch:
    """Wall time, and CPU time of this process and the server's."""

    def __init__(self, server: psutil.Process) -> None:
        self._processes = (psutil.Process(), server)
        self._wall, self._cpu = time.perf_counter(), self._cpu_now()

    def _cpu_now(self) -> float:
        return float(sum(sum(process.cpu_times()[:2]) for process in self._processes))

    def read(self) -> tuple[float, float]:
        """Seconds of each since the start."""
        return time.perf_counter() - self._wall, self._cpu_now() - self._cpu


async def call_many(pool: Pool, to: Address, calls: int) -> list[float]:
    """Make calls, `IN_FLIGHT` at a time; milliseconds that each took."""
    latencies: list[float] = []
    left = calls

    async def caller() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            begin = time.perf_counter()
            await pool.call(to, "global", "Bench.Echo", ARGUMENTS, timeout=CALL_TIMEOUT)
            latencies.append(1000 * (time.perf_counter() - begin))

    async with trio.open_nursery() as nursery:
        for _ in range(IN_FLIGHT):
            nursery.start_soon(caller)
    return latencies


async def read_stream(pool: Pool, to: Address, seconds: float) -> float:
    """Read from a stream for some seconds; megabytes that came."""
    size = 0
    end = time.perf_counter() + seconds
    async with pool.stream(to, "global", "Bench.Flood", ARGUMENTS) as payloads:
        async for payload in payloads:
            size += len(payload or b"")
            if time.perf_counter() >= end:
                break
    return size / 1e6


async def measure(to: Address, server: psutil.Process, given: argparse.Namespace) -> Figures:
    """Measure against a server that is up."""
    figures, pool = Figures(calls=given.calls), Pool()
    async with trio.open_nursery() as nursery:
        await nursery.start(pool.run)
        await call_many(pool, to, WARM_UP_CALLS)
        watch = Stopwatch(server)
        figures.latencies_ms = await call_many(pool, to, given.calls)
        figures.calls_wall, figures.calls_cpu = watch.read()
        watch = Stopwatch(server)
        figures.stream_mb = await read_stream(pool, to, given.seconds)
        figures.stream_wall, figures.stream_cpu = watch.read()
        nursery.cancel_scope.cancel()
    return figures


def show(figures: Figures) -> bool:
    """Print the table; whether everything is as wanted."""
    title = f"RPC between two processes on loopback, {IN_FLIGHT} calls in flight on one connection"
    table = Table(title=title, title_justify="left")
    for name in ("", "measured", "wanted", "ratio"):
        table.add_column(name, justify="left" if not name else "right")
    p50, p99 = figures.percentile_ms(0.5), figures.percentile_ms(0.99)
    rows = (
        ("calls/s a core", figures.calls_per_core, WANTED_CALLS, "≥"),
        ("p99, ms", p99, WANTED_P99_MS, "≤"),
        ("stream, MB/s", figures.stream_rate, WANTED_STREAM, "≥"),
    )
    is_as_wanted = True
    for label, measured, wanted, sense in rows:
        ratio = measured / wanted if sense == "≥" else wanted / measured
        is_as_wanted &= ratio >= 1
        table.add_row(
            label,
            f"{measured:,.0f}" if measured >= 100 else f"{measured:.3g}",
            f"{sense} {wanted:,g}",
            f"{ratio:.1f}",
        )
    table.add_row("calls/s", f"{figures.calls / figures.calls_wall:,.0f}", "", "")
    table.add_row("p50, ms", f"{p50:.3g}", "", "")
    table.add_row(
        "stream, MB a CPU second", f"{figures.stream_mb / figures.stream_cpu:.0f}", "", ""
    )
    Console().print(table)
    return is_as_wanted


async def serve() -> None:
    """Be the server: tell the port, serve until standard input ends."""
    async with trio.open_nursery() as nursery:
        address = await nursery.start(serve_rpc, Address("127.0.0.1", 0), EchoService())
        print(address.port, flush=True)
        await trio.to_thread.run_sync(sys.stdin.read, abandon_on_cancel=True)
        nursery.cancel_scope.cancel()


def main() -> int:
    """Read the arguments and run; 0 if everything is as wanted."""
    parser = argparse.ArgumentParser(prog="python -m bench rpc")
    parser.add_argument("--calls", type=int, default=30_000)
    parser.add_argument("--seconds", type=float, default=5.0, help="how long to stream")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        trio.run(serve)
        return 0
    command = [sys.executable, "-m", "bench.rpc", "--serve"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        to = Address("127.0.0.1", int(server.stdout.readline()))
        try:
            figures = trio.run(measure, to, psutil.Process(server.pid), given)
        finally:
            server.stdin.close()
    return 0 if show(figures) else 1


if __name__ == "__main__":
    raise SystemExit(main())
