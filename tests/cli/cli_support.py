"""What the tests of the command line share: run a command line, and agents that only answer."""

from __future__ import annotations

import json
import os
import ssl
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from swimnomad.cli import main

HERE = Path(__file__).parent
RECORDED: Mapping[str, dict[str, Any]] = json.loads((HERE / "nomad_answers.json").read_text())[
    "answers"
]


@dataclass(frozen=True)
class Outcome:
    """What a command line did: exit status, standard output, standard error."""

    status: int
    out: str
    err: str

    def json(self) -> Any:  # noqa: ANN401 (tests look into any JSON)
        """Standard output, which must be exactly one JSON value."""
        return json.loads(self.out)

    def assert_usage_error(self, *words: str) -> None:
        """Exit status 2, nothing on standard output, one line on standard error with `words`."""
        assert self.status == 2, self
        assert self.out == ""
        self.assert_one_line(*words)

    def assert_one_line(self, *words: str) -> None:
        """Standard error is one line that holds all of `words`."""
        assert self.err.endswith("\n")
        assert self.err.count("\n") == 1, self.err
        for word in words:
            assert word in self.err, self.err


class CommandLine:
    """Runs command lines in this process."""

    def __init__(self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self._capsys = capsys
        for name in [name for name in os.environ if name.startswith("NOMAD_")]:
            monkeypatch.delenv(name)
        monkeypatch.setenv("NO_COLOR", "1")
        self.environment = monkeypatch

    def __call__(self, *words: str) -> Outcome:
        self._capsys.readouterr()
        status = main(words)
        out, err = self._capsys.readouterr()
        return Outcome(status, out, err)


@dataclass
class Reply:
    """One answer of a fake agent."""

    status: int
    body: bytes = b""
    content_type: str = ""


def recorded(name: str) -> Reply:
    """An answer of a real Nomad agent."""
    answer = RECORDED[name]
    body = answer["body"]
    if body is None:
        data = b""
    elif answer["content_type"] == "application/json":
        data = json.dumps(body).encode()
    else:
        data = body.encode()
    return Reply(answer["status"], data, answer["content_type"])


def reply(value: object, status: int = 200) -> Reply:
    """An answer with a JSON body."""
    return Reply(status, json.dumps(value).encode(), "application/json")


def members_reply(**statuses: str) -> Reply:
    """A member list with these names (region `global`) and statuses."""
    template = recorded_members()[0]
    listed = [
        {**template, "Name": f"{name}.global", "Status": status}
        for name, status in statuses.items()
    ]
    return reply({"Members": listed, "ServerName": "s1", "ServerRegion": "global"})


def recorded_members() -> list[dict[str, Any]]:
    """The member records of the recorded answer."""
    members: list[dict[str, Any]] = RECORDED["members"]["body"]["Members"]
    return members


@dataclass
class Request:
    """What a fake agent was asked."""

    method: str
    path: str
    query: list[tuple[str, str]]
    headers: dict[str, str]
    body: bytes = b""

    def json(self) -> Any:  # noqa: ANN401 (tests look into any JSON)
        """The body, which must be JSON."""
        return json.loads(self.body)


@dataclass
class FakeAgent:
    """An HTTP server that gives each path its answers in turn, the last one for ever."""

    replies: dict[str, list[Reply]]
    address: str = ""
    requests: list[Request] = field(default_factory=list)

    def answer(self, method: str, target: str, headers: dict[str, str], body: bytes) -> Reply:
        """Note the request and pick its answer."""
        parts = urlsplit(target)
        query = parse_qsl(parts.query, keep_blank_values=True)
        self.requests.append(Request(method, parts.path, query, headers, body))
        replies = self.replies.get(f"{method} {parts.path}", [Reply(404)])
        return replies.pop(0) if len(replies) > 1 else replies[0]


@contextmanager
def fake_agent(
    replies: Mapping[str, Reply | Sequence[Reply]], context: ssl.SSLContext | None = None
) -> Iterator[FakeAgent]:
    """Serve `replies` (keys as `GET /v1/agent/members`) on a loopback address of its own.

    With a context it speaks HTTPS.
    """
    listed = {
        key: [value] if isinstance(value, Reply) else list(value) for key, value in replies.items()
    }
    agent = FakeAgent(listed)

    class Handler(BaseHTTPRequestHandler):
        def respond(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            given = agent.answer(self.command, self.path, dict(self.headers.items()), body)
            self.send_response(given.status)
            if given.content_type:
                self.send_header("Content-Type", given.content_type)
            self.send_header("Content-Length", str(len(given.body)))
            self.end_headers()
            self.wfile.write(given.body)

        do_GET = do_PUT = do_DELETE = respond  # the names that http.server looks for

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (its own name)
            """Stay quiet: standard error is compared."""

    with ThreadingHTTPServer(("127.0.77.1", 0), Handler) as server:
        host, port = server.server_address[:2]
        agent.address = f"{'https' if context else 'http'}://{host!s}:{port}"
        if context:
            server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield agent
        finally:
            server.shutdown()
            thread.join()
