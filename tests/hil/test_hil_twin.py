"""A twin hears every order to an instrument, and tells where it would have answered otherwise."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from qnoded_drivers.toptica_dlc_pro.emulator import EmulatedDlcPro
from rigs_made import rig_of

from qnoded.errors import InstrumentFault, InstrumentUnavailable
from qnoded.hil.recorder import session
from qnoded.hil.twin import Difference, Twin, differences
from qnoded.instruments.capability import Identity
from qnoded.instruments.permit import EmissionPermit
from qnoded.instruments.reading import LaserReading, Setting
from qnoded.testing.emulation import Emulation, on_tcp
from qnoded.testing.emulation.device import TOLERANCES

DRIVER = "toptica-dlc-pro"
POWER_DBM = 0.0
LEASE_S = 5.0


def real(**personality: Any) -> Emulation:
    """What stands for the real instrument: another unit of the same model."""
    return Emulation(EmulatedDlcPro("DLC_PRO_09999", firmware="3.1.0", **personality))


async def followed(unit: Emulation, folder: Path, emits: bool = False) -> Twin:
    """Hold the standard session with a unit that has a twin, and let it emit if it is to."""
    async with on_tcp(unit) as port:
        rig = rig_of(folder, DRIVER, address=f"tcp://127.0.0.1:{port}")
        twin = Twin(rig, rig.devices[DRIVER])
        device = replace(
            twin_device := rig.devices[DRIVER], binding=replace(twin_device.binding, driver_class=twin.driver)
        )
        async with twin.living():
            await session(device)
            if emits:
                laser: Any = device.binding.instrument()
                await laser.connect()
                await laser.configure()
                until_s = asyncio.get_running_loop().time() + LEASE_S
                try:
                    await laser.emit(POWER_DBM, EmissionPermit(1, until_s, POWER_DBM, "test"))
                    await laser.read()
                finally:
                    await laser.close()
        assert not any(thread.name == "twin" for thread in threading.enumerate())
        assert unit.device.light_dbm(unit.now_s) is None  # type: ignore[attr-defined] # a laser
        return twin


def test_another_unit_of_the_model_differs_in_nothing(tmp_path: Path) -> None:
    async def scenario() -> None:
        twin = await followed(real(), tmp_path, emits=True)
        assert twin.differences == []
        # Session: connect, configure, three readings, close. Light: one reading, and emit.
        assert twin.compared == 11

    asyncio.run(scenario())


def test_a_value_and_a_state_that_differ_are_told_with_their_place(tmp_path: Path) -> None:
    async def scenario() -> None:
        unit = real()
        unit.device.parameters["laser1:dl:tc:temp-act"] = 30.0  # type: ignore[attr-defined] # a laser
        unit.device.interlock_open = True  # type: ignore[attr-defined] # a laser
        twin = await followed(unit, tmp_path)
        found = {one.what: (one.real, one.twin, one.tolerance) for one in twin.differences}
        assert found == {
            "read.temperature_c": ("30", "22.013", 1.0),
            "read.interlock_closed": ("False", "True", None),
        }

    asyncio.run(scenario())


def test_a_twin_that_is_gone_keeps_no_order_from_the_real_instrument(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def gone(self: Twin, ready: threading.Event) -> None:
        self._line = asyncio.get_running_loop(), asyncio.Queue()
        ready.set()

    async def scenario() -> None:
        assert (await followed(real(), tmp_path, emits=True)).compared == 0

    monkeypatch.setattr(Twin, "_live", gone)
    asyncio.run(scenario())


def test_an_error_that_only_the_real_one_has_is_a_difference_and_no_other_harm(tmp_path: Path) -> None:
    async def scenario() -> None:
        twins: list[Twin] = []
        async with on_tcp(unit := real(clip_ma=80.0)) as port:
            rig = rig_of(tmp_path, DRIVER, address=f"tcp://127.0.0.1:{port}")
            twins.append(Twin(rig, rig.devices[DRIVER]))
            laser = twins[0].driver(rig.devices[DRIVER].binding.settings)
            async with twins[0].living():
                await laser.connect()
                with pytest.raises(InstrumentFault, match="limited to 80 mA"):
                    await laser.configure()
                await laser.close()
            assert unit.device.light_dbm(unit.now_s) is None  # type: ignore[attr-defined] # a laser
        (difference,) = twins[0].differences
        assert difference.what == "configure"
        assert difference.real.startswith("InstrumentFault: ")
        assert difference.twin == "done"

    asyncio.run(scenario())


def reading(power_dbm: float | None, at_s: float = 0.0) -> LaserReading:
    return LaserReading(True, Setting(1.0, None, power_dbm, at_s))


@pytest.mark.parametrize(
    ("one", "other", "found"),
    [
        (reading(1.0, 10.0), reading(1.49, 20.0), []),
        (reading(1.0), reading(1.51), [Difference("read.power_dbm.read_back", "1", "1.51", 0.5)]),
        (reading(1.0), reading(None), [Difference("read.power_dbm.read_back", "1.0", "None", None)]),
        (Identity("a", "b", "1", "2.0"), Identity("a", "b", "2", "3.0"), []),
        (Identity("a", "b", "1"), Identity("a", "c", "1"), [Difference("read.model", "b", "c", None)]),
        (InstrumentFault("x"), InstrumentFault("y"), []),
        (InstrumentUnavailable("x"), None, [Difference("read", "InstrumentUnavailable: x", "done", None)]),
        ((1, 2), (1, 2, 3), [Difference("read", "(1, 2)", "(1, 2, 3)", None)]),
        ((1, 2), (1, 3), [Difference("read.1", "2", "3", 1e-9)]),
        (None, None, []),
    ],
)
def test_what_differs(one: Any, other: Any, found: list[Difference]) -> None:
    assert list(differences("read", one, other, TOLERANCES)) == found
