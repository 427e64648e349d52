"""Every bound and figure by the name that a person asks for it; what it is given, what it says, what it assumes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from qnoded.errors import UsageError
from qnoded.stages.key_length import (
    asymptotic,
    authentication,
    bbm92_finite,
    block_inputs,
    decoy,
    device_independent,
    link_models,
    one_way,
    small_blocks,
)
from qnoded.stages.key_length.inputs import read_inputs


@dataclass(frozen=True, slots=True)
class Family:
    """One published bound or figure."""

    name: str
    short: str
    """What a person types."""
    inputs: type[Any]
    """Dataclass of the inputs, checked on construction."""
    evaluate: Callable[[Any], Any]
    """From inputs to a dataclass of terms."""
    result: str
    """Name of the term that answers the question."""
    secure_finite: bool
    """Whether the length of a key may rest on it."""
    source: str
    assumptions: tuple[str, ...]


_IDEAL_RECEIVERS: Final = (
    "coherent attacks; ideal complementary bases; equal detector efficiencies; double clicks assigned at random",
    "test bits are a uniformly random choice of the sifted bits; classical channel authenticated",
)
_FIXED_LENGTH: Final = "fixed length: tolerance and sizes were chosen before the data; above the tolerance no key"
_DECOY: Final = "coherent attacks; random phases; exact intensities; equal detector efficiencies; Hoeffding's bound"
_MODEL: Final = "a model of a link with f = 1, no correctness or hashing terms, no sifting factor: never a key length"
_REPAIRED: Final = (
    "proof has gaps (fixed length, conditioning) that arXiv:2405.16578 repairs for a shorter key; use that"
)

FAMILIES: Final[tuple[Family, ...]] = (
    Family(
        "BBM92 key of one block under one security budget", "block",
        block_inputs.BlockInputs, block_inputs.block_length, "net_bits", True,
        "Lim et al., PRL 126, 100501 (2021) or Tomamichel and Leverrier, Quantum 1, 14 (2017), the longer; "
        "without a tolerance arXiv:2408.17349",
        (*_IDEAL_RECEIVERS, "with a tolerance a block of fixed length, without one of variable length",
         "net of the key bits that authentication consumed"),
    ),
    Family(
        "BBM92 finite key, small blocks (Lim-Xu-Pan-Ekert 2021)", "lim2021",
        small_blocks.Lim2021Inputs, small_blocks.lim2021_length, "ell", True,
        "Lim, Xu, Pan and Ekert, Phys. Rev. Lett. 126, 100501 (2021)",
        (*_IDEAL_RECEIVERS, _FIXED_LENGTH, "eps_qkd = 2^-t_hash + 2 eps_pe + eps_pa"),
    ),
    Family(
        "BBM92 finite key, complete proof (Tomamichel-Leverrier 2017, c=1/2)", "tl2017",
        bbm92_finite.Tl2017Inputs, bbm92_finite.tl2017_length, "ell", True,
        "Tomamichel and Leverrier, Quantum 1, 14 (2017), Theorems 2 and 3",
        (*_IDEAL_RECEIVERS, _FIXED_LENGTH, "eps_qkd = 2^-t_hash + eps_pe + eps_pa"),
    ),
    Family(
        "BBM92/BB84 finite key, fixed length (Tomamichel-Lim-Gisin-Renner 2012, q=1)", "tlgr2012",
        bbm92_finite.Tlgr2012Inputs, bbm92_finite.tlgr2012_length, "ell", True,
        "Tomamichel, Lim, Gisin and Renner, Nat. Commun. 3, 634 (2012)",
        (*_IDEAL_RECEIVERS, _FIXED_LENGTH,
         "eps_sec is the distance to the best ideal state; log_numerator = 4 counts smoothing twice"),
    ),
    Family(
        "decoy BB84, one decoy, consolidated proof (arXiv:2405.16578)", "wiesemann2024",
        decoy.OneDecoyInputs, decoy.wiesemann2024_length, "ell_real", True,
        "Wiesemann et al., arXiv:2405.16578v3 (2026)",
        (_DECOY, "eps_sec in 15 equal parts; Serfling's bound for phase errors; vacuum clicks left out"),
    ),
    Family(
        "decoy BB84, one decoy (Rusca et al. 2018)", "rusca2018",
        decoy.OneDecoyInputs, decoy.rusca2018_length, "ell_real", False,
        "Rusca et al., Appl. Phys. Lett. 112, 171104 (2018), arXiv:1801.03443",
        (_DECOY, "eps_sec in 19 equal parts", _REPAIRED),
    ),
    Family(
        "decoy BB84, two decoys, Hoeffding (Lim et al. 2014)", "lim2014",
        decoy.TwoDecoyInputs, decoy.lim2014_length, "ell_real", False,
        "Lim et al., Phys. Rev. A 89, 022307 (2014), Eqs. (1) to (5)",
        (_DECOY, "eps_sec in 21 equal parts", _REPAIRED),
    ),
    Family(
        "asymptotic BBM92", "asym-bbm92",
        asymptotic.AsymptoticInputs, asymptotic.asymptotic_rate, "rate_per_sifted_bit", False,
        "Shor and Preskill, Phys. Rev. Lett. 85, 441 (2000)",
        ("infinitely many bits, coherent attacks, one-way reconciliation", "asymptotic: never a key length"),
    ),
    Family(
        "device-independent (Acin 2007), one-way, asymptotic, collective", "di-asym",
        device_independent.DeviceIndependentInputs, device_independent.device_independent_rate, "rate", False,
        "Acin et al., Phys. Rev. Lett. 98, 230501 (2007)",
        ("infinitely many pairs, collective attacks, no loophole open", "a diagnostic: never a key length"),
    ),
    Family(
        "CHSH S and error bar", "chsh",
        device_independent.ChshInputs, device_independent.chsh, "S", False,
        "Clauser, Horne, Shimony and Holt, Phys. Rev. Lett. 23, 880 (1969); var E = (1 - E^2)/N",
        ("S = E00 - E01 + E10 + E11; counts of a setting pair as ++, +-, -+, --", "a diagnostic: never a key length"),
    ),
    Family(
        "smallest one-way leakage at frame error eps (normal approximation, Tomamichel et al. 2017)", "oneway-limit",
        one_way.OneWayInputs, one_way.one_way_limit, "f_min", False,
        "Tomamichel, Martinez-Mateo, Pacher and Elkouss, Quantum Inf. Process. 16, 280 (2017)",
        ("independent errors; one-way reconciliation; normal approximation",),
    ),
    Family(
        "one-time MAC, substitution probability per message", "mac-eps",
        authentication.MacInputs, authentication.mac_bound, "log2_eps", False,
        "Bernstein, FSE 2005, Theorem 3.3 (Poly1305); Wegman and Carter, J. Comput. Syst. Sci. 22, 265 (1981)",
        ("hash key and mask are secret key bits; no mask is used twice",),
    ),
    Family(
        "bbm92-asym", "bbm92-asym",
        link_models.PairInputs, link_models.pair_asymptotic, "rate_per_pulse", False,
        "Ma, Fung and Lo, Phys. Rev. A 76, 012307 (2007)", (_MODEL,),
    ),
    Family(
        "bbm92-finite", "bbm92-finite",
        link_models.PairFiniteInputs, link_models.pair_finite, "rate_per_pulse", False,
        "Attema, Bosman and Neumann, Quantum Inf. Process. 20, 154 (2021), for entangled pairs",
        (_MODEL, "a Gaussian-like allowance on all coincidences: finite in name only"),
    ),
    Family(
        "bb84-decoy-asym", "bb84-decoy-asym",
        link_models.WeakPulseInputs, link_models.weak_pulse_asymptotic, "rate_per_pulse", False,
        "Attema, Bosman and Neumann, Quantum Inf. Process. 20, 154 (2021)", (_MODEL, "infinitely many decoys"),
    ),
    Family(
        "bb84-single", "bb84-single",
        link_models.SinglePhotonInputs, link_models.single_photon_asymptotic, "rate_per_pulse", False,
        "Attema, Bosman and Neumann, Quantum Inf. Process. 20, 154 (2021)", (_MODEL, "ideal single photons"),
    ),
)  # fmt: skip
"""In the order in which a person with a link should try them."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One family at one set of inputs."""

    family: Family
    inputs: dict[str, Any]
    """As given, without those left at their default."""
    terms: dict[str, Any]

    @property
    def value(self) -> Any:
        """The term that answers the question."""
        return self.terms[self.family.result]


def find_family(name: str) -> Family:
    """Return the family of that full name or short id, in any case of letters.

    Raises
    ------
    UsageError
        With all short ids, if there is none.
    """
    wanted = name.strip().casefold()
    for family in FAMILIES:
        if wanted in (family.name.casefold(), family.short.casefold()):
            return family
    message = (
        f"unknown family {name!r}; known are {', '.join(family.short for family in FAMILIES)}, or their full names"
    )
    raise UsageError(message)


def evaluate(family: Family, inputs: Mapping[str, Any]) -> Evaluation:
    """Return the terms of a family for inputs by name.

    Raises
    ------
    UsageError
        Naming the family, and the input that is unknown, missing or out of range.
    """
    try:
        terms = family.evaluate(read_inputs(family.inputs, inputs))
    except UsageError as error:
        message = f"{family.short}: {error}"
        raise UsageError(message) from error
    return Evaluation(family, dict(inputs), asdict(terms))
