"""Bytes to messages and back, stateless: everything a memberlist or Serf peer can read or write."""
