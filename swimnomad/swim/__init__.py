"""Membership and failure detection without I/O: SWIM, Lifeguard and push/pull."""
