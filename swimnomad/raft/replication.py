"""A leader's side of replication: who has which entries, and what to send next.

Flow control: towards a follower whose log agrees, up to `appends_in_flight_max` messages are on
their way, each of at most `append_entries_max` entries and `append_bytes_max` bytes. While that
window is full, entries gather and the next message takes more of them. A message that is neither
answered nor failed holds nothing up for long: once a heartbeat is answered that was sent well
after it, the leader goes back to probing.

Who says no is asked again further back: at the place that the answer names, and in any case before
the last one, so that every round gets somewhere.
"""

from __future__ import annotations

from collections.abc import Iterator

from swimnomad.raft.context import Context, Outgoing
from swimnomad.raft.events import PeerFailed, PeerForgot, PeerRecovered, ReplyRefused
from swimnomad.raft.log import LogEntry
from swimnomad.raft.messages import (
    AppendEntries,
    AppendEntriesReply,
    InstallSnapshot,
    InstallSnapshotReply,
)
from swimnomad.raft.progress import Mode, Progress
from swimnomad.raft.servers import ServerAddress
from swimnomad.raft.timers import RetryReplication

_DOUBLINGS_MAX = 32


class Replication:
    """The followers of a leader."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._peers: dict[ServerAddress, Progress] = {}
        self._round = 0
        self._batch: tuple[int, int, tuple[LogEntry, ...]] = (0, 0, ())

    def __iter__(self) -> Iterator[Progress]:
        """Every follower, in the order of the configuration."""
        return iter(self._peers.values())

    def get(self, address: ServerAddress) -> Progress | None:
        """The follower at this address."""
        return self._peers.get(address)

    # --- who follows ------------------------------------------------------------------------------

    def begin(self) -> None:
        """Start with everybody in the configuration, knowing nothing of anybody."""
        self._peers.clear()
        self._batch = (0, 0, ())
        self.follow_configuration()

    def end(self) -> None:
        """Forget all."""
        for peer in self._peers.values():
            self._context.cancel_timer(RetryReplication(peer.server.address))
        self._peers.clear()
        self._context.in_flight.clear()

    def follow_configuration(self) -> None:
        """Take in whom the configuration in force has new, and prepare to part with the others."""
        context = self._context
        known = context.configurations
        for server in known.latest.servers:
            if server.id == context.config.id:
                continue
            peer = self._peers.get(server.address)
            if peer is None:
                next_index = context.log.last_index + 1
                self._peers[server.address] = Progress(server, next_index, context.now)
            else:
                peer.server, peer.until = server, None
        for address, peer in self._peers.items():
            if peer.until is None and known.latest.by_address(address) is None:
                peer.until = known.latest_index

    def _part_with(self, peer: Progress) -> None:
        address = peer.server.address
        for number in (*peer.appends, *peer.obsolete, *peer.heartbeats):
            self._context.in_flight.pop(number, None)
        self._context.cancel_timer(RetryReplication(address))
        del self._peers[address]

    # --- sending ----------------------------------------------------------------------------------

    def send_all(self) -> None:
        """Send everybody what they lack, as far as the windows are open."""
        last = self._context.log.last_index
        for peer in self._peers.values():
            if peer.mode is Mode.REPLICATE:
                if peer.next <= last:
                    self._fill_window(peer)
            elif peer.mode is Mode.PROBE and not peer.appends and not peer.is_waiting:
                self._send_append(peer)

    def _fill_window(self, peer: Progress) -> None:
        context = self._context
        while (
            peer.mode is Mode.REPLICATE
            and peer.next <= context.log.last_index
            and len(peer.appends) < context.config.appends_in_flight_max
        ):
            self._send_append(peer)

    def _send_append(self, peer: Progress) -> None:
        context = self._context
        previous = peer.next - 1
        previous_term = context.term_at(previous)
        if previous_term is None or peer.next < context.log.first_index:
            self._send_snapshot(peer)
            return
        entries = self._entries_from(peer.next)
        request = AppendEntries(
            context.term,
            context.config.address,
            previous,
            previous_term,
            entries,
            context.commit_index,
        )
        last = previous + len(entries)
        number, outgoing = context.send(peer.server.address, request, previous, last)
        peer.appends.append(number)
        peer.told_commit = outgoing.commit = min(context.commit_index, last)
        peer.asked_at = context.now
        if peer.mode is Mode.REPLICATE:
            peer.next = last + 1

    def _entries_from(self, first: int) -> tuple[LogEntry, ...]:
        """What one message takes. Followers that are equally far share it."""
        context = self._context
        last = context.log.last_index
        if first > last:
            return ()
        if self._batch[0] != first or self._batch[1] != last:
            config = context.config
            found = context.log.entries(first, config.append_entries_max, config.append_bytes_max)
            self._batch = (first, last, tuple(found))
        return self._batch[2]

    def _send_snapshot(self, peer: Progress) -> None:
        context = self._context
        snapshot = context.snapshot
        assert snapshot is not None, "the log was compacted without a snapshot"
        self._forget_appends(peer)
        request = InstallSnapshot(context.term, context.config.address, snapshot)
        last = snapshot.last_index
        number, outgoing = context.send(peer.server.address, request, last, last)
        outgoing.commit = last
        peer.appends.append(number)
        peer.mode = Mode.SNAPSHOT

    def send_heartbeats(self) -> int:
        """Send a heartbeat to everybody; the round they belong to."""
        context = self._context
        self._round += 1
        request = AppendEntries(context.term, context.config.address)
        for peer in self._peers.values():
            if len(peer.heartbeats) >= context.config.heartbeats_in_flight_max:
                context.in_flight.pop(peer.heartbeats.popleft(), None)
            number, outgoing = context.send(peer.server.address, request)
            outgoing.round = self._round
            peer.heartbeats.append(number)
        return self._round

    def ask_the_idle(self) -> None:
        """Ask followers that were sent nothing for a while whether the logs still agree.

        One that was restarted has forgotten the commit index, and one with another disk its log;
        neither shows in heartbeats. HashiCorp's leaders ask every 50 to 100 ms.
        """
        context = self._context
        before = context.now - context.config.heartbeat_timeout
        for peer in self._peers.values():
            if peer.mode is Mode.REPLICATE and not peer.appends and peer.asked_at <= before:
                self._send_append(peer)

    def tell_commit(self) -> None:
        """Tell the commit index to those who do not know it and will not by what is in flight."""
        context = self._context
        for peer in self._peers.values():
            if peer.mode is not Mode.REPLICATE or peer.known_commit >= context.commit_index:
                continue  # A probe tells it too.
            is_told = peer.appends and peer.told_commit >= context.commit_index
            if not is_told and len(peer.appends) < context.config.appends_in_flight_max:
                self._send_append(peer)

    @property
    def all_know_commit(self) -> bool:
        """Whether all that can be told have acknowledged the commit index."""
        commit = self._context.commit_index
        return all(
            peer.known_commit >= commit or peer.mode is not Mode.REPLICATE
            for peer in self._peers.values()
        )

    # --- answers ----------------------------------------------------------------------------------

    def on_append_reply(self, number: int, sent: Outgoing, reply: AppendEntriesReply) -> None:
        """A follower answered to entries (never with a newer term: that was seen to before)."""
        peer = self._peers[sent.to]
        peer.contact = self._context.now
        was_awaited = _remove(peer, number)
        if reply.success:
            peer.known_commit = max(peer.known_commit, sent.commit)
        if reply.success and peer.mode is Mode.SNAPSHOT:
            peer.match = max(peer.match, sent.last)  # A late yes; the snapshot is on its way.
        elif reply.success:
            self._on_reached(peer, sent.last)
        elif was_awaited:
            self._on_mismatch(peer, sent, reply)

    def on_heartbeat_reply(self, number: int, sent: Outgoing, reply: AppendEntriesReply) -> None:
        """A follower answered to a heartbeat."""
        peer = self._peers[sent.to]
        context = self._context
        peer.contact = context.now
        peer.heartbeats.remove(number)
        if not reply.success:
            return
        peer.round = max(peer.round, sent.round)
        if peer.is_waiting:
            # It is there again: why wait.
            self.on_retry(peer.server.address)
        elif peer.appends and peer.mode is not Mode.SNAPSHOT:
            oldest = context.in_flight[peer.appends[0]]
            if sent.at - oldest.at > context.config.heartbeat_timeout:
                self._probe_again(peer)

    def on_snapshot_reply(self, number: int, sent: Outgoing, reply: InstallSnapshotReply) -> None:
        """A follower answered to a snapshot."""
        peer = self._peers[sent.to]
        peer.contact = self._context.now
        was_awaited = _remove(peer, number)
        if reply.success:
            peer.known_commit = max(peer.known_commit, sent.commit)
            self._on_reached(peer, sent.last)
        elif was_awaited:
            self._fail(peer, "it did not take the snapshot")

    def on_failure(self, number: int, sent: Outgoing, reason: str) -> None:
        """A message with entries, a heartbeat or a snapshot has no answer."""
        peer = self._peers[sent.to]
        if number in peer.heartbeats:
            peer.heartbeats.remove(number)
            if peer.until is not None:
                self._part_with(peer)
        elif _remove(peer, number):
            self._fail(peer, reason)

    def _on_reached(self, peer: Progress, index: int) -> None:
        """Its log is ours up to `index`."""
        peer.match = max(peer.match, index)
        if peer.failures:
            peer.failures = 0
            self._context.emit(PeerRecovered(peer.server.address))
        if peer.is_waiting:
            peer.is_waiting = False
            self._context.cancel_timer(RetryReplication(peer.server.address))
        if peer.mode is not Mode.REPLICATE:
            self._forget_appends(peer)
            peer.mode = Mode.REPLICATE
            peer.next = peer.match + 1
        else:
            peer.next = max(peer.next, peer.match + 1)
        if peer.until is not None and peer.known_commit >= peer.until:
            self._part_with(peer)

    def _on_mismatch(self, peer: Progress, sent: Outgoing, reply: AppendEntriesReply) -> None:
        address = peer.server.address
        if sent.previous == 0:
            self._context.emit(ReplyRefused(address, "it says that its log does not begin as ours"))
            self._fail(peer, "it does not take the first entry")
            return
        hint = max(1, min(sent.previous, reply.last_index + 1))
        if peer.mode is Mode.REPLICATE:
            # A gap: one before it was lost or is late. Or it was overtaken by an answer since.
            if sent.previous >= peer.match:
                self._probe_again(peer, max(hint, peer.match + 1))
            return
        peer.next = hint
        if peer.next <= peer.match:
            self._context.emit(PeerForgot(address, peer.match))
            peer.match = 0
        if not reply.retry_at_once:
            self._fail(peer, "it does not take the entries")

    def _fail(self, peer: Progress, reason: str) -> None:
        if peer.until is not None:
            self._part_with(peer)
            return
        context = self._context
        address = peer.server.address
        if not peer.failures:
            context.emit(PeerFailed(address, reason))
        config = context.config
        doublings = min(peer.failures, _DOUBLINGS_MAX)
        wait = min(config.retry_backoff * 2**doublings, config.retry_backoff_max)
        peer.failures += 1
        peer.is_waiting = True
        self._probe_again(peer)
        context.set_timer(RetryReplication(address), context.now + wait)

    def on_retry(self, address: ServerAddress) -> None:
        """The pause after a failure is over."""
        peer = self._peers.get(address)
        if peer is not None and peer.is_waiting:
            peer.is_waiting = False
            self._context.cancel_timer(RetryReplication(address))

    def _probe_again(self, peer: Progress, next_index: int | None = None) -> None:
        self._forget_appends(peer)
        if next_index is not None:
            peer.next = next_index
        elif peer.mode is not Mode.PROBE:
            peer.next = peer.match + 1  # A probe is repeated where it was.
        peer.mode = Mode.PROBE

    def _forget_appends(self, peer: Progress) -> None:
        """Wait for none of the messages in flight any more; a yes is still welcome."""
        context = self._context
        while peer.appends:
            peer.obsolete.append(peer.appends.popleft())
        while len(peer.obsolete) > context.config.appends_in_flight_max:
            context.in_flight.pop(peer.obsolete.popleft(), None)

    # --- quorums ----------------------------------------------------------------------------------

    def _quorum_value(self, own: float, name: str) -> float:
        """The greatest value of an attribute that a quorum of voters has reached."""
        known = self._context.configurations
        peers = self._peers
        own_id = self._context.config.id
        reached: list[float] = [
            own if server.id == own_id else getattr(peers[server.address], name)
            for server in known.voters
        ]
        reached.sort(reverse=True)
        return reached[known.quorum - 1]

    @property
    def quorum_match(self) -> int:
        """Index up to which a quorum of voters has our log."""
        return int(self._quorum_value(self._context.log.last_index, "match"))

    @property
    def quorum_round(self) -> int:
        """Newest round of heartbeats that a quorum of voters has answered."""
        return int(self._quorum_value(self._round, "round"))

    @property
    def quorum_contact(self) -> float:
        """When a quorum was heard last: for that long we may believe that we lead."""
        return self._quorum_value(self._context.now, "contact")


def _remove(peer: Progress, number: int) -> bool:
    """Take an answered message off the lists; whether it was waited for."""
    if peer.appends and peer.appends[0] == number:
        peer.appends.popleft()
        return True
    is_awaited = number in peer.appends
    (peer.appends if is_awaited else peer.obsolete).remove(number)
    return is_awaited
