"""``single-quantum-websq``: bias of nanowire detectors.

The supply has one switch for all detectors: a channel is on when the switch is and its current is not zero. Its
answers have no numbers, so all labels and the bias voltages, which are told in another form, are asked in turn and
looked at twice.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from pydantic import BaseModel, Field

from qnoded.errors import InstrumentError, InstrumentFault, InstrumentGarbled, UsageError
from qnoded.instruments.capability import Identity, SinglePhotonDetectorCapability
from qnoded.instruments.limits import within
from qnoded.instruments.raw_safe import RawSafe
from qnoded.instruments.reading import DetectorReading, Setting
from qnoded.instruments.transport import STOP_S, Addressed, Lane, Line, SerialPort, Talk, confirmed, read_address
from qnoded_drivers.single_quantum_websq.codec import (
    ASK_ALL,
    ASK_VOLTAGES,
    CURRENT,
    ENABLED,
    NUMBER,
    SAFE,
    SAFE_ORDER,
    SWITCH_OFF,
    SWITCH_ON,
    VOLTAGE,
    Label,
    LabelDecoder,
    numbers_of,
    set_currents,
    trouble_of,
)

PORT: Final = SerialPort(115200)
"""Not used: it is on the network alone."""
LOOK_S: Final = 1.0
"""For two looks and an order."""
ENABLE_S: Final = 1.8
"""For three times two looks and two orders; making safe after a failure must fit into the deadline as well."""
HARD_LIMIT_UA: Final = 90.0
"""Beyond it the supply does not go."""
CURRENT_TOLERANCE_UA: Final = 0.1
VOLTAGE_TOLERANCE_MV: Final = 20.0
"""Between two looks: it is measured, and noisy."""
MOST_DETECTORS: Final = 64
NO_SERIAL: Final = "not told"


class WebsqSettings(Addressed):
    """A supply and the detectors on it."""

    max_bias_ua: float = Field(gt=0.0, le=HARD_LIMIT_UA)
    """More is never set: below the switching current of every detector."""
    min_bias_ua: float = Field(default=1.0, gt=0.0, le=HARD_LIMIT_UA)
    """Less counts as off."""
    latched_mv: float = Field(default=100.0, gt=0.0)
    """A biased detector with more voltage than this is normally conducting and sees nothing until its bias was off."""


@dataclass(frozen=True, slots=True)
class Look:
    """What the supply says at one moment."""

    enabled: bool
    currents_ua: tuple[float, ...]
    voltages_mv: tuple[float, ...]

    def agrees(self, other: Look) -> bool:
        """Whether another look a moment later saw the same."""
        pairs = zip(self.voltages_mv, other.voltages_mv, strict=True)
        return (self.enabled, self.currents_ua) == (other.enabled, other.currents_ua) and all(
            abs(one - two) <= VOLTAGE_TOLERANCE_MV for one, two in pairs
        )


class Websq:
    """Safe when the switch of all detectors is off."""

    Settings: ClassVar[type[BaseModel]] = WebsqSettings
    simulated: ClassVar[bool] = False

    def __init__(self, settings: Any) -> None:
        self._settings = settings
        self._line = Line(
            "Single Quantum WebSQ",
            read_address(settings.address),
            PORT,
            LabelDecoder,
            _voltages,
            self._overhear,
            parting=SWITCH_OFF,
        )
        self._trouble: str | None = None
        self._detectors = 0
        self._requested_ua: dict[int, float] = {}
        self._stops = 0
        """How often it was made safe: an order to enable from before that is void."""
        self.capability = self._capability(1)

    @classmethod
    def raw_safe(cls, settings: Any) -> tuple[RawSafe, ...]:
        """Return what takes the bias off without this driver."""
        return (RawSafe(settings.address, PORT.baud, SAFE_ORDER, SAFE),)

    def _capability(self, detectors: int) -> SinglePhotonDetectorCapability:
        channels = tuple(range(1, detectors + 1))
        return SinglePhotonDetectorCapability(channels, self._settings.min_bias_ua, self._settings.max_bias_ua, "uA")

    async def connect(self) -> Identity:
        """Open the line and ask how many detectors there are."""
        self._requested_ua, self._trouble, self._detectors = {}, None, 0
        await self._line.open()
        async with self._line.turn(Lane.COMMAND, LOOK_S) as talk:
            look = await self._looked(talk)
        self._detectors = len(look.currents_ua)
        self.capability = self._capability(self._detectors)
        return Identity("Single Quantum", "WebSQ", NO_SERIAL)

    async def configure(self) -> None:
        """Take all bias off."""
        async with self._line.turn(Lane.COMMAND, LOOK_S) as talk:
            await self._switch_off(talk)

    async def enable(self, channel: int, bias: float) -> None:
        """Bias a channel, uA."""
        place = self._place(channel)
        capability = self.capability
        bias_ua = within(f"bias of channel {channel}", bias, capability.min_bias, capability.max_bias, "uA")
        stops = self._stops
        try:
            async with self._line.turn(Lane.COMMAND, ENABLE_S) as talk:
                look = await self._looked(talk)
                # Currents that stood there while the switch was off are nobody's wish.
                wanted = [one if look.enabled else 0.0 for one in look.currents_ua]
                wanted[place] = bias_ua
                await self._set(talk, tuple(wanted))
                if self._stops != stops:
                    problem = f"channel {channel}: the bias was taken off after it had been told to come; tell it again"
                    raise InstrumentFault(problem)
                self._requested_ua[channel] = bias_ua
                if not look.enabled:
                    talk.send(SWITCH_ON)
                    await self._switched(talk, enabled=True)
        except Exception:
            # Whether it is biased now is not known.
            await self.make_safe()
            raise

    async def disable(self, channel: int) -> None:
        """Take the bias off a channel, and off the whole supply with the last one."""
        place = self._place(channel)
        async with self._line.turn(Lane.COMMAND, ENABLE_S) as talk:
            look = await self._looked(talk)
            self._requested_ua.pop(channel, None)
            left = [*look.currents_ua]
            left[place] = 0.0
            if not look.enabled or not any(left):
                await self._switch_off(talk)
            else:
                await self._set(talk, tuple(left))

    def _place(self, channel: int) -> int:
        if channel not in self.capability.channels:
            problem = f"there is no channel {channel}; they count from 1 to {len(self.capability.channels)}"
            raise UsageError(problem)
        return channel - 1

    async def read(self) -> tuple[DetectorReading, ...]:
        """Return the state of all channels."""
        async with self._line.turn(Lane.POLL, LOOK_S) as talk:
            look = await self._looked(talk)
        read_s = asyncio.get_running_loop().time()
        requested = self._requested_ua
        return tuple(
            self._reading(look.enabled, requested.get(channel), current_ua, voltage_mv, read_s)
            for channel, current_ua, voltage_mv in zip(
                self.capability.channels, look.currents_ua, look.voltages_mv, strict=True
            )
        )

    def _reading(
        self, switched_on: bool, requested_ua: float | None, current_ua: float, voltage_mv: float, read_s: float
    ) -> DetectorReading:
        biased = switched_on and abs(current_ua) > CURRENT_TOLERANCE_UA
        bias = Setting(requested_ua, current_ua, current_ua if switched_on else 0.0, read_s)
        return DetectorReading(biased, bias, latched=biased and abs(voltage_mv) > self._settings.latched_mv)

    async def make_safe(self) -> None:
        """Take all bias off: the order goes out whatever else is under way."""
        self._stops += 1
        self._requested_ua = {}
        with suppress(InstrumentError):
            async with self._line.turn(Lane.STOP, STOP_S, SWITCH_OFF) as talk:
                await self._switched(talk, enabled=False)

    async def close(self) -> None:
        """Take all bias off and hang up."""
        await self.make_safe()
        await self._line.end()

    async def _switch_off(self, talk: Talk[Label]) -> None:
        """Switch off, and leave no current that would flow with the next switching on."""
        self._requested_ua = {}
        talk.send(SWITCH_OFF)
        await self._switched(talk, enabled=False)
        await self._set(talk, (0.0,) * self._detectors)

    async def _switched(self, talk: Talk[Label], *, enabled: bool) -> None:
        if (await self._looked(talk)).enabled is not enabled:
            problem = (
                f"{self._line}: its detectors were switched {'on' if enabled else 'off'}, it says that they are not"
            )
            raise InstrumentFault(problem)

    async def _set(self, talk: Talk[Label], wanted_ua: tuple[float, ...]) -> None:
        talk.send(set_currents(wanted_ua))
        shown_ua = (await self._looked(talk)).currents_ua
        if any(abs(wanted - shown) > CURRENT_TOLERANCE_UA for wanted, shown in zip(wanted_ua, shown_ua, strict=True)):
            problem = f"{self._line}: bias currents of {wanted_ua} uA were set, it takes {shown_ua} uA"
            raise InstrumentFault(problem)

    async def _looked(self, talk: Talk[Label]) -> Look:
        look = await confirmed(lambda: self._look(talk), Look.agrees, "its state")
        trouble, self._trouble = self._trouble, None
        if trouble is not None:
            problem = f"{self._line}: {trouble}"
            raise InstrumentFault(problem)
        return look

    async def _look(self, talk: Talk[Label]) -> Look:
        found: dict[str, Label] = {}

        def complete(label: Label) -> dict[str, Label] | None:
            self._overhear(label)
            if label.listed:
                found[label.name] = label
            return found if {NUMBER, ENABLED, CURRENT} <= found.keys() else None

        await talk.ask(ASK_ALL, complete)
        detectors, enabled = found[NUMBER].value, found[ENABLED].value
        currents_ua, voltages_mv = numbers_of(found[CURRENT]), await _voltages(talk)
        if enabled not in (True, False) or type(detectors) not in (int, float) or not 1 <= detectors <= MOST_DETECTORS:
            problem = f"{self._line}: {NUMBER} {detectors!r}, {ENABLED} {enabled!r} are no numbers of a supply"
            raise InstrumentGarbled(problem)
        if not len(currents_ua) == len(voltages_mv) == detectors == (self._detectors or detectors):
            problem = (
                f"{self._line}: {len(currents_ua)} currents and {len(voltages_mv)} voltages of {detectors} detectors, "
                f"was {self._detectors}; connect again"
            )
            raise InstrumentGarbled(problem)
        return Look(bool(enabled), currents_ua, voltages_mv)

    def _overhear(self, label: Label) -> None:
        self._trouble = trouble_of(label) or self._trouble


async def _voltages(talk: Talk[Label]) -> tuple[float, ...]:
    def wanted(label: Label) -> tuple[float, ...] | None:
        return numbers_of(label) if label.name == VOLTAGE and not label.listed else None

    return await talk.ask(ASK_VOLTAGES, wanted)
