"""One daemon per state directory: locked in the kernel while the process lives, so that no end of it leaves a lock.

What lies in the directory (key store, stories, what is known of the laser) belongs to one process at a time. A second
daemon that began with the same file would take the instruments from the first before anything else stopped it.
"""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from qnoded.errors import ConfigError

NAME: Final = "daemon.lock"
"""In the state directory; holds the process number of whoever has it, and stays when the lock is given back: a file
that is removed could be locked by one process while another makes it anew."""
PRIVATE_FOLDER: Final = 0o700
PRIVATE: Final = 0o600
KEY: Final = "node.state_dir"
_LONGEST_NUMBER: Final = 20


@contextmanager
def occupied(state_dir: Path) -> Iterator[None]:
    """Have a state directory to oneself; made if it is not there, readable by its owner alone.

    Raises
    ------
    ConfigError
        If another daemon has it, it cannot be written, or everybody may write there.
    """
    try:
        state_dir.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
        demand_own(state_dir)
        lock = os.open(state_dir / NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, PRIVATE)
    except OSError as error:
        remedy = "make it, or give one that this user may make"
        raise ConfigError(state_dir, KEY, error.strerror or str(error), remedy) from None
    try:
        _take(lock, state_dir)
        yield
    finally:
        os.close(lock)


def demand_own(state_dir: Path) -> None:
    """Refuse a state directory that everybody may write: whoever replaces its files decides about keys and light.

    Raises
    ------
    ConfigError
        If others may write there.
    OSError
        If it cannot be looked at.
    """
    mode = stat.S_IMODE(state_dir.stat().st_mode)
    if mode & stat.S_IWOTH:
        problem = f"has mode {mode:04o}: everybody may replace what the node remembers"
        raise ConfigError(state_dir, KEY, problem, f"run chmod 700 {state_dir}, and see who owns the files in it")


def _take(lock: int, state_dir: Path) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(lock, 0)
        os.write(lock, f"{os.getpid()}\n".encode())
    except BlockingIOError:
        found = os.read(lock, _LONGEST_NUMBER).decode("ascii", errors="replace").strip()
        who = f"process {found}" if found.isdigit() else "another process"
        remedy = "stop that daemon, or give this node a state_dir of its own"
        raise ConfigError(state_dir, KEY, f"is in use by {who}", remedy) from None
    except OSError as error:
        problem = f"cannot be locked: {error.strerror}"
        raise ConfigError(state_dir, KEY, problem, "make room on the disk, or give one on a local disk") from None
