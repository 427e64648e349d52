"""``python -m qnoded`` is the same as the command ``qnoded``."""

import sys

from qnoded.cli import main

if __name__ == "__main__":
    sys.exit(main())
