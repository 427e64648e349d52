"""Bob's clock jumps by a millisecond, forth and back."""

from __future__ import annotations

import asyncio

import pytest
from rig import rigged

STEP_PS = 1_000_000_000
EPOCHS_TO_NOTICE = 3


@pytest.mark.slow
def test_clock_step_is_noticed_within_three_epochs_and_found_again() -> None:
    async def story() -> None:
        async with rigged() as rig:
            for step_ps in (STEP_PS, -STEP_PS):
                await rig.sifts()
                before = await rig.link("alice")
                lost = before["discards"].get("LOCK_LOST", 0)
                await rig.happens("clock_step", side="bob", step_ps=step_ps)
                await rig.until(
                    "alice", lambda link, lost=lost: link["discards"].get("LOCK_LOST", 0) > lost, within_s=5
                )
                await rig.sifts(within_s=10)
                after = await rig.link("alice")
                assert after["session"] == before["session"]
                assert after["discards"]["LOCK_LOST"] <= lost + EPOCHS_TO_NOTICE
                # Alice matches: hers minus bob's.
                assert abs(after["clock"]["offset_ps"] - before["clock"]["offset_ps"] + step_ps) < STEP_PS // 10
            await rig.agrees_with_theory()

    asyncio.run(story())
