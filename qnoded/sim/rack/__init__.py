"""The simulated instruments of a node as the world's server sees them: what they can do, answer and turn."""

from __future__ import annotations

from qnoded.sim.rack.detection import Supply, Tagger
from qnoded.sim.rack.device import Device, Surroundings
from qnoded.sim.rack.lights import Laser, Meter, Oven
from qnoded.sim.rack.optics import Attenuator, Controller, Switch

__all__ = ["Device", "Laser", "Surroundings", "Tagger", "rack"]


def rack(side: int, world: Surroundings, serial: str) -> dict[str, Device]:
    """Return the instruments of a node by name."""
    # The source stands at alice.
    oven = None if side else Oven(side, world)
    laser = Laser(side, world, oven)
    return {
        "tagger": Tagger(side, world, serial),
        "laser": laser,
        "polarization": Controller(side, world),
        "power-meter": Meter(side, world, laser),
        "attenuator": Attenuator(side, world),
        "switch": Switch(side, world),
        "detector-supply": Supply(side, world),
    } | ({} if oven is None else {"oven": oven})
