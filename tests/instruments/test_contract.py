"""The contract suite itself: honest drivers pass it, and a driver that breaks a rule fails the check of that rule."""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import chain
from typing import Any

import pytest
from honest_drivers import (
    Honest,
    HonestAttenuator,
    HonestController,
    HonestLaser,
    HonestMeter,
    HonestOven,
    HonestSettings,
    HonestSupply,
    HonestSwitch,
    HonestTagger,
    Rack,
    now_s,
)

from qnoded.errors import InstrumentGarbled, InstrumentUnavailable
from qnoded.instruments.capability import Identity
from qnoded.instruments.reading import AttenuatorReading, PolarizationReading, PowerReading, Setting
from qnoded.records import TagBlock
from qnoded.testing import contract, virtual_time

HONEST = (
    HonestMeter,
    HonestLaser,
    HonestController,
    HonestAttenuator,
    HonestSwitch,
    HonestSupply,
    HonestOven,
    HonestTagger,
)
CASES = list(chain.from_iterable([(driver, check) for check in contract.checks(driver)] for driver in HONEST))


@asynccontextmanager
async def bench() -> AsyncIterator[contract.Bench]:
    rack = Rack()
    yield contract.Bench(HonestSettings(rack=rack), rack.cut, rack.restore)


@pytest.mark.parametrize(
    ("driver", "check"), CASES, ids=[f"{driver.__name__}-{contract.name(check)}" for driver, check in CASES]
)
def test_honest_drivers_pass(driver: type[Honest], check: contract.Check) -> None:
    contract.verify(check, driver, bench, virtual_time.run)


def test_without_a_cable_to_pull_a_rule_is_skipped_not_passed() -> None:
    check = {contract.name(one): one for one in contract.checks(HonestMeter)}["a_lost_instrument_is_closed_quietly"]
    with pytest.raises(contract.NotApplicable, match="no cut and restore"):
        contract.verify(check, HonestMeter, contract.standing(HonestSettings(rack=Rack())), virtual_time.run)


async def _nothing(*_: object) -> None: ...


async def _for_ever(*_: object) -> None:
    await asyncio.Event().wait()


async def _raises(*_: object) -> None:
    message = "the cable is out"
    raise InstrumentUnavailable(message)


class NeedsNoConnection(HonestMeter):
    async def read(self) -> Any:
        return PowerReading(-50.0, 1550.0)


class WithoutSerial(HonestMeter):
    async def connect(self) -> Identity:
        return replace(await super().connect(), serial=" ")


class ReadsAnotherKind(HonestAttenuator):
    async def read(self) -> Any:
        await self._alive()
        return PowerReading(-50.0, 1550.0)


class ReadsInMilliwatts(HonestLaser):
    async def read(self) -> Any:
        reading = await super().read()
        return replace(reading, power_dbm=Setting(None, None, 10.0**2.5, now_s()))


class ReadsFromMemory(HonestAttenuator):
    remembered: AttenuatorReading | None = None

    async def read(self) -> Any:
        self.remembered = self.remembered or await super().read()
        return self.remembered


class ChangesItsMind(HonestAttenuator):
    async def configure(self) -> None:
        await super().configure()
        self.capability = replace(self.capability, max_db=61.0)


class StaysConnected(HonestAttenuator):
    async def close(self) -> None:
        await self.make_safe()


class StaysLitWhenClosed(HonestLaser):
    async def close(self) -> None:
        self._session = None


class ClosesForGood(HonestAttenuator):
    over = False

    async def connect(self) -> Identity:
        if self.over:
            message = "make a new object"
            raise InstrumentUnavailable(message)
        return await super().connect()

    async def close(self) -> None:
        await super().close()
        self.over = True


class OffByOneAfterCancel(HonestMeter):
    """Takes the answer to a question that was cancelled for that to the next one."""

    behind = False

    async def read(self) -> Any:
        if self.behind:
            return None
        try:
            return await super().read()
        except asyncio.CancelledError:
            self.behind = True
            raise


class OneAtATime(HonestMeter):
    busy = False

    async def read(self) -> Any:
        assert not self.busy, "somebody else is talking"
        self.busy = True
        try:
            return await super().read()
        finally:
            self.busy = False


class TripsOverClose(HonestMeter):
    async def read(self) -> Any:
        await asyncio.sleep(0.1)
        assert self._session is not None
        return await super().read()


class LeavesTask(HonestMeter):
    async def connect(self) -> Identity:
        self.left = asyncio.create_task(_for_ever())
        return await super().connect()


class ReconnectsByItself(HonestAttenuator):
    async def _alive(self) -> None:
        if not self.rack.whole:
            await _raises()
        if self._session is not None:
            self._session = self.rack.cuts
        await super()._alive()


class GarbledWhenGone(HonestMeter):
    async def _alive(self) -> None:
        if not self.rack.whole:
            message = "half an answer"
            raise InstrumentGarbled(message)
        await super()._alive()


class AnyonePresent(HonestMeter):
    async def connect(self) -> Identity:
        self._session = self.rack.cuts
        return Identity("Honest", "Meter", "7")


class TrustsEveryPermit(HonestLaser):
    async def emit(self, power_dbm: float, permit: Any) -> None:
        await super().emit(power_dbm, replace(permit, expires_loop_s=math.inf))


class TrustsEveryPower(HonestLaser):
    async def emit(self, power_dbm: float, permit: Any) -> None:
        await super().emit(power_dbm, replace(permit, max_power_dbm=math.inf))


class EmitsThenChecks(HonestLaser):
    async def emit(self, power_dbm: float, permit: Any) -> None:
        await self._alive()
        self.rack.state["until_s"] = self._until_s(permit)
        await super().emit(power_dbm, permit)


class ClipsPower(HonestLaser):
    async def emit(self, power_dbm: float, permit: Any) -> None:
        await super().emit(min(power_dbm, self.capability.max_power_dbm), permit)


class EmitsHalf(HonestLaser):
    async def emit(self, power_dbm: float, permit: Any) -> None:
        await super().emit(power_dbm, permit)
        self.rack.state["power"] = power_dbm - 3.0


class NeverLapses(HonestLaser):
    def _until_s(self, permit: Any) -> float:
        return math.inf


class TrustsLongPermits(HonestLaser):
    def _until_s(self, permit: Any) -> float:
        return float(permit.expires_loop_s)


class ForgetsRenewals(HonestLaser):
    async def renew(self, permit: Any) -> None:
        permit.check(-math.inf, now_s())


class RenewsWithAnything(HonestLaser):
    async def renew(self, permit: Any) -> None:
        await super().renew(replace(permit, expires_loop_s=now_s() + 1.0))


class RenewsIntoLight(HonestLaser):
    async def renew(self, permit: Any) -> None:
        await self._alive()
        self.rack.state["until_s"] = self._until_s(permit)


class MovesShort(HonestController):
    async def move(self, settings_deg: tuple[float, ...]) -> None:
        await super().move(settings_deg)
        self.rack.state["angles"] = tuple(angle - 5.0 for angle in settings_deg)


class NeverRests(HonestController):
    async def read(self) -> Any:
        return PolarizationReading(True, (await super().read()).settings_deg)


class MovesAnywhere(HonestController):
    async def move(self, settings_deg: tuple[float, ...]) -> None:
        await self._alive()
        self.rack.state |= {"rests_s": now_s(), "angles": settings_deg, "requested": settings_deg}


class ClipsLoss(HonestAttenuator):
    async def attenuate(self, attenuation_db: float) -> None:
        await super().attenuate(min(max(attenuation_db, self.capability.min_db), self.capability.max_db))


class HeatsInKelvin(HonestOven):
    async def read(self) -> Any:
        reading = await super().read()
        shown = replace(reading.temperature_c, accepted=reading.temperature_c.accepted + 273.15)
        return replace(reading, temperature_c=shown)


class HeatsOn(HonestOven):
    async def heat(self, target_c: float | None) -> None:
        await super().heat(35.0 if target_c is None else target_c)


class ClipsHeat(HonestOven):
    async def heat(self, target_c: float | None) -> None:
        await super().heat(None if target_c is None else min(max(target_c, 20.0), 80.0))


class LeadsAstray(HonestSwitch):
    async def route(self, source: int, output: int | None) -> None:
        await super().route(source, None if output == 2 else output)


class LeadsAnywhere(HonestSwitch):
    async def route(self, source: int, output: int | None) -> None:
        await super().route(source % 2, output)


class BiasesAll(HonestSupply):
    async def enable(self, channel: int, bias: float) -> None:
        for one in self.capability.channels:
            await super().enable(one, bias)


class BiasesMore(HonestSupply):
    async def enable(self, channel: int, bias: float) -> None:
        await super().enable(channel, min(bias, 20.0))


class Disordered(HonestTagger):
    def _block(self, begin_ps: int, gaps: Any) -> TagBlock:
        block = super()._block(begin_ps, gaps)
        return TagBlock(block.channel, block.tag_ps[::-1].copy(), gaps)


class StrangeInputs(HonestTagger):
    def _block(self, begin_ps: int, gaps: Any) -> TagBlock:
        block = super()._block(begin_ps, gaps)
        return TagBlock(block.channel + 4, block.tag_ps.copy(), gaps)


class StreamsFromNowhere(HonestTagger):
    async def stream(self) -> AsyncIterator[TagBlock]:
        yield self._block(0, ())


class StreamsOn(HonestTagger):
    def _end(self) -> None: ...


class EndsLoudly(HonestTagger):
    async def stream(self) -> AsyncIterator[TagBlock]:
        async for block in super().stream():
            yield block
        message = "stopped"
        raise InstrumentUnavailable(message)


class KeepsEverything(HonestTagger):
    def _kept_ps(self) -> int:
        return 10**15


class DropsInSilence(HonestTagger):
    def _block(self, begin_ps: int, gaps: Any) -> TagBlock:
        return super()._block(begin_ps, ())


class StreamsOnce(HonestTagger):
    async def stream(self) -> AsyncIterator[TagBlock]:
        if self._stop is not None:
            message = "already streaming"
            raise InstrumentUnavailable(message)
        async for block in super().stream():
            yield block


class DeafWhileStreaming(HonestTagger):
    async def read(self) -> Any:
        if self._stop is not None and not self._stop.is_set():
            await _for_ever()
        return await super().read()


class RestartsUnderItsName(HonestTagger):
    restarts = 0

    def _block(self, begin_ps: int, gaps: Any) -> TagBlock:
        block = super()._block(begin_ps - self.restarts * 10**13, gaps)
        return TagBlock(block.channel.copy(), block.tag_ps.copy(), gaps)

    async def connect(self) -> Identity:
        self.restarts += 1
        return await super().connect()


class SilentWhenGone(HonestTagger):
    async def _alive(self) -> None:
        if self._stop is not None and not self._stop.is_set() and not self.rack.whole:
            await self._stop.wait()
        await super()._alive()


def _with(driver: type[Honest], **members: object) -> type[Honest]:
    return type(f"{driver.__name__} with another {' and '.join(members)}", (driver,), members)


BREACHES: list[tuple[type[Honest], str, str]] = [
    (_with(HonestLaser, simulated=None), "fits_its_protocol", "simulated must be True or False"),
    (NeedsNoConnection, "making_touches_nothing", "read before connect was accepted"),
    (_with(HonestMeter, close=_raises), "making_touches_nothing", "close raised InstrumentUnavailable"),
    (WithoutSerial, "connect_tells_who_is_there", "serial is ' '"),
    (_with(HonestMeter, connect=_for_ever), "connect_tells_who_is_there", "connect took longer than 5 s"),
    (_with(HonestMeter, capability=None), "capability_makes_sense", "capability is None, no PowerMeterCapability"),
    (ChangesItsMind, "capability_makes_sense", "after connect, is"),
    (ReadsAnotherKind, "reading_makes_sense", "no AttenuatorReading"),
    (ReadsInMilliwatts, "reading_makes_sense", "a wrong unit?"),
    (ReadsFromMemory, "reading_is_fresh", "answered with what was read at"),
    (_with(HonestAttenuator, configure=_nothing), "configured_is_safe", "after configure of an instrument at work"),
    (_with(HonestSwitch, make_safe=_nothing), "make_safe_works_from_any_state", "an input leads somewhere"),
    (_with(HonestSupply, make_safe=_for_ever), "make_safe_works_from_any_state", "make_safe took longer than 2 s"),
    (StaysConnected, "closed_is_safe_and_over", "read after close was accepted"),
    (StaysLitWhenClosed, "closed_is_safe_and_over", "connected again after close, it emits"),
    (ClosesForGood, "a_closed_driver_connects_again", "make a new object"),
    (OffByOneAfterCancel, "a_cancelled_call_does_no_harm", "read returned None"),
    (OneAtATime, "questions_side_by_side_get_their_own_answers", "somebody else is talking"),
    (TripsOverClose, "close_ends_calls_in_flight", "mistake in the driver: AssertionError"),
    (LeavesTask, "reading_makes_sense", "tasks are left after close: ['<coroutine object _for_ever"),
    (AnyonePresent, "nobody_there_is_told", "connect with nobody there was accepted"),
    (ReconnectsByItself, "a_lost_connection_stays_lost_until_connect", "came back, without connect was accepted"),
    (GarbledWhenGone, "a_lost_connection_stays_lost_until_connect", "raised InstrumentGarbled (half an answer)"),
    (_with(HonestMeter, make_safe=HonestMeter.configure), "a_lost_instrument_is_closed_quietly", "make_safe raised"),
    (EmitsHalf, "emits_what_it_is_told", "reads -13.0 dBm"),
    (_with(HonestLaser, emit=_nothing), "emits_what_it_is_told", "told to emit under a valid permit, and reads dark"),
    (TrustsEveryPermit, "refuses_a_lapsed_permit", "emit, permit lapsed was accepted"),
    (TrustsEveryPower, "refuses_more_power_than_permitted", "above the permit's power was accepted"),
    (EmitsThenChecks, "refuses_more_power_than_permitted", "after a refused power, it emits"),
    (ClipsPower, "refuses_power_outside_its_capability", "emit of 11.0 dBm was accepted"),
    (NeverLapses, "goes_dark_when_its_permit_lapses", "0.5 s after its permit of 1 s ended, it emits"),
    (ForgetsRenewals, "goes_on_while_renewed", "went dark although its permit was renewed"),
    (RenewsWithAnything, "a_lapsed_renewal_extends_nothing", "renew, permit lapsed was accepted"),
    (RenewsIntoLight, "only_emit_makes_light", "renewed without having been lit, it emits"),
    (RenewsIntoLight, "goes_dark_when_its_permit_lapses", "renewed after it had gone dark, it emits"),
    (TrustsLongPermits, "no_permit_lasts_longer_than_it_says", "under a longer permit, it emits"),
    (MovesShort, "moves_where_it_is_told", "asked for 40.0 deg, reads 35.0 deg"),
    (NeverRests, "moves_where_it_is_told", "still moves after its settling time"),
    (MovesAnywhere, "refuses_angles_outside_its_range", "was accepted; it must raise UsageError"),
    (_with(HonestAttenuator, attenuate=_nothing), "attenuates_as_told", "asked for 0.5 dB"),
    (ClipsLoss, "refuses_attenuations_outside_its_range", "attenuate to -1.5 dB was accepted"),
    (HeatsInKelvin, "configured_is_safe", "its limit is 80.0 C"),
    (HeatsOn, "heats_as_told", "asked for None C"),
    (ClipsHeat, "refuses_temperatures_outside_its_range", "heat to 19.0 C was accepted"),
    (LeadsAstray, "leads_where_it_is_told", "input 0 was led to 2, reads None"),
    (LeadsAnywhere, "refuses_ports_that_it_has_not", "route from 2 to 0 was accepted"),
    (BiasesAll, "biases_as_told", "channel 1 was meant, another one is biased"),
    (BiasesMore, "refuses_bias_outside_its_range", "was accepted; it must raise UsageError"),
    (Disordered, "gives_tags_in_order", "run backwards"),
    (StrangeInputs, "gives_tags_in_order", "tags of channels [4, 7], the capability has (0, 3)"),
    (StreamsFromNowhere, "needs_a_connection", "a stream before connect was accepted"),
    (StreamsOn, "ends_its_stream_quietly", "goes on 2 s after make_safe"),
    (EndsLoudly, "ends_its_stream_quietly", "ended after make_safe with InstrumentUnavailable: stopped"),
    (KeepsEverything, "a_slow_consumer_gets_a_gap", "told of 0.00 s lost to overflow"),
    (DropsInSilence, "a_slow_consumer_gets_a_gap", "told of 0.00 s lost to overflow"),
    (StreamsOnce, "a_stream_that_was_given_up_can_be_opened_again", "already streaming"),
    (DeafWhileStreaming, "answers_while_it_streams", "read took longer than 5 s"),
    (RestartsUnderItsName, "names_its_time_axis", "the one before ended at"),
    (SilentWhenGone, "a_lost_connection_ends_the_stream", "neither gave tags nor ended within 5 s"),
]


@pytest.mark.parametrize(("driver", "rule", "says"), BREACHES, ids=[f"{one[0].__name__}-{one[1]}" for one in BREACHES])
def test_a_broken_rule_is_found(driver: type[Honest], rule: str, says: str) -> None:
    check = {contract.name(one): one for one in contract.checks(driver)}[rule]
    with pytest.raises(contract.Broken) as caught:
        contract.verify(check, driver, bench, virtual_time.run)
    assert says in str(caught.value)


def test_every_check_has_been_seen_to_fail() -> None:
    assert {contract.name(check) for _, check in CASES} == {rule for _, rule, _ in BREACHES}


def test_a_thread_that_is_left_is_found() -> None:
    released = threading.Event()
    threads = []

    class LeavesThread(HonestMeter):
        async def connect(self) -> Identity:
            threads.append(threading.Thread(target=released.wait, name="forgotten"))
            threads[-1].start()
            return await super().connect()

    check: Callable[..., Any] = contract.checks(LeavesThread)[4]
    try:
        with pytest.raises(contract.Broken, match=r"threads are left after close: \['forgotten'"):
            contract.verify(check, LeavesThread, bench, virtual_time.run)
    finally:
        released.set()
        for thread in threads:
            thread.join()
