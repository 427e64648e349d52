"""The safe-state matrix on emulated instruments, with the real daemon and the real guard: seconds each."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from rigs_made import LASERS, emitting, rig_of

from qnoded.hil.benches import Bench, standing
from qnoded.hil.guarding import read_ledger
from qnoded.hil.matrix import MATRIX, Outcome, Row, play
from qnoded.testing.emulation import Emulation, find_device, on_pty
from qnoded.testing.emulation.light import Shines

SIGKILL = MATRIX[0]
INTERLOCKED = "toptica-dlc-pro"
SERIAL = "itla-msa"
LONGEST_S = 1.0
"""From SIGKILL to darkness, for every emitting emulator."""


def played(row: Row, driver: str, tmp_path: Path) -> Outcome:
    async def scenario() -> Outcome:
        rig = rig_of(tmp_path, driver)
        async with standing(rig, driver, "emulated") as bench:
            assert row.lacks(bench) is None
            return await play(row, rig, bench, tmp_path, tmp_path / "all.jsonl")

    return asyncio.run(scenario())


@pytest.mark.slow
@pytest.mark.parametrize("driver", sorted(emitting()))
def test_dark_within_a_second_after_sigkill(driver: str, tmp_path: Path) -> None:
    outcome = played(SIGKILL, driver, tmp_path)
    assert outcome.problem is None
    assert outcome.bound_s == LONGEST_S
    what = [one["what"] for one in read_ledger(tmp_path / "all.jsonl")]
    assert what == ["watching", "ready", "ended", "safe"]


@pytest.mark.slow
@pytest.mark.parametrize("row", MATRIX[1:], ids=[row.name for row in MATRIX[1:]])
def test_dark_in_time_and_for_good(row: Row, tmp_path: Path) -> None:
    assert played(row, INTERLOCKED, tmp_path).problem is None


@pytest.mark.slow
@pytest.mark.parametrize("row", [row for row in MATRIX if row.name.startswith("SIG")], ids=lambda row: row.name)
def test_a_serial_port_is_freed_from_a_daemon_that_dies_or_hangs(row: Row, tmp_path: Path) -> None:
    async def scenario() -> Outcome:
        rig = rig_of(tmp_path, SERIAL)
        emulation = Emulation(find_device(SERIAL))

        async def lit() -> bool:
            return isinstance(emulation.device, Shines) and emulation.device.light_dbm(emulation.now_s) is not None

        async with on_pty(emulation, tmp_path / "port") as link:
            device = rig.devices[SERIAL].at(dict(LASERS[SERIAL]) | {"address": str(link)})
            bench = Bench("emulated", device, lit, (), (emulation,))
            return await play(row, rig, bench, tmp_path, tmp_path / "all.jsonl")

    assert asyncio.run(scenario()).problem is None


def test_an_outcome_says_what_is_wrong() -> None:
    def outcome(to_safe_s: float = 0.1, relit: int = 0, *, confirmed: bool = True, left: bool = False) -> str | None:
        return Outcome("row", "pump", "the signal", 1.0, to_safe_s, relit, confirmed, left).problem

    assert INTERLOCKED in LASERS
    assert outcome() is None
    assert outcome(1.2) == "light for 1.200 s after the signal, the bound is 1 s"
    assert outcome(relit=2) == "light came back 2 times by itself"
    assert outcome(left=True) == "the daemon lived on"
    assert outcome(confirmed=False) == "it did not confirm its safe state"
