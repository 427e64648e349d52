"""A driver on a serial port, played by a pseudo-terminal that is unplugged and comes back under another name."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from qnoded_drivers.thorlabs_mpc320.driver import Mpc320, Mpc320Settings
from qnoded_drivers.thorlabs_mpc320.emulator import EmulatedMpc320

from qnoded.errors import InstrumentUnavailable, UsageError
from qnoded.testing.emulation import Emulation, Fault, FaultKind, on_pty
from qnoded.testing.emulation.plugging import AWAY_S

LOOK_S = 0.02
MOST_LOOKS = 500
TARGET_DEG = (20.0, 90.0, 160.0)


async def at_rest(paddles: Mpc320) -> tuple[float | None, ...]:
    for _ in range(MOST_LOOKS):
        reading = await paddles.read()
        if not reading.moving:
            return tuple(setting.read_back for setting in reading.settings_deg)
        await asyncio.sleep(LOOK_S)
    pytest.fail("the paddles do not come to rest")


def test_a_port_that_goes_and_comes_back_under_another_name(tmp_path: Path) -> None:
    async def scenario() -> None:
        emulation = Emulation(EmulatedMpc320())
        paddles = Mpc320(Mpc320Settings(address=str(tmp_path / "paddles")))
        with pytest.raises(InstrumentUnavailable, match="cannot be opened: No such file"):
            await paddles.connect()
        async with on_pty(emulation, tmp_path / "paddles") as link:
            identity = await paddles.connect()
            assert (identity.model, identity.serial) == ("MPC320", "38123456")
            await paddles.configure()
            await paddles.move(TARGET_DEG)
            assert await at_rest(paddles) == pytest.approx(TARGET_DEG, abs=0.5)
            emulation.script(Fault(FaultKind.VANISHED, 0))
            with pytest.raises(InstrumentUnavailable):
                await paddles.read()
            with pytest.raises(InstrumentUnavailable, match="the connection is lost: the port has gone"):
                await paddles.read()
            await paddles.close()
            await asyncio.sleep(AWAY_S * 1.5)
            assert link.is_symlink()
            await paddles.connect()
            await paddles.configure()
            assert await at_rest(paddles) == pytest.approx(TARGET_DEG, abs=0.5)
            await paddles.close()

    asyncio.run(scenario())


def test_one_port_has_one_owner(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with on_pty(Emulation(EmulatedMpc320()), tmp_path / "paddles") as link:
            first, second = (Mpc320(Mpc320Settings(address=str(link))) for _ in range(2))
            await first.connect()
            with pytest.raises(InstrumentUnavailable, match="another program has it open"):
                await second.connect()
            await first.close()
            await second.connect()
            await second.close()

    asyncio.run(scenario())


def test_a_file_is_not_replaced_by_a_port(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with on_pty(Emulation(EmulatedMpc320()), tmp_path / "notes.txt"):
            pass

    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match=r"notes\.txt exists and is no link"):
        asyncio.run(scenario())
    assert (tmp_path / "notes.txt").read_text() == "mine"
