"""The virtual world: time, network, hosts and faults that repeat from a seed."""
