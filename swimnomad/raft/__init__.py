"""Consensus among the servers of a region without I/O: Raft."""
