"""Rules of optical switches: safe when every input leads nowhere."""

from __future__ import annotations

from typing import Any, Final

from qnoded.errors import UsageError
from qnoded.instruments.capability import OpticalSwitchCapability
from qnoded.instruments.reading import SwitchReading
from qnoded.testing.contract.kind import Check, Kind, judge_safe
from qnoded.testing.contract.subject import Subject, comes, demand, refused

LATE_S: Final = 1.0


def _judge_capability(capability: OpticalSwitchCapability) -> None:
    demand(capability.inputs >= 1, f"inputs is {capability.inputs}")
    demand(capability.outputs >= 1, f"outputs is {capability.outputs}")
    demand(0.0 <= capability.switching_s <= 60.0, f"switching_s is {capability.switching_s}: a wrong unit?")


def _judge_reading(reading: SwitchReading, capability: OpticalSwitchCapability) -> None:
    demand(len(reading.routes) == capability.inputs, f"{len(reading.routes)} routes of {capability.inputs} inputs")
    for source, output in enumerate(reading.routes):
        known = output is None or output in range(capability.outputs)
        demand(known, f"input {source} leads to {output}; outputs count from 0 to {capability.outputs - 1}")


def _danger(reading: SwitchReading, _: OpticalSwitchCapability) -> str | None:
    return None if set(reading.routes) == {None} else "an input leads somewhere"


async def _work(_: Subject, switch: Any) -> None:
    await _lead(switch, 0, 0)


async def _lead(switch: Any, source: int, output: int | None) -> None:
    await switch.route(source, output)

    async def leads() -> bool:
        return bool((await switch.read()).routes[source] == output)

    limit_s = switch.capability.switching_s + LATE_S
    await comes(leads, limit_s, f"input {source} was led to {output}, reads {(await switch.read()).routes[source]}")


async def leads_where_it_is_told(subject: Subject) -> None:
    """Lead every input to every output and to none, read that back; told again, stay."""
    switch = await subject.ready()
    for source in range(switch.capability.inputs):
        for output in range(switch.capability.outputs):
            await _lead(switch, source, output)
            await _lead(switch, source, output)
        await _lead(switch, source, None)


async def refuses_ports_that_it_has_not(subject: Subject) -> None:
    """Refuse an input or output that does not exist, and change nothing."""
    switch = await subject.ready()
    inputs, outputs = switch.capability.inputs, switch.capability.outputs
    for source, output in ((inputs, 0), (-1, 0), (0, outputs), (0, -1)):
        await refused(switch.route(source, output), (UsageError,), f"route from {source} to {output}")
    await judge_safe(KIND, switch, "after refused routes")


CHECKS: Final[tuple[Check, ...]] = (leads_where_it_is_told, refuses_ports_that_it_has_not)
KIND: Final = Kind(OpticalSwitchCapability, SwitchReading, _judge_capability, _judge_reading, _danger, _work, CHECKS)
