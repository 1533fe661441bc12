"""An agent as a program: what it prints, how it takes signals, how it ends."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from swimnomad.live.http_probe import NoAnswer, ask
from swimnomad.names import Address
from tests.live.live_support import fresh_host

pytestmark = pytest.mark.live

LIMIT = 30.0


class Program:
    """A running `swimnomad agent` and what it has printed so far."""

    def __init__(self, process: trio.Process, host: str) -> None:
        self._process = process
        self.http = Address(host, 4646)
        self.output = ""

    async def until_printed(self, text: str) -> None:
        """Return once the program has printed `text`."""
        assert self._process.stdout is not None
        while text not in self.output:
            chunk = await self._process.stdout.receive_some()
            assert chunk, f"the program ended without printing {text!r}:\n{self.output}"
            self.output += bytes(chunk).decode()

    async def status(self) -> int:
        """Its exit status; waits for the end and collects what it prints until then."""
        assert self._process.stdout is not None
        async for chunk in self._process.stdout:
            self.output += bytes(chunk).decode()
        return await self._process.wait()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        self._process.send_signal(number)


@asynccontextmanager
async def program(*flags: str, host: str = "") -> AsyncIterator[Program]:
    """An agent with the given flags; killed at the end of the block if it still runs."""
    host = host or fresh_host()
    command = [sys.executable, "-m", "swimnomad", "agent", "--server", "--node", "s1"]
    command += ["--bind", host, "--profile", "local", *flags]
    with trio.fail_after(LIMIT):
        process = await trio.lowlevel.open_process(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        try:
            yield Program(process, host)
        finally:
            process.kill()
            await process.wait()
            assert process.stdout is not None
            await process.stdout.aclose()


async def joined(agent: Program, seed: Program) -> None:
    """Return once both run and the seed has seen the other, s2, join."""
    await seed.until_printed(STARTED)
    await agent.until_printed(STARTED)
    await ask(agent.http, f"/v1/agent/join?address={seed.http.host}:4648", "PUT")
    await seed.until_printed("EventMemberJoin: s2.global")


STARTED = "Nomad agent started! Log data will stream in below:"


async def test_the_banner_comes_first_and_then_the_log() -> None:
    async with program() as agent:
        await agent.until_printed('adding server: server="s1.global')
        host = agent.http.host
        text = agent.output
        assert "==> No configuration files loaded\n==> Starting Nomad agent...\n" in text
        assert (
            f"            Bind Addrs: HTTP: {host}:4646; RPC: {host}:4647; Serf: {host}:4648\n"
            in text
        )
        assert "             Log Level: INFO\n                Region: global (DC: dc1)\n" in text
        started = text.index(f"==> {STARTED}\n\n    ")
        assert started < text.index(f"[INFO]  nomad: serf: EventMemberJoin: s1.global {host}\n")
        agent.signal(signal.SIGTERM)
        assert await agent.status() == 1


@pytest.mark.parametrize(
    ("number", "name"), [(signal.SIGINT, "interrupt"), (signal.SIGTERM, "terminated")]
)
async def test_a_signal_stops_the_agent_at_once_with_status_1_and_the_others_see_it_failed(
    number: signal.Signals, name: str
) -> None:
    """agent Q01, agent Q03"""
    async with program() as seed, program("--node", "s2") as agent:
        await joined(agent, seed)
        agent.signal(number)
        assert await agent.status() == 1
        await seed.until_printed("EventMemberFailed: s2.global")
        assert f"==> Caught signal: {name}\n" in agent.output
        assert "Gracefully" not in agent.output


@pytest.mark.parametrize(
    ("number", "flag"),
    [(signal.SIGINT, "--leave-on-interrupt"), (signal.SIGTERM, "--leave-on-terminate")],
)
async def test_a_signal_that_means_leave_ends_with_status_0_and_the_others_see_it_left(
    number: signal.Signals, flag: str
) -> None:
    """agent Q02, agent Q03"""
    async with program() as seed, program(flag, "--node", "s2") as agent:
        await joined(agent, seed)
        agent.signal(number)
        assert await agent.status() == 0
        await seed.until_printed("EventMemberLeave: s2.global")
        assert "==> Gracefully shutting down agent...\n" in agent.output


async def test_a_second_signal_ends_a_graceful_leave_at_once() -> None:
    async with program() as seed, program("--leave-on-interrupt", "--node", "s2") as agent:
        await joined(agent, seed)
        # With another member to tell, a leave takes a second at least.
        agent.signal(signal.SIGINT)
        await agent.until_printed("Gracefully shutting down agent...")
        agent.signal(signal.SIGTERM)
        assert await agent.status() == 1
        assert "==> Caught signal: terminated\n" in agent.output


async def test_a_leave_over_http_ends_the_program_with_status_0() -> None:
    async with program() as agent:
        await agent.until_printed(STARTED)
        assert json.loads(await ask(agent.http, "/v1/swimnomad/leave", "PUT")) == {"heard": True}
        assert await agent.status() == 0


async def test_hangup_reloads_the_log_level_and_the_agent_goes_on(tmp_path: Path) -> None:
    """agent Q04"""
    file = tmp_path / "agent.hcl"
    file.write_text('log_level = "WARN"\n')
    async with program("--config", str(file)) as agent:
        await agent.until_printed(STARTED)
        file.write_text('log_level = "DEBUG"\n')
        agent.signal(signal.SIGHUP)
        await agent.until_printed("==> Reloading configuration...")
        assert await ask(agent.http, "/v1/agent/self")
        await agent.until_printed("[DEBUG] http: request complete")
        assert "[INFO]" not in agent.output
        agent.signal(signal.SIGTERM)
        assert await agent.status() == 1


async def test_a_failed_start_join_prints_the_join_error_and_ends_with_status_1() -> None:
    nobody = fresh_host()
    async with program("--join", nobody) as agent:
        assert await agent.status() == 1
        assert STARTED not in agent.output
        assert (
            f"==> 1 error occurred:\n\t* Failed to join {nobody}: dial tcp {nobody}:4648: "
            "connect: connection refused\n"
        ) in agent.output


async def test_used_up_retries_end_the_program_with_status_1() -> None:
    async with program(
        "--retry-join", fresh_host(), "--retry-max", "1", "--retry-interval", "10ms"
    ) as agent:
        assert await agent.status() == 1
        assert "[ERROR] agent.joiner: max join retry exhausted, exiting\n" in agent.output


async def test_an_address_in_use_ends_the_program_with_status_1_and_its_name() -> None:
    async with program() as first:
        await first.until_printed(STARTED)
        async with program(host=first.http.host) as second:
            assert await second.status() == 1
            assert (
                f"==> Error starting agent: cannot listen for RPC on {first.http.host}:4647: "
                "address already in use\n"
            ) in second.output


async def test_json_output_is_json_lines_only() -> None:
    async with program("--log-json") as agent:
        await agent.until_printed("adding server")
        agent.signal(signal.SIGTERM)
        assert await agent.status() == 1
        lines = [line for line in agent.output.splitlines() if not line.startswith("==> no data")]
        assert [line for line in lines if not line.startswith("{")] == []
        records = [json.loads(line) for line in lines]
        assert all({"@level", "@message", "@module", "@timestamp"} <= set(one) for one in records)
        assert "s1.global (Addr: " in records[1]["server"]


async def test_the_api_is_gone_when_the_program_is() -> None:
    async with program() as agent:
        await agent.until_printed(STARTED)
        agent.signal(signal.SIGINT)
        await agent.status()
        with pytest.raises(NoAnswer):
            await ask(agent.http, "/v1/agent/self")


async def test_a_client_runs_without_a_server() -> None:
    host = fresh_host()
    command = [sys.executable, "-m", "swimnomad", "agent", "--client", "--bind", host]
    with trio.fail_after(LIMIT):
        process = await trio.lowlevel.open_process(
            [*command, "--servers", f"{host}:1"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        client = Program(process, host)
        try:
            await client.until_printed("error registering: error=rpc error: failed to get conn")
            assert "Client: true\n" in client.output
            assert "Server: false\n" in client.output
            client.signal(signal.SIGTERM)
            assert await client.status() == 1
        finally:
            process.kill()
