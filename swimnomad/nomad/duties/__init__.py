"""What a server does on its own: it bootstraps its region, and when it leads, looks after it.

`bootstrap`, `reconcile`, `autopilot` and `heartbeats` hold the rules, each by itself; `node` asks
them and says what is to be done. All of it is sans-I/O: inputs and the time in, effects out.
"""
