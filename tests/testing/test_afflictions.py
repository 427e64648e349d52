"""What can befall an emulated instrument besides its messages, and that it cannot befall one that has no such thing."""

from __future__ import annotations

import asyncio

import pytest
from qnoded_drivers.itla_msa.codec import Register, read
from qnoded_drivers.itla_msa.emulator import EmulatedItla
from qnoded_drivers.koheron_ctl.emulator import EmulatedKoheronCtl
from qnoded_drivers.s15_spdc.emulator import EmulatedS15Spdc
from qnoded_drivers.s15_tdc1.emulator import EmulatedTdc1
from qnoded_drivers.thorlabs_cld101x.emulator import EmulatedCld101x
from qnoded_drivers.thorlabs_mpc320.emulator import EmulatedMpc320
from qnoded_drivers.toptica_dlc_pro.emulator import EmulatedDlcPro

from qnoded.cli import main
from qnoded.errors import UsageError
from qnoded.testing import virtual_time
from qnoded.testing.emulation import Device, Emulation, Fault, FaultKind, can_befall
from qnoded.testing.emulation.afflictions import NEEDS, Interlocked, Overheats
from qnoded.testing.emulation.plugging import Wire

OWN = {
    EmulatedDlcPro: {FaultKind.INTERLOCK_OPEN, FaultKind.CLIPPED},
    EmulatedCld101x: {FaultKind.INTERLOCK_OPEN, FaultKind.OVER_TEMPERATURE, FaultKind.CLIPPED},
    EmulatedKoheronCtl: {FaultKind.INTERLOCK_OPEN, FaultKind.OVER_TEMPERATURE, FaultKind.CLIPPED},
    EmulatedS15Spdc: {FaultKind.CLIPPED},
    EmulatedItla: {FaultKind.OVER_TEMPERATURE, FaultKind.WRONG_CHECKSUM},
    EmulatedTdc1: {FaultKind.FIFO_OVERFLOW},
    EmulatedMpc320: set[FaultKind](),
}
ASKED_TWICE = 2


@pytest.mark.parametrize("kind", OWN)
def test_each_has_what_its_model_has(kind: type[Device]) -> None:
    device = kind()
    device.switch_on(0.0)
    assert {fault for fault in NEEDS if can_befall(fault, device)} == OWN[kind]
    assert all(can_befall(fault, device) for fault in FaultKind if fault not in NEEDS)


def said_of(device: Device, fault: Fault, question: bytes) -> tuple[Emulation, list[bytes]]:
    """Ask twice, with a fault in the script; return what was sent."""
    sent: list[bytes] = []

    async def scenario() -> Emulation:
        emulation = Emulation(device)
        emulation.script(fault)
        emulation.plug(Wire(sent.append, lambda: None))
        for _ in range(ASKED_TWICE):
            emulation.hear(question)
            await asyncio.sleep(0.1)
        return emulation

    return virtual_time.run(scenario()), sent


def test_a_wrong_checksum_spoils_nothing_else() -> None:
    _, (wrong, right) = said_of(EmulatedItla(), Fault(FaultKind.WRONG_CHECKSUM, 0), read(Register.POWER_SET))
    assert wrong[1:] == right[1:]
    assert wrong[0] ^ right[0] == 0x10


@pytest.mark.parametrize("kind", [EmulatedCld101x, EmulatedKoheronCtl, EmulatedDlcPro])
def test_an_interlock_stays_open_until_a_person_comes(kind: type[Device]) -> None:
    emulation, _ = said_of(kind(), Fault(FaultKind.INTERLOCK_OPEN, 0), b"*IDN?\n")
    device = emulation.device
    assert isinstance(device, Interlocked)
    assert device.interlock_open
    assert emulation.afflicted
    emulation.power_cycle()
    assert not device.interlock_open
    assert not emulation.afflicted


def test_too_hot_it_says_so() -> None:
    emulation, _ = said_of(EmulatedItla(), Fault(FaultKind.OVER_TEMPERATURE, 0), read(Register.TEMPERATURE))
    assert isinstance(emulation.device, Overheats)
    assert emulation.device.too_hot
    emulation.power_cycle()
    assert not emulation.device.too_hot


def test_a_limit_that_was_lowered_clips() -> None:
    device = EmulatedDlcPro(clip_ma=200.0)
    device.switch_on(0.0)
    device.parameters["laser1:dl:cc:current-set"] = 150.0
    device.clip()
    assert device.parameters["laser1:dl:cc:current-set"] == pytest.approx(110.0)


def test_what_it_cannot_have_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    async def scenario() -> None:
        with pytest.raises(UsageError, match=r"interlock-open@3 cannot befall this instrument; it can have lost, "):
            Emulation(EmulatedMpc320()).script(Fault(FaultKind.INTERLOCK_OPEN, 3))

    virtual_time.run(scenario())
    assert main(["emulate", "thorlabs-mpc320", "--tcp", "127.0.0.1:0", "--fault", "fifo-overflow@3"]) == 2
    assert "fifo-overflow@3 cannot befall this instrument" in capsys.readouterr().err
