"""Every knob of the simulated world, with its usual value; unknown keys are errors.

A TOML file of this shape, or dotted keys such as ``bob.clock.preset=tcxo``, changes some and leaves the rest.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Annotated, Any, Final, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    field_validator,
    model_validator,
)

from qnoded.errors import UsageError
from qnoded.sim.presets import CLOCKS, DETECTORS, SKEWS_PS, START_OFFSET_PS
from qnoded.units import tick

NAMES: Final = ("H", "V", "D", "A")
"""Detectors of a receiver in the order of its channels 0, 1, 2, 3."""

LARGEST_RATE_HZ: Final = 1e10
"""More than a source can give pairs or a detector can click."""
LONGEST_FIBRE_KM: Final = 1000.0
"""No photon is left after 200 dB."""
LARGEST_DELAY_PS: Final = 10**9
"""1 ms: beyond any dead time, skew or echo, so a larger value is a typing error."""
LARGEST_OFFSET_PS: Final = 10**17
"""28 hours; keeps every tag far from the end of int64."""
LARGEST_OF_RATIO: Final = 10**6
"""1 us of tick, and a product of both parts far inside int64."""
LARGEST_FREQUENCY_ERROR: Final = 1e-3
"""A clock that is off by more is broken."""
MOST_PENDING_AFTERPULSES: Final = 32.0
"""Afterpulses on their way per detector, on average, at saturation; the detector model keeps four times as many."""

Share = Annotated[float, Field(ge=0.0, le=1.0)]
Rate = Annotated[float, Field(ge=0.0, le=LARGEST_RATE_HZ)]
Width = Annotated[float, Field(ge=0.0, le=1e6)]
Decay = Annotated[float, Field(gt=0.0, le=1e9)]
Delay = Annotated[int, Field(ge=0, le=LARGEST_DELAY_PS)]


def _read_tick(value: Any) -> Any:
    try:
        read = tick(str(value))
    except UsageError as error:
        raise ValueError(str(error)) from None
    if max(read.numerator, read.denominator) > LARGEST_OF_RATIO:
        message = f"a tick of {read} ps has a part above {LARGEST_OF_RATIO}; write a simpler ratio"
        raise ValueError(message)
    return read


Tick = Annotated[Fraction, BeforeValidator(_read_tick), PlainSerializer(str, when_used="always")]


class _Settings(BaseModel):
    """A table of the settings file."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def _filled(table: Any, presets: dict[str, dict[str, object]], default: str) -> Any:
    """Return the table with the values of its preset below its own."""
    if not isinstance(table, dict):
        return table
    # An unknown name fills nothing: the field itself refuses it.
    return presets.get(str(table.get("preset", default)), {}) | table


class SourceSettings(_Settings):
    """Continuously pumped source of polarization-entangled pairs; the state is Bell-diagonal."""

    pair_rate_hz: Rate = 1e6
    """Pairs born per second, at a pump power of 1 mW."""
    state: Literal["Phi+", "Phi-", "Psi+", "Psi-"] = "Phi+"
    visibility_hv: Share = 0.990
    visibility_da: Share = 0.980
    visibility_rl: Share | None = None
    """Unset: the product of the other two, which independent bit and phase noise gives."""
    wavelength_nm: Annotated[float, Field(ge=200.0, le=5000.0)] = 1550.0
    spectral_width_nm: Annotated[float, Field(ge=0.0, le=200.0)] = 0.5
    """Full width at half maximum."""
    crystal_optimum_c: Annotated[float, Field(ge=-50.0, le=300.0)] = 35.0
    crystal_fwhm_k: Annotated[float, Field(gt=0.0, le=100.0)] = 1.0
    """Width of the phase matching in temperature."""
    crystal_phase_rad_per_k: Annotated[float, Field(ge=-100.0, le=100.0)] = 0.30
    """Phase between HH and VV that the pair gets per kelvin away from the optimum."""

    @property
    def visibilities(self) -> tuple[float, float, float]:
        """Visibilities in HV, DA and RL."""
        rl = self.visibility_rl
        return (
            self.visibility_hv,
            self.visibility_da,
            self.visibility_hv * self.visibility_da if rl is None else rl,
        )

    @model_validator(mode="after")
    def _is_a_state(self) -> SourceSettings:
        hv, da, rl = self.visibilities
        least = max(0.0, hv + da - 1.0)
        most = 1.0 - abs(hv - da)
        if not least - 1e-12 <= rl <= most + 1e-12:
            message = (
                f"no quantum state has visibilities {hv:g}, {da:g} and {rl:g} in HV, DA and RL; "
                f"leave visibility_rl unset or choose {least:g} to {most:g}"
            )
            raise ValueError(message)
        return self


class FibreSettings(_Settings):
    """A fibre between the source and a receiver."""

    length_km: Annotated[float, Field(ge=0.0, le=LONGEST_FIBRE_KM)] = 0.0
    loss_db_per_km: Annotated[float, Field(ge=0.0, le=10.0)] = 0.20
    fixed_loss_db: Annotated[float, Field(ge=0.0, le=200.0)] = 0.0
    """Patches and splices; about 0.5 dB each."""
    delay_ps_per_km: Annotated[float, Field(ge=0.0, le=1e7)] = 4_897_000.0
    """Group index 1.468."""
    dispersion_ps_per_nm_km: Annotated[float, Field(ge=-1000.0, le=1000.0)] = 17.0
    pmd_ps_per_sqrt_km: Annotated[float, Field(ge=0.0, le=100.0)] = 0.05
    rotation_deg: Annotated[float, Field(ge=-360.0, le=360.0)] = 0.0
    """Rotation of the Poincare sphere about ``rotation_axis``, at true time 0."""
    rotation_axis: tuple[float, float, float] = (0.0, 0.0, 1.0)
    """Stokes vector (S1, S2, S3), of any length but 0."""
    polarization_drift_rad2_per_s: Annotated[float, Field(ge=0.0, le=10.0)] = 0.0
    """Diffusion of the rotation per Stokes axis: 1e-6 on a spool, 5e-5 buried, 5e-3 aerial; 0 holds it still."""

    @field_validator("rotation_axis")
    @classmethod
    def _has_a_direction(cls, axis: tuple[float, float, float]) -> tuple[float, float, float]:
        if not any(axis):
            message = "an axis of rotation needs a direction; write for example [0.0, 0.0, 1.0]"
            raise ValueError(message)
        return axis

    @property
    def delay_ps(self) -> int:
        """Time from the source to the receiver."""
        return round(self.length_km * self.delay_ps_per_km)


class AnalyserSettings(_Settings):
    """Passive analyser: a basis splitter, then a polarizing beam splitter in each basis."""

    hv_share: Share = 0.5
    """Share of the photons that the basis splitter sends to HV."""
    extinction_transmitted: Annotated[float, Field(ge=1.0)] = 1000.0
    """Right to wrong polarization in the transmitted port (H and D): 1000 for 1:1000."""
    extinction_reflected: Annotated[float, Field(ge=1.0)] = 300.0
    """The same in the reflected port (V and A)."""
    angle_deg: Annotated[float, Field(ge=-360.0, le=360.0)] = 0.0
    """Rotation of the whole analyser; 22.5 at one side gives the CHSH settings."""


class DetectorSettings(_Settings):
    """One detector from the photon's absorption to the tagger's input."""

    preset: Literal["snspd", "ingaas", "si"] = "snspd"
    efficiency: Share = 0.80
    dark_hz: Rate = 100.0
    """Dark counts and stray light."""
    jitter_fwhm_ps: Width = 30.0
    """Gaussian core."""
    jitter_tail_share: Share = 0.0
    """Share of the clicks that come later by an exponential time."""
    jitter_tail_ps: Width = 0.0
    """Mean of that time."""
    dead_time_ps: Delay = 40_000
    paralysable: bool = False
    """True: a photon during the dead time starts it again."""
    recovery_ps: Width = 0.0
    """Efficiency ``t`` after a click is ``1 - exp(-(t / recovery)**2)`` of the full one; 0: full at once."""
    skew_ps: Annotated[int, Field(ge=-LARGEST_DELAY_PS, le=LARGEST_DELAY_PS)] = 0
    """Its pulses reach the tagger this much later than a detector's with skew 0."""
    afterpulse_probability: Annotated[float, Field(ge=0.0, le=0.5)] = 0.0
    """Chance that an avalanche is followed by another from a trap, after the dead time."""
    afterpulse_fast_ps: Decay = 2_900_000.0
    """Decay of the fast traps, counted from the end of the dead time."""
    afterpulse_slow_ps: Decay = 11_600_000.0
    afterpulse_fast_share: Share = 0.5
    double_firing_probability: Share = 0.0
    """Chance of an electronic echo of a click; an echo ignores the dead time and has no echo of its own."""
    double_firing_from_ps: Delay = 16_000
    double_firing_to_ps: Delay = 17_600

    @model_validator(mode="before")
    @classmethod
    def _fill(cls, table: Any) -> Any:
        return _filled(table, DETECTORS, "snspd")

    @model_validator(mode="after")
    def _holds_together(self) -> DetectorSettings:
        if self.double_firing_to_ps < self.double_firing_from_ps:
            message = f"double firing from {self.double_firing_from_ps} to {self.double_firing_to_ps} ps runs backwards"
            raise ValueError(message)
        slowest_ps = max(self.afterpulse_fast_ps, self.afterpulse_slow_ps)
        if self.afterpulse_probability * slowest_ps > MOST_PENDING_AFTERPULSES * self.dead_time_ps:
            message = (
                f"a dead time of {self.dead_time_ps} ps is too short for afterpulses with probability "
                f"{self.afterpulse_probability:g} and decay {slowest_ps:g} ps; use at least "
                f"{self.afterpulse_probability * slowest_ps / MOST_PENDING_AFTERPULSES:.0f} ps"
            )
            raise ValueError(message)
        return self


class DetectorsSettings(_Settings):
    """The four detectors of a receiver; a key of the table itself applies to all four."""

    H: DetectorSettings = DetectorSettings()
    V: DetectorSettings = DetectorSettings()
    D: DetectorSettings = DetectorSettings()
    A: DetectorSettings = DetectorSettings()

    @model_validator(mode="before")
    @classmethod
    def _spread(cls, table: Any) -> Any:
        if not isinstance(table, dict):
            return table
        unknown = table.keys() - set(NAMES) - DetectorSettings.model_fields.keys()
        common = {key: value for key, value in table.items() if key in DetectorSettings.model_fields}
        own = {name: table.get(name, {}) for name in NAMES}
        return {key: table[key] for key in unknown} | {
            name: common | one if isinstance(one, dict) else one for name, one in own.items()
        }

    def __iter__(self) -> Any:
        return iter((self.H, self.V, self.D, self.A))


class TaggerSettings(_Settings):
    """The time tagger of a node: the detectors H V D A are its inputs 0 1 2 3."""

    bin_ps: Tick = Fraction(1)
    """Length of its tick, 1 or more, a number or a ratio such as ``"625/8"``; tags are rounded to whole picoseconds."""
    jitter_rms_ps: Width = 8.0
    dead_time_ps: Delay = 2000
    """Per input."""

    @field_validator("bin_ps")
    @classmethod
    def _at_least_what_a_tag_can_hold(cls, bin_ps: Fraction) -> Fraction:
        if bin_ps < 1:
            problem = f"a bin of {bin_ps} ps is finer than tags, which are whole picoseconds; use 1 or more"
            raise ValueError(problem)
        return bin_ps


class ClockSettings(_Settings):
    """A node's clock against true time; the preset of alice runs slow, that of bob fast."""

    preset: Literal["tcxo", "ocxo", "rb", "gpsdo", "white-rabbit", "ideal"] = "ocxo"
    offset_ps: Annotated[int, Field(ge=-LARGEST_OFFSET_PS, le=LARGEST_OFFSET_PS)] = 0
    """Reading at true time 0."""
    frequency_error: Annotated[float, Field(ge=-LARGEST_FREQUENCY_ERROR, le=LARGEST_FREQUENCY_ERROR)] = 2e-8
    """Rate over true time, minus 1."""
    drift_per_s: Annotated[float, Field(ge=-1e-6, le=1e-6)] = 0.0
    """Change of the frequency error per second: ageing and a slow change of temperature."""
    sigma_y_1s: Annotated[float, Field(ge=0.0, le=1e-6)] = 0.0
    """Allan deviation at 1 s by white frequency noise; falls as tau**-0.5."""
    random_walk_sigma_y_1s: Annotated[float, Field(ge=0.0, le=1e-6)] = 0.0
    """Allan deviation at 1 s by random-walk frequency noise; grows as tau**0.5."""
    phase_noise_ps: Width = 0.0
    """White phase noise, rms."""
    steering_s: Annotated[float, Field(ge=0.0, le=1e9)] = 0.0
    """Time in which a loop pulls the random phase back, as in a GPS-disciplined oscillator; 0: free running."""

    @model_validator(mode="before")
    @classmethod
    def _fill(cls, table: Any) -> Any:
        return _filled(table, CLOCKS, "ocxo")


class SideSettings(_Settings):
    """All that lies between the source and one node's tags."""

    heralding: Share = 0.35
    """Coupling and filters of this arm, without fibre and detectors."""
    fibre: FibreSettings = FibreSettings()
    analyser: AnalyserSettings = AnalyserSettings()
    detectors: DetectorsSettings = DetectorsSettings()
    tagger: TaggerSettings = TaggerSettings()
    clock: ClockSettings = ClockSettings()


_SIDE_DEFAULTS: Final[dict[str, dict[str, Any]]] = {
    "alice": {"clock": {"offset_ps": 0}},
    "bob": {"fibre": {"length_km": 10.0}, "clock": {"offset_ps": START_OFFSET_PS}},
}
"""Where the sides differ: the source stands at alice, and bob's clock was set by network time."""


def _side(side: str, table: Any) -> Any:
    """Return one side's table with what differs between the sides filled in."""
    if not isinstance(table, dict):
        return table
    defaults = _SIDE_DEFAULTS[side]
    filled = dict(table)
    for part in ("fibre", "clock", "detectors"):
        given = table.get(part, {})
        if not isinstance(given, dict):
            continue
        own = dict(given)
        if part == "clock":
            preset = CLOCKS.get(str(own.get("preset", "ocxo")), {})
            own = defaults["clock"] | preset | own
            if side == "alice" and "frequency_error" not in given and preset:
                own["frequency_error"] = 0.0 - float(str(preset["frequency_error"]))
        elif part == "fibre":
            own = defaults.get("fibre", {}) | own
        elif "skew_ps" not in own:
            for name in NAMES:
                if isinstance(own.get(name, {}), dict):
                    own[name] = {"skew_ps": SKEWS_PS[side][name]} | own.get(name, {})
        filled[part] = own
    return filled


class WorldSettings(_Settings):
    """One source, two arms, two receivers, two clocks."""

    source: SourceSettings = SourceSettings()
    alice: SideSettings = Field(default_factory=SideSettings)
    bob: SideSettings = Field(default_factory=SideSettings)
    alignment_hz: Rate = 2e5
    """Photons per second, polarized along H, that bob's alignment laser sends into his receiver at 1 mW."""

    @model_validator(mode="before")
    @classmethod
    def _sides_differ(cls, table: Any) -> Any:
        if not isinstance(table, dict):
            return table
        return table | {side: _side(side, table.get(side, {})) for side in ("alice", "bob")}
