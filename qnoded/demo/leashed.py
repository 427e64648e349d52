"""``qnoded`` on a leash: asked to end as soon as the program that started it is gone, however that one ended.

``python -m qnoded.demo.leashed PARENT WORDS...`` is ``qnoded WORDS...`` for as long as the process PARENT lives. The
kernel holds the leash, so that even a parent that was killed leaves no daemon with its laser on. It is taken up by the
child itself: code between fork and exec can deadlock in a program with threads.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from typing import Final

from qnoded.cli import EXIT_INTERRUPTED, main

PR_SET_PDEATHSIG: Final = 1
"""prctl(2). The signal comes when the thread ends that started this process."""


def leash(parent: int) -> bool:
    """Have SIGTERM sent to this process when its parent ends; return whether it still lives."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    # It may have ended before there was a leash.
    return os.getppid() == parent


if __name__ == "__main__":
    sys.exit(main(sys.argv[2:]) if leash(int(sys.argv[1])) else EXIT_INTERRUPTED)
