"""Virtual time: alarms ring in order and at once, threads hold the clock, and what hangs is told."""

from __future__ import annotations

import asyncio
import threading

import pytest

from qnoded.testing import virtual_time

HOUR_S = 3600.0


def test_an_hour_passes_at_once_and_in_order() -> None:
    async def main() -> tuple[list[str], float]:
        rung: list[str] = []

        async def ring(name: str, after_s: float) -> None:
            await asyncio.sleep(after_s)
            rung.append(name)

        await asyncio.gather(ring("late", HOUR_S), ring("early", 1.0), ring("middle", 60.0))
        return rung, asyncio.get_running_loop().time()

    rung, now_s = virtual_time.run(main())
    assert rung == ["early", "middle", "late"]
    assert now_s == pytest.approx(HOUR_S)


def test_a_time_out_rings() -> None:
    async def main() -> None:
        async with asyncio.timeout(HOUR_S):
            await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        virtual_time.run(main())


def test_time_stands_still_while_a_thread_works() -> None:
    async def main() -> tuple[str, float]:
        released = threading.Event()
        asyncio.get_running_loop().call_later(0.0, released.set)
        async with asyncio.timeout(1e-3):
            word = await asyncio.to_thread(lambda: "done" if released.wait(10.0) else "late")
        return word, asyncio.get_running_loop().time()

    assert virtual_time.run(main()) == ("done", 0.0)


def test_a_task_left_behind_is_told() -> None:
    async def main() -> None:
        asyncio.get_running_loop().create_task(asyncio.sleep(HOUR_S), name="forgotten")

    with pytest.raises(RuntimeError, match="forgotten"):
        virtual_time.run(main())


def test_waiting_for_nothing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(virtual_time, "STUCK_S", 0.01)

    async def main() -> None:
        await asyncio.Event().wait()

    with pytest.raises(RuntimeError, match="stuck"):
        virtual_time.run(main())
