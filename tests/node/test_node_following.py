"""The state says SIFTING while epochs are sifted: it follows the dark within three epochs, and the light at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from qnoded.exchange.lifecycle import Event
from qnoded.exchange.reports import (
    ClockAcquired,
    ClockTracked,
    EpochDiscarded,
    EpochSifted,
    InterludePlanned,
    LockLost,
    Reason,
    ServiceMeasured,
)
from qnoded.node.following import SILENT_S, Following
from qnoded.node.standing import Standing
from qnoded.node.story import Story
from qnoded.records import SiftedEpoch
from qnoded.stages.synchronization.lock import LockLoss
from qnoded.testing import virtual_time

NONE = np.empty(0, np.uint8)


def sifted(epoch: int) -> EpochSifted:
    return EpochSifted(epoch, SiftedEpoch(NONE, NONE, "alice"), (), (1, 1), 0, 1.0, bytes(32))


def tracked(epoch: int, reason: LockLoss | None) -> ClockTracked:
    """Make the matcher's report: the clock holds, with a peak or through the dark."""
    return ClockTracked(epoch, SimpleNamespace(), SimpleNamespace(locked=True, reason=reason))


def followed(folder: Path, walk: Callable[[Following, Standing], Awaitable[None]], *, matches: bool) -> None:
    async def through() -> None:
        loop = asyncio.get_running_loop()
        standing = Standing(Story(folder, loop.time, None), lambda _level, _text: None)
        following = Following(standing, lambda _level, _text: None)
        standing.happened(Event.HEARD, "")
        following.begin(matches=matches)
        standing.happened(Event.SETTLED, "")
        await walk(following, standing)

    virtual_time.run(through())


@pytest.mark.parametrize("matches", [True, False])
def test_three_dark_epochs_end_the_sifting_and_the_next_sifted_one_begins_it(tmp_path: Path, matches: bool) -> None:
    async def walk(following: Following, standing: Standing) -> None:
        following.take(sifted(1))
        for epoch, state in ((2, "SIFTING"), (3, "SIFTING"), (4, "RELOCKING"), (5, "RELOCKING")):
            following.take(tracked(epoch, LockLoss.NO_LIGHT))
            following.take(EpochDiscarded(epoch, Reason.NO_CLICKS, "the light is gone"))
            assert standing.state.name == state
        assert standing.reason == "3 epochs in a row gave nothing: the light is gone"
        assert following.clock_held
        following.take(sifted(6))
        assert standing.state.name == "SIFTING"

    followed(tmp_path, walk, matches=matches)


def test_the_machine_and_the_controller_do_not_look_like_the_dark(tmp_path: Path) -> None:
    async def walk(following: Following, standing: Standing) -> None:
        following.take(sifted(1))
        for epoch in range(2, 12):
            following.take(EpochDiscarded(epoch, Reason.OVERLOAD if epoch % 2 else Reason.SETTLING, ""))
        assert standing.state.name == "SIFTING"

    followed(tmp_path, walk, matches=True)


def test_a_lock_that_is_lost_and_found_again(tmp_path: Path) -> None:
    async def walk(following: Following, standing: Standing) -> None:
        following.take(tracked(1, None))
        assert standing.state.name == "SIFTING"
        following.take(LockLost(2, "no peak"))
        assert (standing.state.name, standing.reason, following.clock_held) == ("RELOCKING", "no peak", False)
        for epoch in range(2, 9):
            following.take(EpochDiscarded(epoch, Reason.NO_LOCK, ""))
        following.take(ClockAcquired(9, SimpleNamespace(sentence="found"), 1.0, False))
        following.take(tracked(9, None))
        assert standing.state.name == "SIFTING"

    followed(tmp_path, walk, matches=True)


def test_silence_is_no_sifting(tmp_path: Path) -> None:
    """A tagger that gives nothing makes no epochs, not even discarded ones."""

    async def walk(following: Following, standing: Standing) -> None:
        following.take(sifted(1))
        await asyncio.sleep(SILENT_S - 0.1)
        following.look()
        assert standing.state.name == "SIFTING"
        await asyncio.sleep(0.2)
        following.look()
        assert standing.state.name == "RELOCKING"
        assert "no epoch has come to its end for 5 s" in standing.reason
        assert following.clock_held

    followed(tmp_path, walk, matches=False)


def test_an_interlude_is_shown_from_its_first_epoch_to_its_last_also_where_its_light_goes(tmp_path: Path) -> None:
    async def walk(following: Following, standing: Standing) -> None:
        states = []
        following.take(sifted(1))
        following.take(InterludePlanned(3, 4, 8, 9))
        counts = np.zeros((4, 4), np.int64)
        for epoch in range(2, 10):
            if epoch in (3, 8):
                following.take(EpochDiscarded(epoch, Reason.SETTLING, ""))
            elif epoch in (5, 6, 7):
                following.take(EpochDiscarded(epoch, Reason.NO_CLICKS, ""))
            elif epoch == 4:
                following.take(ServiceMeasured(epoch, counts, counts.copy(), 16))
            else:
                following.take(sifted(epoch))
            states.append(standing.state.name)
        assert states == ["SIFTING", *["INTERLUDE"] * 4, "RELOCKING", "RELOCKING", "SIFTING"]

    followed(tmp_path, walk, matches=False)
