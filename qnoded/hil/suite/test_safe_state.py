"""Everything ends dark, in time, and stays so."""

from __future__ import annotations

import asyncio

import pytest

from qnoded.errors import EmissionRefused
from qnoded.hil.matrix import Row, play
from qnoded.hil.plugin import Hil
from qnoded.instruments.permit import EmissionPermit
from qnoded.instruments.protocols import Laser

LEASE_S = 2.0
TOO_MUCH_DB = 0.5


@pytest.mark.level(4)
@pytest.mark.kinds("laser")
def test_safe_state(device: str, row: Row, hil: Hil) -> None:
    """Whatever ends the daemon or breaks the instrument: dark within the bound, and no light comes back by itself."""

    async def scenario() -> None:
        async with hil.standing(device, alone=True) as bench:
            if bench.lit is None:
                pytest.skip("nobody sees the light: a recording has none, and a real bench needs [witness]")
            if (missing := row.lacks(bench)) is not None:
                pytest.skip(missing)
            outcome = await play(row, hil.rig, bench, hil.folder, hil.ledger)
        limit = f"{outcome.bound_s:g} s from {outcome.counted_from}"
        hil.measured("time to safe", outcome.to_safe_s, "s", limit, holds=outcome.problem is None)
        assert outcome.problem is None, f"{device}, {row.name}: {outcome.problem}"

    asyncio.run(scenario())


@pytest.mark.level(3)
@pytest.mark.kinds("laser")
def test_limit(device: str, hil: Hil) -> None:
    """A laser refuses more than the bench bears, before anything is written."""
    if hil.backend == "replay":
        pytest.skip("a recording answers only what was asked")

    async def scenario() -> None:
        async with hil.standing(device) as bench:
            laser = bench.device.binding.instrument()
            assert isinstance(laser, Laser)
            try:
                await laser.connect()
                await laser.configure()
                most_dbm = bench.device.rig.max_power_dbm
                assert most_dbm is not None
                permit = EmissionPermit(1, asyncio.get_running_loop().time() + LEASE_S, most_dbm, "limit of the rig")
                with pytest.raises(EmissionRefused):
                    await laser.emit(most_dbm + TOO_MUCH_DB, permit)
                assert not (await laser.read()).emitting
            finally:
                await laser.close()

    asyncio.run(scenario())
