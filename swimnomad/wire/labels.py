"""Labels keep pools apart: a header before everything else on a datagram or a dialed stream.

Source: gossip.md §10.
"""

from __future__ import annotations

from swimnomad.errors import MalformedMessage, UsageError
from swimnomad.wire.messages import MessageType

LABEL_BYTES_MAX = 255


def label_bytes(label: str) -> bytes:
    """The bytes of a label.

    Raises:
        UsageError: If they are more than 255.
    """
    raw = label.encode("utf-8", "surrogateescape")
    if len(raw) > LABEL_BYTES_MAX:
        raise UsageError(f"a label has at most {LABEL_BYTES_MAX} bytes, not {len(raw)}")
    return raw


def label_header(label: bytes) -> bytes:
    """The header that announces a label; nothing for the empty one."""
    return bytes((MessageType.HAS_LABEL, len(label))) + label if label else b""


def strip_label_untrusted(data: bytes) -> tuple[bytes, bytes]:
    """Label (empty if there is no header) and the rest.

    Raises:
        MalformedMessage: If there is a header that is empty or not whole.
    """
    if not data or data[0] != MessageType.HAS_LABEL:
        return b"", data
    if len(data) < 2:
        raise MalformedMessage("label header is cut off")
    end = 2 + data[1]
    if end == 2:
        raise MalformedMessage("label header is empty")
    if len(data) < end:
        raise MalformedMessage("label header is cut off")
    return data[2:end], data[end:]


def check_label_untrusted(found: bytes, configured: bytes, skip_check: bool) -> None:
    """Refuse what belongs to another pool.

    With `skip_check` a proxy has already looked at the label and removed it.

    Raises:
        MalformedMessage: If the label is not the expected one.
    """
    if skip_check:
        if found:
            raise MalformedMessage("unexpected label header: inbound label check is skipped")
    elif found != configured:
        raise MalformedMessage(f"label {found!r} is not ours")
