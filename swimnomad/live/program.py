"""An agent as a program: banner, signals, exit status.

Source: nomad-agent.md §7, §8, §12.
"""

from __future__ import annotations

import gc
import logging
import signal
import sys
from collections.abc import AsyncIterator, Callable

import trio

from swimnomad.errors import OperationError, SwimnomadError, UsageError
from swimnomad.live.agent import LiveAgent, open_agent
from swimnomad.live.console import Console
from swimnomad.live.log import AgentLog, Level, level_of
from swimnomad.nomad.config import AgentConfig
from swimnomad.serf.inputs import Leave

LEAVE_BUDGET = 5.0
"""Seconds that a graceful leave may take before the agent stops all the same."""

GC_THRESHOLDS = (50_000, 50, 100)

GO_NAMES = {
    signal.SIGINT: "interrupt",
    signal.SIGTERM: "terminated",
    signal.SIGHUP: "hangup",
}


def run_agent(config: AgentConfig, reload: Callable[[], AgentConfig] | None = None) -> int:
    """Run one agent until it is told to stop; print what Nomad prints.

    Args:
        config: Checked and merged.
        reload: Reads the configuration again on SIGHUP; what counts of the result
                `LiveAgent.reload` says.

    Returns:
        Exit status: 0 after a graceful leave, 1 after anything else (a signal without a leave, a
        leave that took too long or was cut short by a second signal, a failed start or join).
    """
    # Tables of many small objects live long; looking through all of them again and again would stop
    # a large agent for tenths of a second, long enough to be suspected.
    gc.set_threshold(*GC_THRESHOLDS)
    console = Console(sys.stdout, sys.stderr, as_json=config.log_json)
    program = _Program(config, console, reload)
    return trio.run(program.run)


class _Program:
    """One run of one agent."""

    def __init__(
        self, config: AgentConfig, console: Console, reload: Callable[[], AgentConfig] | None
    ) -> None:
        self._config = config
        self._console = console
        self._reload = reload
        self._log = AgentLog(level_of(config.log_level), console.log)
        self._status = 1
        self._agent: LiveAgent | None = None
        self._leaving = False

    async def run(self) -> int:
        """Run to the end; return the exit status."""
        bridge = _LoggingBridge(self._log)
        logging.getLogger("swimnomad").addHandler(bridge)
        logging.getLogger("swimnomad").setLevel(logging.DEBUG)
        try:
            # SIGPIPE stays ignored, as Python has it: sockets raise it for every broken stream.
            with trio.open_signal_receiver(*GO_NAMES) as signals:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._heed, signals, nursery.cancel_scope)
                    await self._live()
                    nursery.cancel_scope.cancel()
        finally:
            logging.getLogger("swimnomad").removeHandler(bridge)
        self._console.release()
        return self._status

    async def _live(self) -> None:
        self._console.announce_start(self._config)
        try:
            async with open_agent(self._config, self._log) as agent:
                self._agent = agent
                self._console.announce_started(agent.config, agent.http)
                await agent.stop.wait()
                self._status = agent.stop.status
                if agent.stop.leave and not await self._leave(agent):
                    self._status = 1
        except OperationError as error:
            self._console.complain(str(error))
        except UsageError as error:
            self._console.complain(f"Error starting agent: {error}")

    async def _heed(self, signals: AsyncIterator[int], everything: trio.CancelScope) -> None:
        async for number in signals:
            name = GO_NAMES[signal.Signals(number)]
            self._console.say(f"Caught signal: {name}")
            if self._leaving or self._agent is None:
                self._status = 1
                everything.cancel()
            elif number == signal.SIGHUP:
                self._reread()
            elif self._leaves_on(number):
                self._console.say("Gracefully shutting down agent...")
                self._leaving = True
                self._agent.stop.request(leave=True, status=0)
            else:
                self._agent.stop.request(leave=False, status=1)

    def _leaves_on(self, number: int) -> bool:
        if number == signal.SIGINT:
            return self._config.leave_on_interrupt
        return self._config.leave_on_terminate

    async def _leave(self, agent: LiveAgent) -> bool:
        """Leave the pool; False if that took longer than the budget."""
        self._leaving = True
        if agent.endpoint is None:
            return True
        with trio.move_on_after(LEAVE_BUDGET):
            try:
                await agent.endpoint.execute(Leave)
            except OperationError as error:
                self._log.write(Level.ERROR, "agent", "graceful leave failed", error=error)
                return False
            return True
        return False

    def _reread(self) -> None:
        self._console.say("Reloading configuration...")
        if self._reload is None or self._agent is None:
            return
        try:
            config = self._reload()
            self._agent.reload(config)
            self._config = config
        except SwimnomadError as error:
            self._log.write(Level.ERROR, "agent", "failed to reload the configuration", error=error)


class _LoggingBridge(logging.Handler):
    """Brings what other rooms write to the standard library's logging into the agent's log."""

    def __init__(self, log: AgentLog) -> None:
        super().__init__()
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record; the module is the logger's name without the package."""
        level = Level.ERROR
        if record.levelno < logging.ERROR:
            level = Level.WARN if record.levelno >= logging.WARNING else Level.INFO
        if record.levelno < logging.INFO:
            level = Level.DEBUG
        module = record.name.removeprefix("swimnomad.")
        text = record.getMessage()
        if record.exc_info:
            text += " " + logging.Formatter().formatException(record.exc_info)
        self._log.write(level, module, text)
