"""Cuts a stream of bytes into whole MessagePack objects; nothing else marks where one ends.

Most objects of calls are small, and walking over them in Python is cheapest. One with many parts
goes to the C parser, which keeps its place between pieces but takes 40 KiB while it lives, so it
is made for the object and dropped with it. Either way no byte is looked at twice.

Source: rpc.md §5, §6.
"""

from __future__ import annotations

from typing import Final

import msgpack  # type: ignore[import-untyped]  # the package ships no types

from swimnomad.errors import MalformedMessage
from swimnomad.wire.dialect import scan_untrusted

OBJECT_BYTES_MAX: Final = 16 * 1024 * 1024
"""Default for the longest object of a conversation."""

_SMALL_OBJECTS_MAX: Final = 64
"""Parts of an object (and parts in one piece of it) that are walked over in Python."""


class ObjectSplitter:
    """Takes bytes cut anywhere, gives whole objects.

    Args:
        bytes_max: Longest object that is accepted; as much may be buffered.
    """

    def __init__(self, bytes_max: int = OBJECT_BYTES_MAX) -> None:
        self._bytes_max = bytes_max
        self._buffer = bytearray()
        self._walked = 0  # bytes of the buffer that were looked at
        self._pending = 1  # parts still missing of the object at its beginning
        self._walker: msgpack.Unpacker | None = None
        self._failure: MalformedMessage | None = None

    @property
    def is_broken(self) -> bool:
        """Whether what follows the objects given so far is malformed: `receive` will raise."""
        return self._failure is not None

    @property
    def buffered_bytes(self) -> int:
        """Bytes of the object that is not whole yet."""
        return len(self._buffer)

    def receive(self, data: bytes) -> list[bytes]:
        """Take the next bytes; the objects they complete.

        What is malformed behind whole objects does not take them away: it is raised by the next
        call, and told by `is_broken`. So what is given does not depend on where bytes were cut;
        only how soon an object is known to be too long does.

        Raises:
            MalformedMessage: At what begins no object, or one longer than the limit. The
                splitter is of no more use then.
        """
        if self._failure is not None:
            raise self._failure
        objects: list[bytes] = []
        buffer = self._buffer
        try:
            if not buffer:
                start = self._split(data, objects)
                if start < len(data):
                    buffer += memoryview(data)[start:] if start else data
                return objects
            buffer += data
            if self._walker is not None:
                self._walker.feed(data)
            start = self._split(buffer, objects)
            if start:
                del buffer[:start]
        except MalformedMessage as error:
            self._failure = error
            self._walker, self._buffer = None, bytearray()
            if not objects:
                raise
        return objects

    def receive_first(self, data: bytes) -> tuple[bytes, bytes] | None:
        """As `receive`, but stop behind one object: it, and all bytes that follow it.

        Raises:
            MalformedMessage: As `receive`, for that object alone.
        """
        buffer = self._buffer
        buffer += data
        if self._walker is not None:
            self._walker.feed(data)
        objects: list[bytes] = []
        start = self._split(buffer, objects, 1)
        if not objects:
            return None
        rest = bytes(memoryview(buffer)[start:])
        buffer.clear()
        return objects[0], rest

    def _split(self, data: bytes | bytearray, objects: list[bytes], count_max: int = 0) -> int:
        """Cut whole objects off `data`, at most `count_max` unless that is 0; where that ends."""
        start, size = 0, len(data)
        walked, pending = self._walked, self._pending
        while start < size or self._walker is not None:
            if self._walker is None:
                try:
                    walked, pending = scan_untrusted(data, walked, pending, _SMALL_OBJECTS_MAX)
                except MalformedMessage:  # many parts; or none, which the C parser will tell
                    self._walker = self._new_walker(data, start)
                    pending = 1
            if self._walker is not None:
                end = self._walk()
                walked, pending = (size, 1) if end is None else (start + end, 0)
            if walked - start > self._bytes_max:
                raise MalformedMessage(f"an object of more than {self._bytes_max} bytes")
            if pending or walked > size:
                break
            if type(data) is bytes:
                objects.append(data[start:walked])
            else:  # a slice of the buffer would be copied twice; a view must not outlive this line
                objects.append(bytes(memoryview(data)[start:walked]))
            start, pending, self._walker = walked, 1, None
            if len(objects) == count_max:
                break
        # What was cut off leaves the buffer; positions count from the object that is not whole.
        self._walked, self._pending = max(walked - start, 0), pending
        return start

    def _new_walker(self, data: bytes | bytearray, start: int) -> msgpack.Unpacker:
        walker = msgpack.Unpacker(read_size=1024, max_buffer_size=0, strict_map_key=False)
        walker.feed(memoryview(data)[start:])
        return walker

    def _walk(self) -> int | None:
        """Length of the object if the C parser has reached its end."""
        walker = self._walker
        assert walker is not None
        try:
            walker.skip()
        except msgpack.OutOfData:
            return None
        except Exception as error:  # whatever it says: these bytes are no object
            raise MalformedMessage(f"not MessagePack: {error!r}") from None
        length: int = walker.tell()
        return length
