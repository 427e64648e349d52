"""What a check works with: the driver under test, whose every call is timed and whose every error is judged."""

from __future__ import annotations

import asyncio
import inspect
import unittest
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

from pydantic import BaseModel

from qnoded.errors import DriverBroken, InstrumentError, QnodedError
from qnoded.instruments.protocols import DEADLINE_S, SAFE_S
from qnoded.node.driver_call import bounded
from qnoded.records import TagBlock

LOOK_S: Final = 0.05
"""Pause between two looks at an instrument that is to change by itself."""
ENDINGS: Final = ("make_safe", "close")
"""Calls that must work in every state, and raise in none."""


class Broken(AssertionError):
    """The driver broke a rule."""


class NotApplicable(unittest.SkipTest):
    """The rule cannot be checked here; test runners show it as skipped."""


@dataclass(frozen=True, slots=True)
class Bench:
    """What the driver is tested against."""

    settings: BaseModel
    """Of the driver; its ``Settings``, checked."""
    cut: Callable[[], Awaitable[None]] | None = None
    """Breaks the connection to the instrument, as a pulled cable does; None: cannot be done here."""
    restore: Callable[[], Awaitable[None]] | None = None
    """Undoes it."""


class Probe:
    """A driver's object with the same methods; they raise ``Broken`` when the call itself breaks the rules."""

    def __init__(self, instrument: Any) -> None:
        self.instrument = instrument

    def __getattr__(self, name: str) -> Any:
        member = getattr(self.instrument, name)
        if not inspect.iscoroutinefunction(member):
            return member

        async def call(*values: Any) -> Any:
            limit_s = SAFE_S if name in ENDINGS else DEADLINE_S
            loop = asyncio.get_running_loop()
            began_s = loop.time()
            try:
                return await bounded(member(*values), name, limit_s)
            except DriverBroken as error:
                raise Broken(str(error)) from error
            except QnodedError as error:
                late = loop.time() - began_s >= limit_s
                demand(not late, f"{name} took longer than {limit_s:g} s")
                demand(name not in ENDINGS, f"{name} raised {type(error).__name__}: {error}; it must never raise")
                raise

        return call


@dataclass(slots=True)
class Subject:
    """The driver under test and everything that one check has made of it."""

    driver: type[Any]
    bench: Bench
    probes: list[Probe] = field(default_factory=list)
    streams: list[AsyncIterator[TagBlock]] = field(default_factory=list)

    def make(self) -> Any:
        """Return a new driver object, not yet connected, as a ``Probe``."""
        self.probes.append(Probe(self.driver(self.bench.settings)))
        return self.probes[-1]

    async def connected(self) -> Any:
        """Return a driver object that has just been connected."""
        probe = self.make()
        await probe.connect()
        return probe

    async def ready(self) -> Any:
        """Return a driver object as the node would use it."""
        probe = await self.connected()
        await probe.configure()
        return probe

    async def cut(self) -> None:
        """Break the connection."""
        if self.bench.cut is None or self.bench.restore is None:
            reason = "the bench has no cut and restore"
            raise NotApplicable(reason)
        await self.bench.cut()

    async def restore(self) -> None:
        """Let it be made again."""
        assert self.bench.restore is not None
        await self.bench.restore()

    async def close(self) -> None:
        """Close whatever the check has made."""
        for stream in self.streams:
            if isinstance(stream, AsyncGenerator):
                with suppress(InstrumentError):
                    await stream.aclose()
        for probe in self.probes:
            await probe.close()


def demand(holds: bool, problem: str) -> None:
    """Raise ``Broken`` with the problem unless it ``holds``."""
    if not holds:
        raise Broken(problem)


async def refused(call: Awaitable[Any], errors: tuple[type[QnodedError], ...], what: str) -> None:
    """Demand that a call raises one of the errors."""
    wanted = " or ".join(error.__name__ for error in errors)
    try:
        await call
    except errors:
        return
    except QnodedError as error:
        problem = f"{what} raised {type(error).__name__} ({error}); it must raise {wanted}"
        raise Broken(problem) from error
    problem = f"{what} was accepted; it must raise {wanted}"
    raise Broken(problem)


async def comes(condition: Callable[[], Awaitable[bool]], limit_s: float, problem: str) -> None:
    """Demand that a condition comes true in time."""
    loop = asyncio.get_running_loop()
    until_s = loop.time() + limit_s
    while not await condition():
        demand(loop.time() < until_s, f"{problem} (waited {limit_s:g} s)")
        await asyncio.sleep(LOOK_S)
