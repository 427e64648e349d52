"""SIGKILL at random moments at both ends: no key differs, none is delivered twice, no authentication key used again."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import keys_killed
import pytest


def killed(folder: Path, seed: int, kills: int) -> None:
    """Kill in a process of its own, which forks; each kill loses at most the block that was open at that moment."""
    command = [sys.executable, keys_killed.__file__, str(folder), str(seed), str(kills)]
    subprocess.run(command, check=True, timeout=10 * kills)
    found = keys_killed.compare(folder)
    assert found.mismatched == []
    assert found.delivered_twice == []
    assert found.tag_keys_reused == 0
    assert found.blocks_that_differ == 0
    assert found.blocks_lost <= 2 * kills
    assert found.blocks > kills / 4
    assert found.keys > kills
    assert found.seals > kills


def test_50_kills(tmp_path: Path) -> None:
    killed(tmp_path, seed=1, kills=50)


@pytest.mark.slow
@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_1000_kills(tmp_path: Path) -> None:
    killed(tmp_path, seed=2, kills=1000)
