"""The life of streams: what we ask of others, what others ask of us, and how long it may take.

One side dials and writes one message, the other answers with at most one and closes. The core sees
raw bytes in both directions and owns every deadline:

    outbound:  opened ──first byte of the answer (deadline renewed)──▶ whole ──▶ closed by us
    inbound:   accepted ──bytes──▶ whole ──▶ answered ──▶ closed by us

What breaks, ends early, is malformed or takes too long ends the conversation in any state.

Source: gossip.md §12.
"""

from __future__ import annotations

from collections.abc import Callable

from swimnomad.errors import MalformedMessage
from swimnomad.names import Address, Stream
from swimnomad.swim.context import Context
from swimnomad.swim.effects import CloseStream, OpenStream, WriteStream
from swimnomad.swim.timers import StreamDeadline
from swimnomad.wire.frames import StreamCodec, StreamReader, UnwrapFailed
from swimnomad.wire.messages import ErrorReply, StreamMessage

OnReply = Callable[[StreamMessage], str]
"""Takes the answer; returns why it is unusable, or nothing."""
OnFailure = Callable[[str], None]
OnRequest = Callable[[Stream, Address, StreamMessage], None]


class _Conversation:
    """One open stream."""

    __slots__ = ("is_answered", "is_partial", "on_failure", "on_reply", "peer", "reader")

    def __init__(
        self,
        peer: Address,
        reader: StreamReader,
        on_reply: OnReply | None = None,
        on_failure: OnFailure | None = None,
    ) -> None:
        self.peer = peer
        self.reader = reader
        self.on_reply = on_reply
        self.on_failure = on_failure
        self.is_answered = False
        """Outbound: the answer has begun to arrive."""
        self.is_partial = False
        """Inbound: a request has begun to arrive and is not whole."""


class Streams:
    """All streams of a node.

    Args:
        context: The node's shared state.
        codec: Frames and unframes messages.
        plain_codec: The same without compression.
        on_request: Takes each whole inbound message; it answers with `answer`, or not at all.
    """

    def __init__(
        self,
        context: Context,
        codec: StreamCodec,
        plain_codec: StreamCodec,
        on_request: OnRequest,
    ) -> None:
        self._context = context
        self._codec = codec
        self._plain_codec = plain_codec
        self._on_request = on_request
        self._open: dict[Stream, _Conversation] = {}
        self._numbers = 0
        self._inbound = 0
        self._partial = 0

    # --- outbound ---------------------------------------------------------------------------------

    def open(
        self,
        to: Address,
        message: StreamMessage,
        on_reply: OnReply,
        on_failure: OnFailure,
        deadline: float | None = None,
    ) -> Stream:
        """Dial, write a message and wait for the answer: exactly one of the two is called.

        Args:
            to: Whom to dial.
            message: What to write.
            on_reply: Takes the answer.
            on_failure: Takes the reason why there is none.
            deadline: When to give up; None for `tcp_timeout` from now, once more when the answer
                begins.
        """
        context = self._context
        self._numbers += 1
        stream = Stream(inbound=False, number=self._numbers)
        conversation = _Conversation(to, self._codec.reader(True), on_reply, on_failure)
        conversation.is_answered = deadline is not None
        self._open[stream] = conversation
        data = self._pack(message, True)
        context.count("tcp.connect")
        context.count("tcp.sent", len(data))
        context.effects.append(OpenStream(stream, to, data))
        if deadline is None:
            deadline = context.now + context.config.tcp_timeout
        context.set_timer(StreamDeadline(stream), deadline)
        return stream

    def abandon(self, stream: Stream) -> None:
        """Close a stream; nobody is told."""
        if stream in self._open:
            self._close(stream)

    def close_all(self, reason: str) -> None:
        """Close every stream; who waits for an answer is told why there will be none."""
        for stream, conversation in list(self._open.items()):
            self._close(stream)
            if conversation.on_failure is not None:
                conversation.on_failure(reason)

    def answer(self, stream: Stream, message: StreamMessage) -> None:
        """Write the answer to an inbound stream and close it."""
        data = self._pack(message, False)
        self._context.count("tcp.sent", len(data))
        self._context.effects.append(WriteStream(stream, data))
        self._close(stream)

    # --- inputs -----------------------------------------------------------------------------------

    def on_opened(self, stream: Stream, peer: Address) -> None:
        """A peer connected."""
        context = self._context
        context.count("tcp.accept")
        if self._inbound >= context.config.streams_max:
            context.effects.append(CloseStream(stream))
            context.drop(peer, "full", f"more than {context.config.streams_max} streams")
            return
        self._inbound += 1
        self._open[stream] = _Conversation(peer, self._codec.reader(False))
        context.set_timer(StreamDeadline(stream), context.now + context.config.tcp_timeout)

    def on_received(self, stream: Stream, data: bytes) -> None:
        """The next bytes arrived."""
        conversation = self._open.get(stream)
        if conversation is None:
            return  # We closed it; what was on its way does not matter.
        try:
            message = conversation.reader.feed(data)
        except MalformedMessage as error:
            if stream.inbound and isinstance(error, UnwrapFailed):
                # It may be a member with another key: tell it what is wrong.
                self.answer(stream, ErrorReply(str(error)))
            else:
                self._close(stream)
            self._report(conversation, "stream", str(error))
            return
        if message is None:
            self._go_on(stream, conversation)
        elif conversation.on_reply is not None:
            self._close(stream)
            problem = conversation.on_reply(message)
            if problem:
                self._context.drop(conversation.peer, "stream", problem)
        else:
            self._on_request(stream, conversation.peer, message)
            self.abandon(stream)  # What was not answered is closed without a word.

    def on_ended(self, stream: Stream) -> None:
        """The peer will send no more."""
        conversation = self._open.get(stream)
        if conversation is None:
            return
        if _is_knock(stream, conversation):
            self._close(stream)
        else:
            self._fail(stream, conversation, "stream", "the peer closed the stream too early")

    def on_failed(self, stream: Stream, reason: str) -> None:
        """The stream broke or could not be opened; the driver has forgotten it."""
        conversation = self._open.get(stream)
        if conversation is not None:
            self._forget(stream, conversation)
            if not _is_knock(stream, conversation):
                self._report(conversation, "stream", reason)

    def on_deadline(self, timer: StreamDeadline) -> None:
        """The stream took too long."""
        conversation = self._open.get(timer.stream)
        if conversation is not None:
            self._fail(timer.stream, conversation, "timeout", "i/o timeout")

    # --- helpers ----------------------------------------------------------------------------------

    def _pack(self, message: StreamMessage, is_dialer: bool) -> bytes:
        codec = self._codec if self._context.is_compressing else self._plain_codec
        return codec.pack(message, is_dialer)

    def _go_on(self, stream: Stream, conversation: _Conversation) -> None:
        """Part of a message is here: renew the deadline for an answer, count a request."""
        context = self._context
        if not stream.inbound:
            if not conversation.is_answered:
                conversation.is_answered = True
                context.set_timer(StreamDeadline(stream), context.now + context.config.tcp_timeout)
        elif not conversation.is_partial:
            # Requests that arrive in one piece, as pings do, are served whatever the load.
            conversation.is_partial = True
            self._partial += 1
            limit = context.config.inflight_push_pulls_max
            if self._partial > limit:
                self._fail(stream, conversation, "full", f"more than {limit} exchanges at a time")

    def _fail(self, stream: Stream, conversation: _Conversation, kind: str, reason: str) -> None:
        self._close(stream)
        self._report(conversation, kind, reason)

    def _report(self, conversation: _Conversation, kind: str, reason: str) -> None:
        if conversation.on_failure is not None:
            conversation.on_failure(reason)
        else:
            self._context.drop(conversation.peer, kind, reason)

    def _close(self, stream: Stream) -> None:
        self._forget(stream, self._open[stream])
        self._context.effects.append(CloseStream(stream))

    def _forget(self, stream: Stream, conversation: _Conversation) -> None:
        del self._open[stream]
        self._inbound -= stream.inbound
        self._partial -= conversation.is_partial
        self._context.cancel_timer(StreamDeadline(stream))


def _is_knock(stream: Stream, conversation: _Conversation) -> bool:
    """Whether somebody only looked if the port is open: no news when it ends."""
    return stream.inbound and conversation.reader.is_empty
