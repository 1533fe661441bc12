"""Follows one agent over HTTP: its event stream, and its member list as it stands."""

from __future__ import annotations

import time

import httpx
import msgspec
import trio

from swimnomad.cli.answers import MemberList
from swimnomad.cli.story.views import Views

SILENCE_MAX = 5.0
"""Seconds without a line, heartbeats included, after which a stream counts as dead."""
RETRY_INTERVAL = 0.1


class StreamedEvent(msgspec.Struct, frozen=True):
    """The fields of an event line that the demo reads."""

    time: float
    event: str
    node: str = ""


class Watcher:
    """Writes into `views` what the agent `observer` sees, for as long as `follow` runs."""

    def __init__(self, observer: str, address: str, views: Views) -> None:
        self.observer = observer
        self._views = views
        self._http = httpx.AsyncClient(
            base_url=address, timeout=httpx.Timeout(SILENCE_MAX), trust_env=False
        )

    async def follow(self) -> None:
        """Follow the agent until cancelled; a process that is gone is tried again and again."""
        async with self._http:
            while True:
                try:
                    await self._follow_one_stream()
                except (httpx.HTTPError, msgspec.DecodeError):
                    # Nobody there (killed, not up yet) or cut in the middle of a line.
                    await trio.sleep(RETRY_INTERVAL)

    async def _follow_one_stream(self) -> None:
        async with self._http.stream("GET", "/v1/swimnomad/events") as stream:
            stream.raise_for_status()
            # The list is read while the stream is open already, so that no change falls between.
            await self._catch_up()
            async for line in stream.aiter_lines():
                if line.strip():  # an empty one is a heartbeat
                    event = msgspec.json.decode(line, type=StreamedEvent)
                    self._views.note_event(self.observer, event.event, event.node, event.time)
                    if event.event == "events-lost":
                        await self._catch_up()

    async def _catch_up(self) -> None:
        """Take over what the member list says."""
        for member, status in (await self.members()).items():
            # Serf's list knows no suspicion: there a suspect is alive.
            suspect = self._views.status(self.observer, member) == "suspect"
            if status in ("failed", "left") or (status == "alive" and not suspect):
                self._views.note(self.observer, member, status, time.time())

    async def members(self) -> dict[str, str]:
        """Status by name, as `/v1/agent/members` says.

        Raises:
            httpx.HTTPError, msgspec.DecodeError: If there is no such answer.
        """
        answer = await self._http.get("/v1/agent/members")
        answer.raise_for_status()
        listed = msgspec.json.decode(answer.content, type=MemberList)
        return {member.name: member.status for member in listed.members}
