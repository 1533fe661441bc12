"""Drives cores on trio with real sockets: gossip endpoints, agents, local clusters of processes."""
