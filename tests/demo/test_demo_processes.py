"""The programs of a demo: none outlives the one that started it."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from pathlib import Path

LONGEST_S = 30.0

STARTS_ONE = """
import asyncio, sys
from pathlib import Path
from qnoded.demo.processes import ready_line, start

async def begin() -> None:
    port = Path(sys.argv[1]) / "mount"
    program = await start("mount", ["emulate", "elliptec-ell14", "--pty", str(port)], port.parent)
    await ready_line(program, 30.0)
    print(program.process.pid, flush=True)
    await program.process.wait()

asyncio.run(begin())
"""


def test_killing_the_one_that_started_them_ends_them_in_order(tmp_path: Path) -> None:
    command = [sys.executable, "-c", STARTS_ONE, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = os.pidfd_open(int(parent.stdout.readline()))
        try:
            assert (tmp_path / "mount").is_symlink()
            parent.send_signal(signal.SIGKILL)
            assert parent.wait(LONGEST_S) == -signal.SIGKILL
            # A pidfd can be read once its process has ended.
            assert select.select([child], [], [], LONGEST_S)[0] == [child]
        finally:
            os.close(child)
    # It took its port away, so it was asked and not killed.
    assert not (tmp_path / "mount").is_symlink()


def test_a_parent_that_was_gone_before_is_found_out(tmp_path: Path) -> None:
    somebody_else = "1"
    command = [sys.executable, "-m", "qnoded.demo.leashed", somebody_else, "emulate", "elliptec-ell14", "--pty"]
    late = subprocess.run([*command, str(tmp_path / "mount")], capture_output=True, timeout=LONGEST_S, check=False)
    assert late.returncode == 130
    assert late.stdout == b""
