"""Rules of detector supplies: safe without bias."""

from __future__ import annotations

from typing import Any, Final

from qnoded.errors import UsageError
from qnoded.instruments.capability import SinglePhotonDetectorCapability
from qnoded.instruments.reading import DetectorReading
from qnoded.testing.contract.kind import Check, Kind, finite, judge_safe, judge_setting, ordered
from qnoded.testing.contract.subject import Subject, comes, demand, refused

TOLERANCE: Final = 0.05
"""Share of the range by which a bias read back may differ from the one asked for."""
LATE_S: Final = 2.0


def _slack(capability: SinglePhotonDetectorCapability) -> float:
    return TOLERANCE * (capability.max_bias - capability.min_bias)


def _judge_capability(capability: SinglePhotonDetectorCapability) -> None:
    ordered(bias=(capability.min_bias, capability.max_bias))
    demand(len(set(capability.channels)) == len(capability.channels) > 0, f"channels are {capability.channels}")
    demand(capability.bias_unit in ("uA", "V"), f"bias_unit is {capability.bias_unit!r}, must be uA or V")


def _judge_reading(reading: tuple[DetectorReading, ...], capability: SinglePhotonDetectorCapability) -> None:
    demand(len(reading) == len(capability.channels), f"{len(reading)} readings of {len(capability.channels)} channels")
    for channel, each in zip(capability.channels, reading, strict=True):
        # Without bias the supply reads zero, wherever its range begins.
        first = capability.min_bias if each.enabled else min(0.0, capability.min_bias)
        last = capability.max_bias if each.enabled else max(0.0, capability.max_bias)
        judge_setting(f"bias of channel {channel}", each.bias, first, last, _slack(capability))
        finite(temperature_c=each.temperature_c)


def _danger(reading: tuple[DetectorReading, ...], _: SinglePhotonDetectorCapability) -> str | None:
    return "a detector is biased" if any(each.enabled for each in reading) else None


async def _work(_: Subject, supply: Any) -> None:
    await _bias(supply, 0, supply.capability.min_bias)


async def _bias(supply: Any, place: int, bias: float | None) -> None:
    """Bias the channel at a place of the list, or take its bias off."""
    capability = supply.capability
    channel = capability.channels[place]
    await (supply.disable(channel) if bias is None else supply.enable(channel, bias))

    async def arrived() -> bool:
        shown = (await supply.read())[place]
        if bias is None:
            return not shown.enabled
        return bool(shown.enabled and abs(shown.bias.read_back - bias) <= _slack(capability))

    unit = capability.bias_unit
    await comes(arrived, LATE_S, f"channel {channel}: asked for {bias} {unit}, reads {(await supply.read())[place]}")


async def biases_as_told(subject: Subject) -> None:
    """Bias every channel for itself, read it back, and let it go; change nothing on a repetition."""
    supply = await subject.ready()
    capability = supply.capability
    middle = (capability.min_bias + capability.max_bias) / 2
    for place in range(len(capability.channels)):
        for bias in (capability.min_bias, middle, middle, None, None):
            await _bias(supply, place, bias)
            others = [each.enabled for number, each in enumerate(await supply.read()) if number != place]
            demand(not any(others), f"channel {capability.channels[place]} was meant, another one is biased")


async def refuses_bias_outside_its_range(subject: Subject) -> None:
    """Refuse a bias that cannot be had and a channel that does not exist, and bias nothing."""
    supply = await subject.ready()
    capability = supply.capability
    step = 2 * _slack(capability) or 1.0
    for bias in (capability.max_bias + step, capability.min_bias - step, float("nan")):
        await refused(supply.enable(capability.channels[0], bias), (UsageError,), f"enable with a bias of {bias}")
    stranger = max(capability.channels) + 1
    await refused(supply.enable(stranger, capability.min_bias), (UsageError,), f"enable of channel {stranger}")
    await judge_safe(KIND, supply, "after refused biases")


CHECKS: Final[tuple[Check, ...]] = (biases_as_told, refuses_bias_outside_its_range)
KIND: Final = Kind(
    SinglePhotonDetectorCapability, DetectorReading, _judge_capability, _judge_reading, _danger, _work, CHECKS
)
