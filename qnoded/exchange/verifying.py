"""Error verification: alice sends a hash of her corrected block, bob says whether his has the same."""

from __future__ import annotations

from qnoded.exchange.effects import Script, compute, demand, receive, send
from qnoded.exchange.messages import Verdict, VerificationDigest
from qnoded.stages.reconciliation.reconciled import ReconciledBlock
from qnoded.stages.verification import agrees, digest


def alice(reconciled: ReconciledBlock, seed: bytes, digest_bytes: int) -> Script[bool]:
    """Return whether both ends hold the same block, up to the failure probability of ``stages.verification``.

    Parameters
    ----------
    reconciled : the corrected block
    seed : 16 public random bytes, drawn now and not before
    digest_bytes : what both ends agreed on, 4 to 16
    """
    own = yield from compute(digest, reconciled.block, reconciled.block_bits, seed, digest_bytes)
    yield from send(VerificationDigest(seed, own))
    return (yield from receive(Verdict)).equal


def bob(reconciled: ReconciledBlock, digest_bytes: int) -> Script[bool]:
    """Compare with alice's hash; as for alice."""
    theirs = yield from receive(VerificationDigest)
    demand(
        len(theirs.digest) == digest_bytes,
        f"a digest of {len(theirs.digest)} bytes arrived, {digest_bytes} are due; both ends need one security budget",
    )
    equal = yield from compute(
        agrees, reconciled.block, reconciled.block_bits, theirs.seed, theirs.digest, digest_bytes
    )
    yield from send(Verdict(equal))
    return equal
