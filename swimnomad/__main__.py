"""`python -m swimnomad`: the same as the `swimnomad` program."""

import sys

from swimnomad.cli import main

if __name__ == "__main__":
    sys.exit(main())
