"""Processes of our own: known by number and start, so that no stranger is ever signalled."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import trio

from swimnomad.errors import OperationError
from swimnomad.names import Value

_POLL = 0.02


class ProcessMark(Value, frozen=True):
    """One process and no other: its number may be given to another one, but not with this start."""

    pid: int
    start: str


def mark_of(pid: int) -> ProcessMark | None:
    """The mark of a running process; None if there is none of that number (or only its corpse)."""
    try:
        # The command's name, in parentheses, may hold anything; the rest follows the last one.
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except ProcessLookupError:
        return None
    except FileNotFoundError:
        return None if Path("/proc/self/stat").exists() else _portable_mark(pid)
    state, *rest = fields.rpartition(")")[2].split()
    return None if state in "ZX" else ProcessMark(pid, rest[18])


def _portable_mark(pid: int) -> ProcessMark | None:
    import psutil  # heavy, and Linux needs it not

    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        return ProcessMark(pid, f"{process.create_time():.2f}")
    except psutil.NoSuchProcess:
        return None


class OwnProcess:
    """A process that this program started, now or in an earlier run."""

    def __init__(self, mark: ProcessMark, child: subprocess.Popen[bytes] | None = None) -> None:
        self.mark = mark
        self._child = child

    @classmethod
    def spawn(cls, command: list[str], output: Path) -> OwnProcess:
        """Start a program in a session of its own, its output appended to a file.

        A session of its own: Ctrl-C in a terminal reaches us alone, and we decide what follows.

        Raises:
            OperationError: If it cannot be started.
        """
        try:
            with output.open("ab") as file:
                child = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=file,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
        except OSError as error:
            raise OperationError(
                f"cannot start {command[0]}: {error}", may_have_happened=False
            ) from None
        # Until we wait for it the number stays taken, even if it has ended already.
        return cls(mark_of(child.pid) or ProcessMark(child.pid, "ended"), child)

    @property
    def is_running(self) -> bool:
        """Whether it has not ended; a paused one is running."""
        if self._child is not None:
            return self._child.poll() is None
        return mark_of(self.mark.pid) == self.mark

    @property
    def exit_status(self) -> int | None:
        """Exit status, negative for a signal; None if unknown or still running."""
        return None if self._child is None else self._child.poll()

    def signal(self, number: signal.Signals) -> bool:
        """Send a signal; False if the process has ended."""
        if not self.is_running:
            return False
        try:
            os.kill(self.mark.pid, number)
        except ProcessLookupError:
            return False
        return True

    async def wait(self, seconds: float) -> bool:
        """Wait for its end for at most so long; whether it came."""
        deadline = trio.current_time() + seconds
        while self.is_running:
            if trio.current_time() >= deadline:
                return False
            await trio.sleep(_POLL)
        return True

    async def end(self, seconds: float) -> None:
        """End it: politely, then after `seconds` by force. A paused process is resumed for it."""
        self.signal(signal.SIGTERM)
        self.signal(signal.SIGCONT)
        if not await self.wait(seconds):
            await self.kill()

    async def kill(self) -> None:
        """End it by force and wait until it is gone."""
        self.signal(signal.SIGKILL)
        await self.wait(10.0)
