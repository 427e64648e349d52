"""A state directory has one daemon, however the one before ended, and whoever made the directory."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from qnoded.errors import ConfigError
from qnoded.node.occupancy import NAME, occupied

HOLD = """
import sys
from pathlib import Path
from qnoded.node.occupancy import occupied
with occupied(Path(sys.argv[1])):
    print("mine", flush=True)
    sys.stdin.read()
"""


def test_the_second_is_told_who_is_there_and_a_killed_one_leaves_no_lock(tmp_path: Path) -> None:
    state = tmp_path / "new" / "state"
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(state)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "mine\n"
        words = f"state_dir: is in use by process {other.pid}; stop that daemon"
        with pytest.raises(ConfigError, match=words), occupied(state):
            pass
        other.kill()
    with occupied(state):
        assert (state / NAME).read_text() == f"{os.getpid()}\n"
        assert [stat.S_IMODE(one.stat().st_mode) for one in (state, state / NAME)] == [0o700, 0o600]


def test_a_directory_where_everybody_writes_or_nobody_can_is_refused(tmp_path: Path) -> None:
    shared, file = tmp_path / "shared", tmp_path / "file"
    shared.mkdir()
    shared.chmod(0o777)
    file.write_text("")
    for state, words in ((shared, "has mode 0777: everybody may replace"), (file, "File exists; make it, or give one")):
        with pytest.raises(ConfigError, match=words), occupied(state):
            pass
