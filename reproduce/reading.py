"""How long a real Serf agent takes to read a message that waited: `python -m reproduce.reading`.

The set-up of Lifeguard needs the figure and its authors do not tell it. A real agent is stopped,
its socket filled, and let go on; counted is the processor time of all its threads, since what else
runs on the machine lengthens the clock on the wall. 20 and 200 waiting messages are compared, so
that waking up does not count. Suspicions of unknown members stand for gossip: they are decoded,
looked up and dropped. A ping is answered on top.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from reproduce.numbers import median
from swimnomad.wire.codec import encode
from swimnomad.wire.messages import Ping, Suspect

PORT = 7946
FEW, MANY = 20, 200
ROUNDS = 15
PATIENCE = 10.0
GOSSIP_SHARE = 15 / 17
"""Of a second's datagrams at a member of the LAN profile: 15 of gossip, a ping and an ack."""


def ping(number: int) -> bytes:
    """A ping to the agent."""
    return encode(Ping(number, "real"))


def suspicion(number: int) -> bytes:
    """What an agent may gossip; about nobody whom the reader knows."""
    return encode(Suspect(f"unknown-{number}", 1, "somebody"))


class RealAgent:
    """A Serf process at a loopback address, with a socket that talks to it."""

    def __init__(self, process: subprocess.Popen[bytes], host: str, sock: socket.socket) -> None:
        self._process = process
        self._where = (host, PORT)
        self._socket = sock

    def wait_until_it_answers(self) -> None:
        """Ping until an ack comes.

        Raises:
            RuntimeError: None came within `PATIENCE` seconds.
        """
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            self._socket.sendto(ping(0), self._where)
            with contextlib.suppress(OSError):
                self._socket.recv(65_536)
                return
        raise RuntimeError(f"serf at {self._where[0]} does not answer")

    def read_after_stop(self, count: int, message: Callable[[int], bytes]) -> float:
        """Processor seconds for `count` messages that waited; the last one is a ping."""
        self._process.send_signal(signal.SIGSTOP)
        while (
            Path(f"/proc/{self._process.pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "T"
        ):
            os.sched_yield()
        for number in range(1, count):
            self._socket.sendto(message(number), self._where)
        self._socket.sendto(ping(count), self._where)
        before = self._processor_seconds()
        self._process.send_signal(signal.SIGCONT)
        # All is read when nothing more comes for as long as the socket waits.
        with contextlib.suppress(TimeoutError):
            while True:
                self._socket.recv(65_536)
        return self._processor_seconds() - before

    def _processor_seconds(self) -> float:
        tasks = Path(f"/proc/{self._process.pid}/task").glob("*/schedstat")
        return sum(int(one.read_text().split()[0]) for one in tasks) / 1e9


@contextmanager
def real_agent() -> Iterator[RealAgent]:
    """A Serf agent for the length of the block."""
    host = f"127.{100 + os.getpid() % 20}.{os.getpid() // 20 % 250}"
    command = ["serf", "agent", "-node=real", f"-bind={host}.1:{PORT}", "-log-level=err"]
    process = subprocess.Popen(
        [*command, f"-rpc-addr={host}.1:7373"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.bind((f"{host}.2", PORT))
            sock.settimeout(0.2)
            agent = RealAgent(process, f"{host}.1", sock)
            agent.wait_until_it_answers()
            yield agent
    finally:
        process.kill()
        process.wait()


def per_message(agent: RealAgent, message: Callable[[int], bytes]) -> float:
    """Median over `ROUNDS` of processor seconds a message."""
    taken = []
    for _ in itertools.repeat(None, ROUNDS):
        few, many = (agent.read_after_stop(count, message) for count in (FEW, MANY))
        taken.append((many - few) / (MANY - FEW))
    return median(taken)


def main() -> int:
    """Measure and print."""
    if shutil.which("serf") is None:
        print("the real serf agent is needed (Debian package serf)", file=sys.stderr)
        return 2
    with real_agent() as agent:
        gossip, answered = per_message(agent, suspicion), per_message(agent, ping)
    mixed = GOSSIP_SHARE * gossip + (1 - GOSSIP_SHARE) * answered
    print(f"a suspicion {1e6 * gossip:.0f} µs, a ping with its ack {1e6 * answered:.0f} µs")
    print(f"as they come in the LAN profile {1e6 * mixed:.0f} µs a message")
    return 0


if __name__ == "__main__":
    sys.exit(main())
