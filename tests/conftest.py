"""What every test may rely on: recordings of real instruments, and no task or thread left behind."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# Compiling a kernel inside an example would look like a slow example; seeds are fixed so that a run repeats.
settings.register_profile("qnoded", deadline=None, derandomize=True)
settings.load_profile("qnoded")

ENDING_S = 1.0
"""A thread that was told to end may be in its last step when the test is over."""

RECORDINGS = Path(os.environ.get("QNODED_RECORDINGS", Path(__file__).parents[2] / "shared" / "data"))


@pytest.fixture(scope="session")
def recordings() -> Path:
    """Folder with recordings of real instruments, or skip: they are not part of the project."""
    if not RECORDINGS.is_dir():
        pytest.skip(f"no recordings of real instruments in {RECORDINGS}; name the folder in QNODED_RECORDINGS")
    return RECORDINGS


@pytest.fixture(autouse=True)
def nothing_left_behind(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fail a test that leaves a running thread or an unfinished asyncio task."""
    loops: list[asyncio.AbstractEventLoop] = []
    make_loop = asyncio.DefaultEventLoopPolicy.new_event_loop

    def remembered(policy: asyncio.DefaultEventLoopPolicy) -> asyncio.AbstractEventLoop:
        loops.append(make_loop(policy))
        return loops[-1]

    monkeypatch.setattr(asyncio.DefaultEventLoopPolicy, "new_event_loop", remembered)
    threads_before = set(threading.enumerate())
    yield
    left = [thread for thread in threading.enumerate() if thread not in threads_before]
    for thread in left:
        thread.join(ENDING_S)
    left = [thread for thread in left if thread.is_alive()]
    assert not left, f"the test left threads running: {left}"
    tasks = [task for loop in loops for task in asyncio.all_tasks(loop)]
    assert not tasks, f"the test left asyncio tasks unfinished: {tasks}"
