"""Rules of all instruments."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any, Final

from qnoded.errors import InstrumentError, InstrumentUnavailable
from qnoded.instruments.capability import Identity
from qnoded.instruments.fitting import misfits
from qnoded.instruments.reading import Setting
from qnoded.testing.contract.kind import Check, Kind, judge_safe
from qnoded.testing.contract.kinds import kind_under_test
from qnoded.testing.contract.subject import LOOK_S, Subject, demand, refused

AT_ONCE: Final = 5
"""Readings that are asked for side by side: the node's poll, a display, a consumer and some more."""


async def fits_its_protocol(subject: Subject) -> None:
    """Have all members of the kind, with their parameters, and settings that forbid unknown keys."""
    lacks = misfits(subject.driver)
    demand(not lacks, "; ".join(lacks))


async def making_touches_nothing(subject: Subject) -> None:
    """Open nothing before connect: refuse every question, and let make_safe and close find nothing to do."""
    before = asyncio.all_tasks()
    probe = subject.make()
    demand(asyncio.all_tasks() == before, "__init__ has started a task")
    await refused(probe.read(), (InstrumentUnavailable,), "read before connect")
    await probe.make_safe()
    await probe.close()


async def connect_tells_who_is_there(subject: Subject) -> None:
    """Give maker, model and serial number, the same each time."""
    told = []
    for _ in range(2):
        probe = subject.make()
        identity = await probe.connect()
        await probe.close()
        demand(isinstance(identity, Identity), f"connect returned {identity!r}, no Identity")
        for name in ("maker", "model", "serial"):
            text = getattr(identity, name)
            demand(isinstance(text, str) and text.strip() == text != "", f"{name} is {text!r}")
        told.append(identity)
    demand(told[0] == told[1], f"the same instrument said {told[0]}, then {told[1]}")


async def capability_makes_sense(subject: Subject) -> None:
    """Give a capability of this kind, in its units, final once connect has returned."""
    kind = kind_under_test(subject)
    probe = await subject.connected()
    first = probe.capability
    demand(isinstance(first, kind.capability), f"capability is {first!r}, no {kind.capability.__name__}")
    kind.judge_capability(first)
    await probe.configure()
    demand(probe.capability == first, f"capability was {first} after connect, is {probe.capability} after configure")


async def reading_makes_sense(subject: Subject) -> None:
    """Give readings of this kind, in their units, within the capability."""
    probe = await subject.ready()
    await _judge_reading(kind_under_test(subject), probe)


async def reading_is_fresh(subject: Subject) -> None:
    """Ask the instrument at each read, and date what it shows by the event loop's clock."""
    probe = await subject.ready()
    await probe.read()
    await asyncio.sleep(LOOK_S)
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    for setting in _settings(await probe.read()):
        read_s = setting.read_loop_s
        fresh = read_s is None or began_s <= read_s <= loop.time()
        demand(fresh, f"asked at {began_s:.3f} s, answered with what was read at {read_s} s of loop.time()")


async def configured_is_safe(subject: Subject) -> None:
    """Leave the instrument safe after connect and configure, also if it was at work just before."""
    kind = kind_under_test(subject)
    probe = await subject.ready()
    await judge_safe(kind, probe, "after configure")
    await kind.work(subject, probe)
    await probe.configure()
    await judge_safe(kind, probe, "after configure of an instrument at work")


async def make_safe_works_from_any_state(subject: Subject) -> None:
    """Make the instrument safe when it is connected, configured and at work, once and twice."""
    kind = kind_under_test(subject)
    probe = await subject.connected()
    await probe.make_safe()
    await judge_safe(kind, probe, "after make_safe of a connected instrument")
    await probe.configure()
    await probe.make_safe()
    await judge_safe(kind, probe, "after make_safe of a configured instrument")
    await kind.work(subject, probe)
    await probe.make_safe()
    await probe.make_safe()
    await judge_safe(kind, probe, "after make_safe of an instrument at work")


async def closed_is_safe_and_over(subject: Subject) -> None:
    """Leave the instrument safe at close, let it be repeated, and refuse every question afterwards."""
    kind = kind_under_test(subject)
    probe = await subject.ready()
    await kind.work(subject, probe)
    await probe.close()
    await probe.close()
    await probe.make_safe()
    await refused(probe.read(), (InstrumentUnavailable,), "read after close")
    again = await subject.connected()
    await judge_safe(kind, again, "connected again after close")


async def a_closed_driver_connects_again(subject: Subject) -> None:
    """Let the same object be connected again, safe and working."""
    kind = kind_under_test(subject)
    probe = await subject.ready()
    await kind.work(subject, probe)
    await probe.close()
    await probe.connect()
    await probe.configure()
    await judge_safe(kind, probe, "after close, connect and configure")
    await kind.work(subject, probe)


async def a_cancelled_call_does_no_harm(subject: Subject) -> None:
    """Give the question after a cancelled one its own answer, or say that connect is needed."""
    kind = kind_under_test(subject)
    probe = await subject.ready()
    for turns in range(AT_ONCE):
        question = asyncio.create_task(probe.read())
        for _ in range(turns):
            await asyncio.sleep(0)
        question.cancel()
        await asyncio.wait({question})
        try:
            await _judge_reading(kind, probe)
        except InstrumentUnavailable:
            await probe.connect()
            await probe.configure()
            await _judge_reading(kind, probe)


async def questions_side_by_side_get_their_own_answers(subject: Subject) -> None:
    """Serve several callers at once one after the other, and make_safe among them."""
    kind = kind_under_test(subject)
    probe = await subject.ready()
    await kind.work(subject, probe)
    readings = [asyncio.create_task(probe.read()) for _ in range(AT_ONCE)]
    await probe.make_safe()
    for reading in await asyncio.gather(*readings, return_exceptions=True):
        if isinstance(reading, InstrumentError):
            continue
        if isinstance(reading, BaseException):
            raise reading
        kind.judge_reading(reading, probe.capability)
    await judge_safe(kind, probe, "after make_safe among other calls")


async def close_ends_calls_in_flight(subject: Subject) -> None:
    """End a question that is on its way when close comes, and leave nothing behind."""
    probe = await subject.ready()
    question = asyncio.create_task(probe.read())
    await asyncio.sleep(0)
    await probe.close()
    await asyncio.wait({question})
    error = question.exception()
    if error is not None and not isinstance(error, InstrumentError):
        raise error


async def _judge_reading(kind: Kind, probe: Any) -> None:
    reading = await probe.read()
    one_of = reading if isinstance(reading, tuple) else (reading,)
    for each in one_of:
        demand(isinstance(each, kind.reading), f"read returned {each!r}, no {kind.reading.__name__}")
    kind.judge_reading(reading, probe.capability)


def _settings(reading: Any) -> Iterator[Setting]:
    """Yield every setting that a reading contains."""
    if isinstance(reading, Setting):
        yield reading
    elif isinstance(reading, tuple):
        for each in reading:
            yield from _settings(each)
    elif is_dataclass(reading):
        for each in fields(reading):
            yield from _settings(getattr(reading, each.name))


CHECKS: Final[tuple[Check, ...]] = (
    fits_its_protocol,
    making_touches_nothing,
    connect_tells_who_is_there,
    capability_makes_sense,
    reading_makes_sense,
    reading_is_fresh,
    configured_is_safe,
    make_safe_works_from_any_state,
    closed_is_safe_and_over,
    a_closed_driver_connects_again,
    a_cancelled_call_does_no_harm,
    questions_side_by_side_get_their_own_answers,
    close_ends_calls_in_flight,
)
