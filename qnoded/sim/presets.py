"""Typical instruments as tables of numbers; a preset fills every field of its model that is not given."""

from __future__ import annotations

from typing import Final

SNSPD: Final[dict[str, object]] = {
    "efficiency": 0.80,
    "dark_hz": 100.0,
    "jitter_fwhm_ps": 30.0,
    "dead_time_ps": 40_000,
}
"""A superconducting nanowire at 1550 nm: no afterpulses, Gaussian jitter."""

INGAAS: Final[dict[str, object]] = {
    "efficiency": 0.20,
    "dark_hz": 1500.0,
    "jitter_fwhm_ps": 180.0,
    "jitter_tail_share": 0.05,
    "jitter_tail_ps": 200.0,
    "dead_time_ps": 10_000_000,
    "afterpulse_probability": 0.02,
}
"""A free-running InGaAs avalanche diode held off for 10 us."""

SI: Final[dict[str, object]] = {
    "efficiency": 0.60,
    "dark_hz": 250.0,
    "jitter_fwhm_ps": 400.0,
    "jitter_tail_share": 0.08,
    "jitter_tail_ps": 300.0,
    "dead_time_ps": 25_000,
    "afterpulse_probability": 0.01,
    "afterpulse_fast_ps": 50_000.0,
    "afterpulse_slow_ps": 200_000.0,
}
"""A thick-junction silicon avalanche diode at 810 nm; its traps empty within a fraction of a microsecond."""

DETECTORS: Final[dict[str, dict[str, object]]] = {"snspd": SNSPD, "ingaas": INGAAS, "si": SI}

_YEAR_S: Final = 365.25 * 86400.0
_MONTH_S: Final = _YEAR_S / 12
_DAY_S: Final = 86400.0

START_OFFSET_PS: Final = 300_000_000_000
"""A node set by network time starts within half a second of the other: 0.3 s."""

TCXO: Final[dict[str, object]] = {
    "frequency_error": 1e-6,
    "drift_per_s": 1e-6 / _YEAR_S,
    "sigma_y_1s": 1e-9,
    "random_walk_sigma_y_1s": 1e-11,
}
OCXO: Final[dict[str, object]] = {
    "frequency_error": 2e-8,
    "drift_per_s": 5e-10 / _DAY_S,
    "sigma_y_1s": 1e-11,
    "random_walk_sigma_y_1s": 1e-13,
}
RB: Final[dict[str, object]] = {
    "frequency_error": 5e-11,
    "drift_per_s": 5e-11 / _MONTH_S,
    "sigma_y_1s": 2e-11,
    "random_walk_sigma_y_1s": 0.0,
}
GPSDO: Final[dict[str, object]] = {
    "offset_ps": 20_000,
    "frequency_error": 0.0,
    "drift_per_s": 0.0,
    "sigma_y_1s": 1e-11,
    "random_walk_sigma_y_1s": 0.0,
    "steering_s": 1000.0,
}
"""Its second pulse is some tens of nanoseconds off; the loop holds the phase but not the short-term noise."""
WHITE_RABBIT: Final[dict[str, object]] = {
    "offset_ps": 0,
    "frequency_error": 0.0,
    "drift_per_s": 0.0,
    "sigma_y_1s": 0.0,
    "random_walk_sigma_y_1s": 0.0,
    "phase_noise_ps": 10.0,
}
IDEAL: Final[dict[str, object]] = WHITE_RABBIT | {"phase_noise_ps": 0.0}

CLOCKS: Final[dict[str, dict[str, object]]] = {
    "tcxo": TCXO,
    "ocxo": OCXO,
    "rb": RB,
    "gpsdo": GPSDO,
    "white-rabbit": WHITE_RABBIT,
    "ideal": IDEAL,
}
"""Random-walk FM meets white FM at a hundred seconds, where the Allan deviation of real oscillators turns upward."""

SKEWS_PS: Final[dict[str, dict[str, int]]] = {
    "alice": {"H": 0, "V": 1830, "D": -2410, "A": 3270},
    "bob": {"H": 0, "V": -1250, "D": 2960, "A": -3640},
}
"""Cable and electronics of each detector against the side's H: a draw from +-5 ns, what cut cables amount to."""
