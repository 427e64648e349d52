"""An eavesdropper measures every photon on its way to bob and sends another in its place."""

from __future__ import annotations

import asyncio

import pytest
from rig import rigged

from qnoded.demo.verdict import Expected, chsh_check

LARGEST_LOCAL_S = 2.0


@pytest.mark.slow
def test_intercept_resend_shows_as_a_quarter_of_errors_and_no_bell_violation() -> None:
    async def story() -> None:
        async with rigged() as rig:
            await rig.sifts()
            await rig.happens("intercept_resend", share=1.0)
            await rig.agrees_with_theory()
            await rig.order("alice", "interlude")
            await rig.until("alice", lambda link: link["state"] == "INTERLUDE", within_s=10)
            expected = Expected()
            for side in ("alice", "bob"):
                link = await rig.until(side, lambda link: link["state"] == "SIFTING", within_s=15)
                expected.chsh.append(abs((await rig.truth())["present"]["chsh_largest"]))
                assert abs(link["chsh"]["s"]) - 4.0 * link["chsh"]["sigma"] <= LARGEST_LOCAL_S
                assert 0.2 < link["qber"]["total"]["value"] < 0.3
                assert "eavesdropper" in link["advice"]
            for check in chsh_check(link["chsh"], expected):
                assert check.holds, check.numbers

    asyncio.run(story())
