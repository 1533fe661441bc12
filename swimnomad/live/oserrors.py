"""System errors in the words Go programs use: logs and answers are compared with Nomad's."""

from __future__ import annotations

import os

from swimnomad.names import Address


def error_text(error: OSError) -> str:
    """The error's text in Go's spelling, for instance `connection refused`."""
    if error.errno is None:
        return str(error)
    return os.strerror(error.errno).lower()


def dial_text(to: Address, call: str, error: OSError) -> str:
    """Why `call` (connect, socket, bind) failed while dialling `to`."""
    return f"dial tcp {to}: {call}: {error_text(error)}"


def transfer_text(call: str, local: Address, remote: Address, error: OSError) -> str:
    """Why `call` (read, write) failed on the connection from `local` to `remote`."""
    return f"{call} tcp {local}->{remote}: {call}: {error_text(error)}"
