"""Two files of sifted bits to secret keys at both ends, through the same scripts as a live link.

Without the bases of the bits, the model is the simplest one: a random sample of the sifted bits is revealed and its
error rate bounds that of the rest, in either basis. ``ASSUMPTIONS`` says what that takes.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any, Final

from qnoded.analysis.sample_size import best_test_bits
from qnoded.analysis.sifted_reading import SiftedFile
from qnoded.errors import UsageError
from qnoded.exchange import distilling
from qnoded.exchange.distilling import Agreement, Discard, DiscardReason, DistilledKey
from qnoded.exchange.in_memory import run_both
from qnoded.exchange.sampling import Randomness
from qnoded.stages.reconciliation.cascade import SHORTEST_BLOCK
from qnoded.stages.reconciliation.reconciled import LeakCount, efficiency

PLANNED_RATE: Final = 0.03
"""Error rate with which the sample is planned unless one is given: typical of a link in the field."""
KEY_FILE_MODE: Final = 0o600

ASSUMPTIONS: Final = (
    "Test bits are a uniformly random sample of the sifted bits, revealed and thrown away; its size was fixed for a "
    "planned error rate before the bits were looked at.",
    "Both receivers measure qubits in two complementary bases with equal detector efficiencies, and the bits of both "
    "bases are mixed in equal shares: so the sampled error rate bounds the phase error rate of the rest.",
    "The length is variable, from the observed error rate and the counted leak (Serfling; arXiv:2408.17349).",
    "The classical channel is authenticated; both ends run in this process, so no key was spent on it.",
)
LEAK_ASSUMPTIONS: Final = {
    LeakCount.ALICE: "Leak: alice's parities. Bob's reveal the error pattern, which the bound leaves to the "
    "eavesdropper: it commutes with the phase errors of qubits (arXiv:2307.00576, second remedy).",
    LeakCount.TRANSCRIPT: "Leak: every parity of both ends (arXiv:2307.00576, first remedy).",
}


@dataclass(frozen=True, slots=True)
class Distillation:
    """What came of two files."""

    alice: DistilledKey | Discard
    bob: DistilledKey | Discard
    agreement: Agreement
    simulated: bool
    elapsed_s: float

    @property
    def equal(self) -> bool:
        """Whether both ends hold the same: equal keys, or without a key blocks that passed verification."""
        if isinstance(self.alice, DistilledKey) and isinstance(self.bob, DistilledKey):
            return self.alice.key == self.bob.key
        return all(isinstance(end, Discard) and end.reason is DiscardReason.NO_LENGTH for end in (self.alice, self.bob))

    @property
    def has_key(self) -> bool:
        """Whether both ends hold the same secret key."""
        return isinstance(self.alice, DistilledKey) and isinstance(self.bob, DistilledKey) and self.equal


def distill(
    alice: SiftedFile,
    bob: SiftedFile,
    agreement: Callable[[int], Agreement],
    *,
    planned_rate: float = PLANNED_RATE,
    randomness: Randomness = os.urandom,
) -> Distillation:
    """Distil one block from two ends' sifted bits.

    Parameters
    ----------
    alice, bob : equally many sifted bits
    agreement : makes what both ends settle on, from the number of test bits
    planned_rate : error rate for which the sample is planned, 0 to 0.5; known before the bits
    randomness : seeds; ``os.urandom`` unless a test wants to repeat

    Raises
    ------
    UsageError
        If the ends have different numbers of bits, or too few, or the rate is none.
    """
    if alice.bits.size != bob.bits.size:
        problem = (
            f"alice has {alice.bits.size:,} sifted bits, bob {bob.bits.size:,}; give both ends of the same coincidences"
        )
        raise UsageError(problem)
    if alice.bits.size <= SHORTEST_BLOCK:
        problem = f"{alice.bits.size} sifted bits are too few to reconcile; give more than {SHORTEST_BLOCK}"
        raise UsageError(problem)
    if not 0.0 <= planned_rate <= 0.5:
        problem = f"a planned error rate of {planned_rate:g} is none; give 0 to 0.5"
        raise UsageError(problem)
    started = monotonic()
    settled = agreement(best_test_bits(alice.bits.size, planned_rate, agreement(1)))
    at_alice, at_bob = run_both(distilling.alice(alice.bits, settled, randomness), distilling.bob(bob.bits, settled))
    simulated = alice.simulated or bob.simulated
    return Distillation(at_alice, at_bob, settled, simulated, monotonic() - started)


def to_json(result: Distillation) -> dict[str, Any]:
    """Return the result as one JSON document, without any secret."""
    end, accounts, budget = result.alice, result.alice.accounts, result.agreement.budget
    is_key = isinstance(end, DistilledKey)
    length = end.length
    return {
        "equal": result.equal,
        "bits": accounts.sifted_bits,
        "errors": accounts.errors,
        "qber": accounts.errors / accounts.sifted_bits,
        "efficiency": efficiency(accounts.leaked_bits, accounts.block_bits, accounts.corrected_errors),
        "leaked_bits": accounts.leaked_bits,
        "rounds": accounts.round_trips,
        "secret_bits": length.bits if is_key and length else 0,
        "eps_sec": budget.eps_sec,
        "eps_cor": budget.eps_cor,
        "method": result.agreement.method,
        "elapsed_s": result.elapsed_s,
        "simulated": result.simulated,
        "reason": None if isinstance(end, DistilledKey) else end.reason.value,
        "advice": None if isinstance(end, DistilledKey) else end.advice,
        "more_sifted_bits": length.more_sifted_bits if length else None,
        "test_bits": accounts.test_bits,
        "test_errors": accounts.test_errors,
        "corrected_bits": accounts.block_bits,
        "corrected_errors": accounts.corrected_errors,
        "exchanges": accounts.exchanges,
        "hash_bits": length.hash_bits if length else None,
        "phase_error_rate": length.phase_error_rate if length else None,
        "leak_count": result.agreement.leak_count.value,
        "bound": length.bound.value if length else None,
        "assumptions": list(assumptions(result.agreement)),
    }


def assumptions(agreement: Agreement) -> tuple[str, ...]:
    """Return what the length of the key rests on, in sentences."""
    return (*ASSUMPTIONS, LEAK_ASSUMPTIONS[agreement.leak_count])


def write_keys(result: Distillation, folder: Path) -> None:
    """Write ``alice.key`` and ``bob.key``, packed bits for their owner's eyes only, and ``key.json`` beside them.

    Raises
    ------
    UsageError
        If a file cannot be written or is there already: a key is never overwritten.
    """
    assert isinstance(result.alice, DistilledKey)
    assert isinstance(result.bob, DistilledKey)
    facts = {
        "bits": result.alice.length.bits,
        "secret": not result.simulated,
        "simulated": result.simulated,
        "eps_sec": result.agreement.budget.eps_sec,
        "eps_cor": result.agreement.budget.eps_cor,
        "assumptions": list(assumptions(result.agreement)),
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _write_owned(folder / "alice.key", result.alice.key.view())
        _write_owned(folder / "bob.key", result.bob.key.view())
        (folder / "key.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    except FileExistsError as error:
        problem = (
            f"--out {folder}: {error.filename} is there already and a key is never overwritten; name another folder"
        )
        raise UsageError(problem) from None
    except OSError as error:
        problem = f"--out {folder}: {error.strerror}; name a folder that can be written"
        raise UsageError(problem) from None


def _write_owned(path: Path, content: memoryview) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, KEY_FILE_MODE)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(descriptor, KEY_FILE_MODE)
        file.write(content)
