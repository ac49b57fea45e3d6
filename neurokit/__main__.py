"""Lets `python -m neurokit` do what the command `neurokit` does."""

import sys

from neurokit.cli import main

if __name__ == "__main__":
    sys.exit(main())
