"""One block's key length in loose inputs and plain terms, as ``qnoded keyrate block`` takes and shows them."""

from __future__ import annotations

from dataclasses import dataclass

from qnoded.stages.key_length.block import SiftedCounts, block_key_length
from qnoded.stages.key_length.budget import SecurityBudget
from qnoded.stages.key_length.entropy import binary_entropy
from qnoded.stages.key_length.inputs import demand, demand_efficiency

_DEFAULT: SecurityBudget = SecurityBudget()


@dataclass(frozen=True, slots=True)
class BlockInputs:
    """One block; one of ``leak_bits`` and ``f_ec`` says what reconciliation discloses."""

    n_key: int
    """Sifted bits that the key is made from."""
    k_test: int
    """Sifted bits whose errors are counted."""
    test_errors: int
    """Errors among them."""
    leak_bits: float | None = None
    """Bits disclosed by reconciliation."""
    f_ec: float | None = None
    """Instead of them: f_ec n_key h(test_errors / k_test)."""
    tolerance: float | None = None
    """Error rate agreed before the data; none for a variable length."""
    basis_bits: tuple[int, ...] = ()
    """Bits of each basis, key and test bits together, as a live link counts them; none: equal shares."""
    authentication_bits: int = 0
    eps_sec: float = _DEFAULT.eps_sec
    eps_cor: float = _DEFAULT.eps_cor
    eps_auth: float = _DEFAULT.eps_auth
    verification_bits: int | None = None

    def __post_init__(self) -> None:
        once = (self.leak_bits is None) != (self.f_ec is None)
        accepted = "one of them: disclosed bits or reconciliation efficiency"
        demand(once, "leak_bits, f_ec", (self.leak_bits, self.f_ec), accepted)
        if self.f_ec is not None:
            demand_efficiency("f_ec", self.f_ec)


@dataclass(frozen=True, slots=True)
class BlockTerms:
    """A block's key length in plain values; the fields of ``block.KeyLength``."""

    bits: int
    authentication_bits: int
    net_bits: int
    reason: str
    advice: str
    more_sifted_bits: int | None
    bound: str
    leak_bits: float
    hash_bits: int
    test_error_rate: float
    phase_error_rate: float
    eps_estimation: float
    eps_amplification: float
    eps_total: float


def block_length(inputs: BlockInputs) -> BlockTerms:
    """Return ``block.block_key_length`` of these inputs, in plain values."""
    budget = SecurityBudget(inputs.eps_sec, inputs.eps_cor, inputs.eps_auth, inputs.verification_bits)
    leak = inputs.leak_bits
    if leak is None:
        assert inputs.f_ec is not None
        # Before the counts are checked: a block without test bits has no error rate to speak of.
        leak = inputs.f_ec * inputs.n_key * binary_entropy(inputs.test_errors / max(1, inputs.k_test))
    counts = SiftedCounts(inputs.n_key, inputs.k_test, inputs.test_errors, leak, inputs.basis_bits)
    length = block_key_length(
        counts, budget, tolerance=inputs.tolerance, authentication_bits=inputs.authentication_bits
    )
    return BlockTerms(
        bits=length.bits,
        authentication_bits=length.authentication_bits,
        net_bits=length.net_bits,
        reason=length.reason.name.lower(),
        advice=length.advice,
        more_sifted_bits=length.more_sifted_bits,
        bound=length.bound.value,
        leak_bits=leak,
        hash_bits=length.hash_bits,
        test_error_rate=length.test_error_rate,
        phase_error_rate=length.phase_error_rate,
        eps_estimation=length.eps_estimation,
        eps_amplification=length.eps_amplification,
        eps_total=budget.eps_total,
    )
