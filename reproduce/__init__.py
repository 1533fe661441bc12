"""Published and measured numbers of gossip protocols, run again on the program's own cores.

`python -m reproduce` runs every experiment and writes docs/reproduction.md. What is expected and
within which band stands in `expectations`; how it is measured stands in `experiments`. Neither
knows the other: an experiment reports what it saw, and `verdict` holds it against the table.
"""
