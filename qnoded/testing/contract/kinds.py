"""Every kind of instrument by its name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from qnoded.instruments.fitting import kind_of
from qnoded.testing.contract import attenuator, detector, laser, meter, oven, polarization, switch, tagger
from qnoded.testing.contract.kind import Kind
from qnoded.testing.contract.subject import Subject

KINDS: Final[Mapping[str, Kind]] = {
    "time_tagger": tagger.KIND,
    "laser": laser.KIND,
    "polarization_controller": polarization.KIND,
    "power_meter": meter.KIND,
    "optical_switch": switch.KIND,
    "attenuator": attenuator.KIND,
    "single_photon_detector": detector.KIND,
    "oven": oven.KIND,
}


def kind_under_test(subject: Subject) -> Kind:
    """Return what is known of the kind that the driver is meant to be."""
    return KINDS[kind_of(subject.driver)]
