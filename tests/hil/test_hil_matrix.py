"""The safe-state matrix on emulated instruments, with the real daemon and the real guard."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from rigs_made import LASERS, emitting, rig_of

from qnoded.hil.benches import Bench, standing
from qnoded.hil.guarding import read_ledger
from qnoded.hil.matrix import LOOK_WITHIN_S, MATRIX, UNSEEN_S, Looking, Outcome, Row, _looking, play
from qnoded.hil.rig import Rig
from qnoded.testing import virtual_time
from qnoded.testing.emulation import Emulation, find_device, on_pty
from qnoded.testing.emulation.light import Shines

SIGKILL = MATRIX[0]
INTERLOCKED = "toptica-dlc-pro"
SERIAL = "itla-msa"
LONGEST_S = 1.0
"""From SIGKILL to darkness, for every emitting emulator."""
AT_ONCE = 6
"""Rows that are played side by side: most of one is waiting, and its beginning is hard work."""


@dataclass(frozen=True)
class Play:
    row: Row
    driver: str
    on_serial_port: bool = False

    def __str__(self) -> str:
        return f"{self.row.name}, {self.driver}{' on a serial port' * self.on_serial_port}"


PLAYS = (
    # The longest first: those after which a daemon lives on, and is watched.
    *(Play(row, INTERLOCKED) for row in sorted(MATRIX, key=lambda row: row.kills)),
    *(Play(SIGKILL, driver) for driver in sorted(emitting() - {INTERLOCKED})),
    *(Play(row, SERIAL, True) for row in MATRIX if row.name.startswith("SIG")),
)


@asynccontextmanager
async def stage(play: Play, folder: Path) -> AsyncIterator[tuple[Rig, Bench]]:
    rig = rig_of(folder, play.driver)
    if not play.on_serial_port:
        async with standing(rig, play.driver, "emulated") as bench:
            yield rig, bench
        return
    emulation = Emulation(find_device(play.driver))

    async def lit() -> bool:
        return isinstance(emulation.device, Shines) and emulation.device.light_dbm(emulation.now_s) is not None

    async with on_pty(emulation, folder / "port") as link:
        device = rig.devices[play.driver].at(dict(LASERS[play.driver]) | {"address": str(link)})
        yield rig, Bench("emulated", device, lit, (), (emulation,))


@pytest.mark.slow
def test_dark_in_time_and_for_good(tmp_path: Path) -> None:
    async def one(play_: Play, number: int, turn: asyncio.Semaphore) -> Outcome:
        (folder := tmp_path / str(number)).mkdir()
        async with turn, stage(play_, folder) as (rig, bench):
            assert play_.row.lacks(bench) is None
            return await play(play_.row, rig, bench, folder, folder / "all.jsonl")

    async def side_by_side() -> list[Outcome]:
        turn = asyncio.Semaphore(AT_ONCE)
        return await asyncio.gather(*(one(play_, number, turn) for number, play_ in enumerate(PLAYS)))

    outcomes = dict(zip(PLAYS, asyncio.run(side_by_side()), strict=True))
    problems = {str(play_): outcome.problem for play_, outcome in outcomes.items() if outcome.problem is not None}
    assert problems == {}
    for number, (play_, outcome) in enumerate(outcomes.items()):
        if play_.row is SIGKILL:
            assert outcome.bound_s == LONGEST_S
            what = [one["what"] for one in read_ledger(tmp_path / str(number) / "all.jsonl")]
            assert what == ["watching", "ready", "ended", "safe"]


def test_an_outcome_says_what_is_wrong() -> None:
    def outcome(
        to_safe_s: float = 0.1,
        relit: int = 0,
        unseen_s: float = 0.1,
        *,
        confirmed: bool = True,
        left: str | None = None,
    ) -> str | None:
        return Outcome("row", "pump", "the signal", 1.0, to_safe_s, relit, confirmed, unseen_s, left).problem

    assert INTERLOCKED in LASERS
    assert outcome() is None
    assert outcome(1.2) == "light for 1.200 s after the signal, the bound is 1 s"
    assert outcome(relit=2) == "light came back 2 times by itself"
    assert outcome(left="after 15 s") == "the daemon lived on: after 15 s"
    assert outcome(unseen_s=2.0) == "nobody looked at the light for 2.000 s, at most 1.5 s are allowed"
    assert outcome(confirmed=False) == "it did not confirm its safe state"


async def hangs() -> bool:
    await asyncio.Event().wait()
    return False


async def breaks() -> bool:
    problem = "the meter's library"
    raise RuntimeError(problem)


async def dark() -> bool:
    return False


@pytest.mark.parametrize(
    ("then", "to_safe_s", "relit"),
    [(dark, 0.0, 0), (breaks, 3.0, 1), (hangs, 3.0, 1)],
    ids=["looks", "breaks", "hangs"],
)
def test_a_witness_that_fails_or_hangs_sees_light(
    then: Callable[[], Awaitable[bool]], to_safe_s: float, relit: int
) -> None:
    witness = [dark]

    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        async with _looking(lambda: witness[0]()) as looking:
            began_s = loop.time()
            await asyncio.sleep(0.5)
            witness[0] = then  # type: ignore[assignment] # a coroutine function as well
            await asyncio.sleep(2.5)
            seen = looking.between(began_s, loop.time())
        assert seen[0] == pytest.approx(to_safe_s, abs=LOOK_WITHIN_S + 0.3)
        assert (seen[1], seen[2] <= UNSEEN_S) == (relit, True)

    virtual_time.run(scenario())


def test_a_witness_that_ends_the_looking_fails_the_row() -> None:
    class Given(BaseException):
        pass

    async def gives_up() -> bool:
        raise Given

    async def scenario() -> None:
        async with _looking(gives_up):
            await asyncio.sleep(1.0)

    with pytest.raises(Given):
        virtual_time.run(scenario())


def test_nobody_looked() -> None:
    looking = Looking(dark)
    looking.seen = [(0.0, True), (10.0, False), (12.5, False)]
    assert looking.between(1.0, 14.0) == (0.0, 0, 9.0)
    assert looking.between(20.0, 23.0) == (0.0, 0, 3.0)
