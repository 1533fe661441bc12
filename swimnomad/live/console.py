"""What an agent prints: the banner, then its log, as Nomad does.

Source: nomad-agent.md §12.
"""

from __future__ import annotations

from typing import TextIO

from swimnomad import __version__
from swimnomad.live.log import LogLine, json_form, text_form
from swimnomad.names import Address
from swimnomad.nomad.config import AgentConfig

_HELD_BACK_MAX = 4096


class Console:
    """Standard output and error of an agent.

    Log lines from before the agent has started are held back until then. With `as_json` there is
    no decoration: every line is a JSON object.
    """

    def __init__(self, out: TextIO, errors: TextIO, *, as_json: bool = False) -> None:
        self._out = out
        self._errors = errors
        self._as_json = as_json
        self._held_back: list[LogLine] | None = None if as_json else []

    def log(self, line: LogLine) -> None:
        """Print a log line, or hold it back; a sink for `AgentLog`."""
        if self._held_back is None:
            self._print(self._out, json_form(line) if self._as_json else f"    {text_form(line)}")
        elif len(self._held_back) < _HELD_BACK_MAX:
            self._held_back.append(line)

    def say(self, text: str) -> None:
        """Print a line of decoration."""
        if not self._as_json:
            self._print(self._out, f"==> {text}")

    def complain(self, text: str) -> None:
        """Print an error; always, and on standard error."""
        self.release()
        self._print(self._errors, f"==> {text}")

    def announce_start(self, config: AgentConfig) -> None:
        """Print what is about to be started."""
        for path in config.files:
            self.say(f"Loaded configuration from {path}")
        if not config.files:
            self.say("No configuration files loaded")
        self.say("Starting Nomad agent...")

    def announce_started(self, config: AgentConfig, http: Address | None) -> None:
        """Print the configuration block, then the lines held back."""
        if not self._as_json:
            self.say("Nomad agent configuration:")
            self._print(self._out, f"\n{configuration_block(config, http)}\n")
            self.say("Nomad agent started! Log data will stream in below:")
            self._print(self._out, "")
        self.release()

    def release(self) -> None:
        """Print the lines held back; from now on lines are printed at once."""
        held_back, self._held_back = self._held_back or [], None
        for line in held_back:
            self.log(line)

    def _print(self, where: TextIO, text: str) -> None:
        try:
            where.write(f"{text}\n")
            where.flush()
        except (OSError, ValueError):
            pass  # The reader has gone (`| head`); an agent does not stop for that.


def configuration_block(config: AgentConfig, http: Address | None) -> str:
    """Nomad's summary: labels right-aligned so that the colons stand in one column."""
    server = config.server.enabled
    advertise = {"HTTP": config.advertised("http"), "RPC": config.advertised("rpc")}
    bind = {"HTTP": http or config.bind("http"), "RPC": config.bind("rpc")}
    if server:
        advertise["Serf"] = config.advertised("serf")
        bind["Serf"] = config.bind("serf")
    rows = {
        "Advertise Addrs": _joined(advertise),
        "Bind Addrs": _joined(bind),
        "Client": str(config.client.enabled).lower(),
        "Gossip Profile": config.gossip.profile,
        "Log Level": config.log_level.upper(),
        "Region": f"{config.region} (DC: {config.datacenter})",
        "Server": str(server).lower(),
        "Version": f"1.0.4 (swimnomad {__version__})",
    }
    return "\n".join(f"{label:>22}: {value}" for label, value in rows.items())


def _joined(addresses: dict[str, Address]) -> str:
    return "; ".join(f"{service}: {address}" for service, address in addresses.items())
