"""A blocking HTTP client of one agent; every failure says whether anything can have changed."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from types import TracebackType
from typing import Self, TypeVar

import httpx
import msgspec

from swimnomad.cli.failures import QuestionFailed
from swimnomad.cli.https import Trust, explain, make_context
from swimnomad.errors import OperationError, SwimnomadError
from swimnomad.tls.failures import is_refusal, tls_error_in

BY_DEFAULT = Trust()
CONNECT_TIMEOUT = 5.0
ANSWER_TIMEOUT = 60.0
"""Seconds. Above the longest wait of an agent: a join may try many addresses in turn."""
ERROR_CHARACTERS_MAX = 500
CERTAIN = (
    "No cluster leader",
    "No path to region",
    "timed out enqueuing operation",
    "was not found in the Raft configuration",
)
"""Parts of texts with status 500 that are said before anything is done."""

Params = Iterable[tuple[str, str]]
T = TypeVar("T")


class Answer:
    """What an agent said: the JSON as it came, or read into a type."""

    def __init__(self, origin: str, content: bytes, *, to_order: bool) -> None:
        self._origin = origin
        self._content = content
        self._to_order = to_order

    def read(self, kind: type[T]) -> T:
        """The answer as a value of `kind`.

        Raises:
            QuestionFailed: If it is not one; for the answer to an order an `OperationError`, since
                that may have been carried out.
        """
        try:
            return msgspec.json.decode(self._content, type=kind)
        except msgspec.DecodeError as error:
            raise self._misunderstood(str(error)) from None

    def text(self) -> str:
        """The JSON, indented by four blanks, otherwise as it came; an empty answer is `{}`.

        Raises:
            QuestionFailed, OperationError: As `read`, if it is not JSON.
        """
        try:
            return msgspec.json.format(self._content or b"{}", indent=4).decode()
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise self._misunderstood(str(error)) from None

    def _misunderstood(self, why: str) -> SwimnomadError:
        text = f"{self._origin} answered what no agent does ({why}): is it one?"
        return (
            OperationError(text, may_have_happened=True)
            if self._to_order
            else (QuestionFailed(text))
        )


class AgentClient:
    """One agent's HTTP API.

    `ask` is for questions (they raise `QuestionFailed`), `order` for what changes something: its
    `OperationError` knows whether the change may have happened all the same.
    """

    def __init__(
        self, address: str, *, token: str = "", region: str = "", trust: Trust = BY_DEFAULT
    ) -> None:
        """Nothing is asked yet.

        Args:
            address: `http://host:port` or `https://host:port`.
            token: For the header X-Nomad-Token.
            region: Where requests are passed on to.
            trust: How to speak TLS; counts for https only.

        Raises:
            UsageError: Files of `trust` cannot be used.
        """
        self.address = address
        self._region = region
        url = httpx.URL(address)
        self._name = trust.server_name or url.host
        # What certificate is asked for; httpx knows no other way to name another than the host.
        self._extensions = {"sni_hostname": trust.server_name} if trust.server_name else {}
        # No proxy from the environment: an agent is asked directly, most of all on loopback.
        self._http = httpx.Client(
            base_url=address,
            headers={"X-Nomad-Token": token} if token else {},
            timeout=httpx.Timeout(ANSWER_TIMEOUT, connect=CONNECT_TIMEOUT),
            trust_env=False,
            verify=make_context(trust) if url.scheme == "https" else False,
        )

    def __enter__(self) -> Self:
        """The client itself; leaving closes its connections."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the connections."""
        self._http.close()

    def ask(self, path: str, params: Params = (), *, accept: Collection[int] = ()) -> Answer:
        """GET `path`, from the root, as `/v1/agent/members`.

        Args:
            path: Without the address.
            params: Query parameters, in order; names may repeat.
            accept: Statuses beside 200 whose body is an answer too.

        Raises:
            QuestionFailed: If there was no answer, or an error.
        """
        try:
            answer = self._http.get(
                path, params=self._with_region(params), extensions=self._extensions
            )
        except httpx.HTTPError as error:
            raise QuestionFailed(self._unreachable(error)) from error
        if answer.status_code != 200 and answer.status_code not in accept:
            raise QuestionFailed(self._refusal("GET", path, answer))
        return Answer(f"{self.address}{path}", answer.content, to_order=False)

    def order(
        self, path: str, params: Params = (), *, method: str = "PUT", body: object = None
    ) -> Answer:
        """PUT or DELETE `path`.

        Args:
            path: Without the address.
            params: Query parameters, in order; names may repeat.
            method: PUT or DELETE.
            body: What is sent as JSON; None sends nothing.

        Raises:
            OperationError: If the agent did not say that it is done.
        """
        try:
            answer = self._http.request(
                method,
                path,
                params=self._with_region(params),
                content=None if body is None else msgspec.json.encode(body),
                extensions=self._extensions,
            )
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise OperationError(self._unreachable(error), may_have_happened=False) from error
        except httpx.HTTPError as error:
            # The request may have arrived, unless the agent did not even want to speak TLS with us.
            unknown = not is_refusal(error)
            raise OperationError(self._unreachable(error), may_have_happened=unknown) from error
        if answer.status_code != 200:
            # 4xx and 501 are said before anything is done; other 5xx somewhere on the way.
            unknown = answer.status_code >= 500 and answer.status_code != 501
            if any(text in answer.text for text in CERTAIN):
                unknown = False
            raise OperationError(self._refusal(method, path, answer), may_have_happened=unknown)
        return Answer(f"{self.address}{path}", answer.content, to_order=True)

    def _with_region(self, params: Params) -> list[tuple[str, str | int | float | bool | None]]:
        region = [("region", self._region)] if self._region else []
        return [*params, *region]

    def _unreachable(self, error: httpx.HTTPError) -> str:
        """Why there is no answer, in words."""
        if tls_error_in(error):
            return f"agent at {self.address}: no TLS: {explain(error, self._name)}"
        match error:
            case httpx.ConnectTimeout():
                why = f"no connection within {CONNECT_TIMEOUT:g} s"
            case httpx.TimeoutException():
                why = f"no answer within {ANSWER_TIMEOUT:g} s"
            case httpx.ConnectError():
                why = f"no connection ({error})"
            case _:
                why = f"the connection broke ({one_line(str(error)) or type(error).__name__})"
        return f"agent at {self.address}: {why}; is it running? (set --address or NOMAD_ADDR)"

    def _refusal(self, method: str, path: str, answer: httpx.Response) -> str:
        text = one_line(answer.text)[:ERROR_CHARACTERS_MAX] or answer.reason_phrase
        where = f"agent at {self.address}: {method} {path}"
        return f"{where} was answered {answer.status_code} {text}"


def one_line(text: str) -> str:
    """A multi-line error of an agent as one line.

    Nomad lists several causes as `2 errors occurred:` and one line each, marked with TAB and `*`.
    """
    items = re.findall(r"^\t\* (.*)", text, re.MULTILINE)
    return "; ".join(items) or " ".join(text.split())
