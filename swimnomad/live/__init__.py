"""Trio and real sockets: the driver that lets a core gossip for real, agents, local clusters."""
