"""``sim-detector-supply``: the bias of a simulated node's four detectors."""

from __future__ import annotations

from typing import Any, ClassVar

from qnoded.instruments.capability import SinglePhotonDetectorCapability
from qnoded.instruments.reading import DetectorReading, Setting
from qnoded.sim.devices.instrument import SimulatedInstrument, loop_s, within


class SimDetectorSupply(SimulatedInstrument):
    """Safe without bias."""

    device: ClassVar[str] = "detector-supply"

    def __init__(self, settings: Any) -> None:
        super().__init__(settings)
        self.capability = SinglePhotonDetectorCapability((), 0.0, 0.0, "uA")
        self._requested: dict[int, float] = {}

    def _learn(self, capability: dict[str, Any]) -> None:
        self.capability = SinglePhotonDetectorCapability(
            tuple(int(channel) for channel in capability["channels"]),
            float(capability["min_bias"]),
            float(capability["max_bias"]),
            str(capability["bias_unit"]),
        )
        self._requested = {}

    async def enable(self, channel: int, bias: float) -> None:
        """Bias a channel, uA."""
        capability = self.capability
        target = within("bias", bias, capability.min_bias, capability.max_bias, capability.bias_unit)
        await self._ask("enable", channel=channel, bias=target)
        self._requested[channel] = bias

    async def disable(self, channel: int) -> None:
        """Take the bias off a channel."""
        await self._ask("disable", channel=channel)
        self._requested[channel] = 0.0

    async def read(self) -> tuple[DetectorReading, ...]:
        """Return the bias of every channel."""
        answer = await self._ask("read")
        with self._told():
            shown = [None if bias is None else float(bias) for bias in answer["bias"]]
            return tuple(
                DetectorReading(bias is not None, Setting(self._requested.get(channel), bias, bias, loop_s()))
                for channel, bias in zip(self.capability.channels, shown, strict=True)
            )
