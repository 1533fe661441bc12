"""The JSON that Nomad speaks, and gzip as it applies it.

Keys in alphabetical order, floats always with a fraction, no trailing newline; or indented by four
blanks with one newline at the end.

Source: agent-http.md §1.3-1.5.
"""

from __future__ import annotations

import re
import zlib

import msgspec

_ENCODER = msgspec.json.Encoder(order="sorted")
_ENCODER_AS_WRITTEN = msgspec.json.Encoder()

_Q_VALUE = re.compile(r"q=([0-9.]+)")


def encode_json(value: object, *, pretty: bool = False, keep_order: bool = False) -> bytes:
    """A value as JSON. `keep_order` leaves the keys as they are."""
    encoder = _ENCODER_AS_WRITTEN if keep_order else _ENCODER
    try:
        data = encoder.encode(value)
    except UnicodeEncodeError:
        # A peer's name or tag need not be UTF-8; the members must be listed all the same.
        data = encoder.encode(_with_replacements(value))
    return msgspec.json.format(data, indent=4) + b"\n" if pretty else data


def _with_replacements(value: object) -> object:
    """The same value with U+FFFD for every byte of text that was not UTF-8."""
    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    if isinstance(value, dict):
        return {_with_replacements(key): _with_replacements(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_with_replacements(item) for item in value]
    return value


def accepts_gzip(accept_encoding: str) -> bool:
    """Whether `Accept-Encoding` names gzip with a weight above 0; `*` does not count."""
    for part in accept_encoding.split(","):
        coding, _, parameters = part.partition(";")
        if coding.strip().lower() == "gzip":
            weight = _Q_VALUE.search(parameters)
            return weight is None or weight[1].strip("0.") != ""
    return False


class Gzip:
    """One gzip stream, flushed after every piece so that the reader can use it at once."""

    def __init__(self) -> None:
        self._compressor = zlib.compressobj(wbits=31)

    def piece(self, data: bytes) -> bytes:
        """The next bytes on the wire for `data`."""
        return self._compressor.compress(data) + self._compressor.flush(zlib.Z_SYNC_FLUSH)

    def end(self) -> bytes:
        """The last bytes on the wire."""
        return self._compressor.flush()


def gzip(data: bytes) -> bytes:
    """A whole body compressed."""
    compressor = zlib.compressobj(wbits=31)
    return compressor.compress(data) + compressor.flush()
