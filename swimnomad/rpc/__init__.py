"""The port of 4647: one first byte, then multiplexed sessions, calls and streaming calls.

The conversations (`yamux`, `calls`, `streaming`) take bytes and give bytes; they know no socket,
clock or task. The ends that move the bytes and keep the time stand beside them.
"""
