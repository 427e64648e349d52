"""Daemons are gone as after a power cut while blocks become keys; what is delivered afterwards is the same at both."""

from __future__ import annotations

import asyncio

import pytest
from rig import rigged

from qnoded.demo import delivery
from qnoded.records import SIDES

KEY_S = 60.0
"""A block takes 1.5 s of photons, and blocks of a session that ends are lost."""
BLOCK_BITS = 25_000


@pytest.mark.slow
def test_killed_while_keys_are_made_and_no_key_differs() -> None:
    async def story() -> None:
        async with rigged(keys=True, terms={"block_bits": BLOCK_BITS}) as rig:
            for side in (*SIDES, "bob"):
                for end in SIDES:
                    await rig.until(end, lambda link: link["keys"]["blocks_distilled"] >= 2, KEY_S)
                await rig.kill(side)
                await rig.start(side)
            for end in SIDES:
                await rig.until(end, lambda link: link["keys"]["blocks_distilled"] >= 2, KEY_S)
            # Nobody asks the peer before a key is delivered.
            await rig.order("alice", "pause")
            await rig.until("bob", lambda link: link["state"] == "ABSENT", KEY_S)
            fetched = await delivery.fetch(rig.stage)
            assert fetched.equal, fetched.numbers
            assert fetched.count == 2 * delivery.KEYS_EACH
            await rig.order("alice", "resume")
            await rig.sifts()
            alice, bob = [(await rig.link(side))["keys"] for side in SIDES]
            assert alice["discarded"].keys() | bob["discarded"].keys() <= {"SESSION_ENDED"}

    asyncio.run(story())
