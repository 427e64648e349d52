"""Speed of key distillation, piece by piece beside other exact ways, on one core; and the whole chain.

Rows in Mbit/s or Gbit/s of input. Targets are those of the best instructions that this processor offers.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from statistics import median
from typing import Final, TypeVar

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from qnoded.bench.measuring import OWN, Row, median_seconds
from qnoded.exchange import distilling, reconciling
from qnoded.exchange.distilling import Agreement, DistilledKey
from qnoded.exchange.effects import Compute, Script
from qnoded.exchange.in_memory import run_both
from qnoded.kernels.carryless import NAMES, offers, widest
from qnoded.kernels.toeplitz import toeplitz_product
from qnoded.records import U8
from qnoded.stages.key_length.entropy import binary_entropy
from qnoded.stages.reconciliation import ldpc
from qnoded.stages.reconciliation.cascade import SEED_BYTES as CASCADE_SEED_BYTES
from qnoded.stages.reconciliation.cascade import Cascade, cascade_plan
from qnoded.stages.reconciliation.reconciled import ReconciledBlock, efficiency
from qnoded.stages.universal_hash import Purpose, universal_hash

T = TypeVar("T")

OUTPUT_SHARE: Final = 0.3
"""Bits of key for each bit hashed, as on a link with some 5 % of errors."""
TOEPLITZ_TARGETS: Final = {10**6: (200.0, 50.0), 10**7: (60.0, 12.0), 10**8: (20.0, 8.0)}
"""Bits of the block -> Mbit/s with AVX-512 and without."""
TAG_TARGETS: Final = (20.0, 8.0)
"""Gbit/s at 64 KiB with AVX-512 and without."""
CASCADE_TARGETS: Final = {
    (10**5, 0.03): 80.0,
    (10**6, 0.01): None,
    (10**6, 0.03): 80.0,
    (10**6, 0.05): None,
    (10**6, 0.11): None,
}
"""(Bits of a block, error rate) -> Mbit/s, both ends' work on one core; the figure published for cascade-cpp is 12."""
CASCADE_KEYS: Final = {10**4: 20, 10**5: 8}
"""Blocks in flight together, so that a message is worth its overhead; one where not listed."""
CHAIN_ERROR_RATE: Final = 0.03
CHAIN_TEST_SHARE: Final = 20
"""One sifted bit in so many is a test bit."""
CHAIN_TARGET: Final = 20.0
"""Mbit/s of sifted bits, two ends on two cores."""
WIDEST: Final = 8
FFT_LIMIT: Final = 10**7
"""The floating-point twin takes 16 bytes a bit and more."""


def rows(*, quick: bool, repeat: int) -> Iterator[Row]:
    """Measure Toeplitz hashing at each block size and then tags of messages."""
    rng = np.random.default_rng(1)
    for n in (10**5,) if quick else TOEPLITZ_TARGETS:
        yield _toeplitz(rng, n, repeat)
    for size in (4096,) if quick else (4096, 65536, 2**20):
        yield _tag(rng, size, repeat)
    for n, rate in ((10**4, 0.03),) if quick else CASCADE_TARGETS:
        yield _cascade(rng, n, rate, repeat)
    yield from ldpc_rows(quick=quick, repeat=repeat)
    for method in reconciling.METHODS:
        yield _chain(rng, 10**5 if quick else 10**6, method, repeat)


def _toeplitz(rng: np.random.Generator, n: int, repeat: int) -> Row:
    m = int(OUTPUT_SHARE * n)
    seed = rng.integers(0, 256, -(-(n + m - 1) // 8), np.uint8)
    bits = rng.integers(0, 256, -(-n // 8), np.uint8)
    best = widest()
    run: dict[str, Callable[[], object]] = {
        (OWN if width == best else _name(width)): partial(toeplitz_product, seed, bits, n, m, width=width)
        for width in (best, *(w for w in (4, 2, 0) if w < best and (not w or offers(w))))
    }
    if n <= FFT_LIMIT:
        run["float64 FFT"] = partial(_by_fft, seed, bits, n, m)
    speeds = {name: n / duration / 1e6 for name, duration in median_seconds(run, repeat).items()}
    target = TOEPLITZ_TARGETS.get(n, (None, None))[0 if best == WIDEST else 1]
    what = f"Toeplitz hash, {n:.0e} bits to {OUTPUT_SHARE} of it"
    return Row(what, "Mbit/s", speeds.pop(OWN), speeds, target, note=_name(best))


def _tag(rng: np.random.Generator, size: int, repeat: int) -> Row:
    message, point = rng.bytes(size), rng.bytes(16)
    calls = max(1, 2**20 // size)
    best = widest()

    def many(width: int) -> None:
        for _ in range(calls):
            universal_hash(message, point, Purpose.ALICE_TO_BOB, width=width)

    run: dict[str, Callable[[], object]] = {
        (OWN if width == best else _name(width)): partial(many, width)
        for width in (best, *(w for w in (4, 2, 0) if w < best and (not w or offers(w))))
    }
    speeds = {name: 8 * size * calls / duration / 1e9 for name, duration in median_seconds(run, repeat).items()}
    target = TAG_TARGETS[0 if best == WIDEST else 1] if size == 2**16 else None
    what = f"hash for a tag, GF(2^128), {size} bytes"
    return Row(what, "Gbit/s", speeds.pop(OWN), speeds, target, note=_name(best))


def _cascade(rng: np.random.Generator, n: int, rate: float, repeat: int) -> Row:
    keys = CASCADE_KEYS.get(n, 1)
    alice = rng.integers(0, 256, (keys, n // 8), np.uint8)
    bob = alice ^ np.packbits(rng.random((keys, n)) < rate, axis=1)
    ended: list[ReconciledBlock] = []

    def both_ends() -> None:
        plan = cascade_plan(n, rate, rng.bytes(CASCADE_SEED_BYTES))
        ends = (Cascade(alice, plan, corrects=False), Cascade(bob, plan, corrects=True))
        while not ends[0].done:
            from_alice, from_bob = (end.parities.copy() for end in ends)
            ends[0].take(from_bob)
            ends[1].take(from_alice)
        ended.extend(ends[1].reconciled())

    seconds = median_seconds({OWN: both_ends}, repeat)[OWN]
    quality = np.mean([efficiency(block.disclosed.alice_bits, n, block.errors) or 0.0 for block in ended])
    trips = np.mean([block.round_trips for block in ended])
    note = f"both ends on one core, {keys} in flight, f = {quality:.3f}, {trips:.0f} round trips"
    target = CASCADE_TARGETS.get((n, rate))
    return Row(
        f"Cascade, {n:.0e} bits, {rate:.0%} errors", "Mbit/s", keys * n / seconds / 1e6, target=target, note=note
    )


def _chain(rng: np.random.Generator, n: int, method: str, repeat: int) -> Row:
    """Measure both ends of a block from sifted bits to the key: what a link needs, its messages not counted.

    A link has many blocks in work at once, so with a core for each end the busier one sets the pace.
    """
    alice = rng.integers(0, 2, n, np.uint8)
    bob: U8 = np.bitwise_xor(alice, rng.random(n) < CHAIN_ERROR_RATE, dtype=np.uint8)
    agreement = Agreement(test_bits=n // CHAIN_TEST_SHARE, method=method)
    lengths: list[int] = []
    busier_s: list[float] = []

    def both_ends() -> None:
        clocks = _Clock(), _Clock()
        ends = run_both(
            clocks[0].timed(distilling.alice(alice, agreement, rng.bytes)),
            clocks[1].timed(distilling.bob(bob, agreement)),
        )
        busier_s.append(max(clock.seconds for clock in clocks))
        for end in ends:
            assert isinstance(end, DistilledKey)
            lengths.append(end.length.bits)

    seconds = median_seconds({OWN: both_ends}, repeat)[OWN]
    what = f"whole chain, {method}, {n:.0e} sifted bits, {CHAIN_ERROR_RATE:.0%} errors"
    note = f"a core for each end, {np.mean(lengths) / n:.3f} bits of key for each"
    twins = {"both ends on one core": n / seconds / 1e6}
    return Row(what, "Mbit/s", n / median(busier_s[-repeat:]) / 1e6, twins, CHAIN_TARGET, note=note)


class _Clock:
    """How long one of two scripts that take turns was at work."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def timed(self, script: Script[T]) -> Script[T]:
        """Run a script, with what it wants computed, on this clock."""
        answer: object = None
        while True:
            start = time.perf_counter()
            try:
                effect = script.send(answer)
                while isinstance(effect, Compute):
                    effect = script.send(effect.work())
            except StopIteration as stop:
                result: T = stop.value
                return result
            finally:
                self.seconds += time.perf_counter() - start
            answer = yield effect


def _name(width: int) -> str:
    return NAMES.get(width, "no carry-less instruction")


def _by_fft(seed: NDArray[np.uint8], bits: NDArray[np.uint8], n: int, m: int) -> NDArray[np.uint8]:
    """Read the product off a convolution of floats: what is commonly done, and exact only within its rounding."""
    length = scipy.fft.next_fast_len(n + m - 1, real=True)
    spectrum = scipy.fft.rfft(np.unpackbits(bits, count=n).astype(np.float64), length)
    spectrum *= scipy.fft.rfft(np.unpackbits(seed, count=n + m - 1).astype(np.float64), length)
    sums = scipy.fft.irfft(spectrum, length, overwrite_x=True)[n - 1 : n + m - 1]
    return np.packbits(np.rint(sums).astype(np.int64).astype(np.uint8) & 1)


LDPC_TARGETS: Final = (8.0, 3.0)
"""Mbit/s with AVX-512 and without; what was measured of others of equal quality decodes 0.7."""
LDPC_FRAMES: Final = 4
"""Different blocks behind one figure: iterations differ from block to block."""


def ldpc_rows(*, quick: bool, repeat: int) -> Iterator[Row]:
    """Measure LDPC decoding on one core at the leak that is planned for the true error rate."""
    for block_bits in (10**5,) if quick else (8 * 10**5, 10**5):
        for qber in (0.03,) if quick else (0.01, 0.02, 0.03, 0.05, 0.08, 0.11):
            yield _ldpc(block_bits, qber, repeat)


def _ldpc(block_bits: int, qber: float, repeat: int) -> Row:
    rng = np.random.default_rng(2)
    plan = ldpc.plan_block(block_bits, qber)
    cases = []
    for _ in range(LDPC_FRAMES):
        bits = rng.integers(0, 2, block_bits, dtype=np.uint8)
        private = rng.integers(0, 2, plan.punctured_bits, dtype=np.uint8)
        errors = (rng.random(block_bits) < qber).astype(np.uint8)
        cases.append((bits, bits ^ errors, ldpc.encode(plan, bits, private)))
    equal = 0

    def run() -> None:
        nonlocal equal
        equal = sum(
            np.array_equal(ldpc.decode(plan, theirs, qber, syndrome).bits, bits) for bits, theirs, syndrome in cases
        )

    seconds = median_seconds({OWN: run}, repeat)[OWN]
    efficiency = plan.leaked_bits / (block_bits * binary_entropy(qber))
    target = LDPC_TARGETS[0 if offers(WIDEST) else 1] if block_bits > 10**5 else None
    what = f"LDPC, {block_bits:.0e} bits, QBER {100 * qber:g} %"
    note = f"f {efficiency:.3f}, {equal} of {LDPC_FRAMES} blocks at the first try; bob's decoding"
    return Row(what, "Mbit/s", LDPC_FRAMES * block_bits / seconds / 1e6, {}, target, note=note)
