"""What retarders do to polarization, in the words of the world's own controller."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np

from qnoded.records import F64
from qnoded.sim.optics import rotation
from qnoded.testing.emulation.light import Retarder

NO_ANGLE: Final = 1e-8
"""Sine below which the middle one of three Euler angles leaves the outer two undecided."""


def turned_by(retarders: Sequence[Retarder]) -> F64:
    """Return the rotation of Stokes vectors (S1, S2, S3) by retarders in the order of the light, float64[3, 3]."""
    turned = np.eye(3)
    for one in retarders:
        twice_rad = math.radians(2.0 * one.axis_deg)
        axis = np.array([math.cos(twice_rad), math.sin(twice_rad), 0.0])
        turned = rotation(axis, math.radians(one.retardance_deg)) @ turned
    return turned


def equivalent_retardances_deg(turned: F64) -> tuple[float, float, float]:
    """Return the retardances of plates at 0, 45 and 0 degrees that turn Stokes vectors as a rotation does.

    Euler angles about S1, S2 and S1 again, 0 to 360 degrees; where the middle one is 0 or 180 only their sum or
    difference counts, and the first is 0.

    Parameters
    ----------
    turned : float64[3, 3]
    """
    sine = math.hypot(turned[0, 1], turned[0, 2])
    middle = math.atan2(sine, turned[0, 0])
    if sine < NO_ANGLE:
        first, last = 0.0, math.atan2(turned[2, 1], turned[1, 1])
    else:
        first, last = math.atan2(turned[0, 1], turned[0, 2]), math.atan2(turned[1, 0], -turned[2, 0])
    return math.degrees(first) % 360.0, math.degrees(middle), math.degrees(last) % 360.0
