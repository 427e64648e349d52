"""Rules about cables: what a driver does when the instrument goes away and comes back."""

from __future__ import annotations

from typing import Final

from qnoded.errors import InstrumentUnavailable
from qnoded.testing.contract.kind import Check, judge_safe
from qnoded.testing.contract.kinds import kind_under_test
from qnoded.testing.contract.subject import Subject, refused


async def nobody_there_is_told(subject: Subject) -> None:
    """Raise InstrumentUnavailable when connecting to what is not there, and close all the same."""
    await subject.cut()
    probe = subject.make()
    await refused(probe.connect(), (InstrumentUnavailable,), "connect with nobody there")
    await probe.make_safe()
    await probe.close()
    await subject.restore()


async def a_lost_connection_stays_lost_until_connect(subject: Subject) -> None:
    """Raise InstrumentUnavailable after a loss until connect is called, which makes it work again, safe."""
    kind = kind_under_test(subject)
    probe = await subject.ready()
    await kind.work(subject, probe)
    await subject.cut()
    await refused(probe.read(), (InstrumentUnavailable,), "read after the loss")
    await refused(probe.read(), (InstrumentUnavailable,), "the second read after the loss")
    await subject.restore()
    await refused(probe.read(), (InstrumentUnavailable,), "read after the cable came back, without connect")
    await probe.connect()
    await probe.configure()
    await judge_safe(kind, probe, "connected again after a loss")
    await kind.work(subject, probe)


async def a_lost_instrument_is_closed_quietly(subject: Subject) -> None:
    """End make_safe and close in time, and raise nothing, when the instrument is gone."""
    kind = kind_under_test(subject)
    probe = await subject.ready()
    await kind.work(subject, probe)
    await subject.cut()
    await probe.make_safe()
    await probe.close()
    await subject.restore()


CHECKS: Final[tuple[Check, ...]] = (
    nobody_there_is_told,
    a_lost_connection_stays_lost_until_connect,
    a_lost_instrument_is_closed_quietly,
)
