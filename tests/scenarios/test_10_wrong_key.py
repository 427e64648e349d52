"""Bob comes back with another key than the one that alice was given."""

from __future__ import annotations

import asyncio

import pytest
from rig import SIDES, rigged

from qnoded.node.curve import make_keys


@pytest.mark.slow
def test_wrong_key_is_refused_and_counted_until_the_right_one_returns() -> None:
    async def story() -> None:
        async with rigged() as rig:
            await rig.sifts()
            await rig.stop("bob")
            stranger, own = rig.stage.folder / "stranger", rig.stage.folder / "keys"
            make_keys(stranger, "bob")
            rig.edit("bob", secret_key=str(stranger / "bob.key_secret"))
            await rig.start("bob")
            for side in SIDES:
                link = await rig.until(side, lambda link: link["refused_keys"] >= 2, within_s=20)
                assert link["state"] == "REFUSED"
                assert "because of their key" in link["reason"]
                assert ".key" in link["advice"]
                assert link["session"] is None
            await rig.stop("bob")
            rig.edit("bob", secret_key=str(own / "bob.key_secret"))
            await rig.start("bob")
            await rig.sifts(within_s=10)

    asyncio.run(story())
