"""The least of an HTTP client: asks an agent that may still be starting."""

from __future__ import annotations

import msgspec
import trio

from swimnomad.names import Address

_ANSWER_BYTES_MAX = 16 * 1024 * 1024


class NoAnswer(Exception):
    """The agent gave no answer that makes sense; the text says what happened."""


async def ask(address: Address, path: str, method: str = "GET") -> bytes:
    """The body of a successful answer.

    Raises:
        NoAnswer: If there was none: refused, cut off, too long, or not status 200.
    """
    request = f"{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n"
    answer = bytearray()
    try:
        async with await trio.open_tcp_stream(*address) as stream:
            await stream.send_all(f"{request}Content-Length: 0\r\n\r\n".encode())
            async for chunk in stream:
                answer += chunk
                if len(answer) > _ANSWER_BYTES_MAX:
                    raise NoAnswer("the answer is too long")
    except (OSError, trio.BrokenResourceError) as error:
        raise NoAnswer(str(error)) from None
    head, _, body = bytes(answer).partition(b"\r\n\r\n")
    status = head.partition(b"\r\n")[0].split(b" ")
    if len(status) < 2 or status[1] != b"200":
        raise NoAnswer(f"the answer began with {head[:60]!r}")
    return body


async def alive_members(http: Address) -> int:
    """How many members an agent sees alive.

    Raises:
        NoAnswer: As `ask`.
    """
    try:
        answer = msgspec.json.decode(await ask(http, "/v1/agent/members"))
        return sum(member["Status"] == "alive" for member in answer["Members"])
    except (msgspec.DecodeError, KeyError, TypeError) as error:
        raise NoAnswer(f"the answer makes no sense: {error}") from None
