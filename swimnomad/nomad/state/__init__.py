"""What the servers of a region keep together: the state that Raft's log is applied to.

`records` are the things kept, `commands` the changes to them with their bytes, `store` the tables,
`snapshot` all of them as bytes. Nothing here draws, waits or reads a clock: the same commands in
the same order make the same state on every server.
"""
