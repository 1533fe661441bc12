"""Serf on top of the gossip layer, without I/O: tags, Lamport clocks, intents, member statuses."""
