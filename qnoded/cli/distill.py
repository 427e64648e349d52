"""Distil secret keys from two files of sifted bits: sample, reconcile, verify, amplify, by the scripts of a live link.

Files are text of 0 and 1 with any white space, or packed bits (first bit highest) as .bin or .npy with --bits N. Keys
are never printed; with --out each end's is written packed, readable by its owner alone.

  qnoded analyze alice.npz bob.npz --sifted bits && qnoded distill bits/alice.txt bits/bob.txt --out keys
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from qnoded.analysis.distilling import Distillation

LEAK_COUNTS: Final = ("alice", "transcript")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``qnoded distill``."""
    parser.add_argument("alice", metavar="ALICE", type=Path, help="alice's sifted bits")
    parser.add_argument("bob", metavar="BOB", type=Path, help="bob's sifted bits")
    parser.add_argument("--bits", metavar="N", type=int, help="number of bits in packed files")
    parser.add_argument("--method", default="cascade", help="of reconciliation (default: cascade)")
    parser.add_argument(
        "--leak", choices=LEAK_COUNTS, default="alice",
        help="leaked bits: alice's parities, bob's being left to the entropy bound, or the whole transcript",
    )  # fmt: skip
    parser.add_argument("--eps-sec", metavar="E", type=float, default=1e-10, help="secrecy (default: 1e-10)")
    parser.add_argument("--eps-cor", metavar="E", type=float, default=1e-15, help="correctness (default: 1e-15)")
    parser.add_argument(
        "--planned-qber", metavar="Q", type=float, default=0.03,
        help="error rate known before, for the size of the sample (default: 0.03)",
    )  # fmt: skip
    parser.add_argument("--out", metavar="DIR", type=Path, help="write alice.key, bob.key (mode 0600) and key.json")
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of the report")


def run(args: argparse.Namespace) -> int:
    """Distil, report, and return 0 if both ends hold the same key, 1 if there is none."""
    import json

    from qnoded.analysis.distilling import distill, to_json, write_keys
    from qnoded.analysis.sifted_reading import read_sifted
    from qnoded.analysis.two_files import demand_two_files
    from qnoded.errors import UsageError
    from qnoded.exchange.distilling import Agreement
    from qnoded.exchange.reconciling import METHODS
    from qnoded.stages.key_length.budget import SecurityBudget
    from qnoded.stages.reconciliation.reconciled import LeakCount

    if args.method not in METHODS:
        problem = f"--method {args.method} is not known; use {' or '.join(METHODS)}"
        raise UsageError(problem)
    demand_two_files(args.alice, args.bob, "give what alice and what bob has sifted")
    budget = SecurityBudget(eps_sec=args.eps_sec, eps_cor=args.eps_cor)
    result = distill(
        read_sifted(args.alice, args.bits),
        read_sifted(args.bob, args.bits),
        lambda test_bits: Agreement(test_bits, args.method, LeakCount(args.leak), budget),
        planned_rate=args.planned_qber,
    )
    if args.out is not None and result.has_key:
        write_keys(result, args.out)
    if args.json:
        print(json.dumps(to_json(result), indent=2, allow_nan=False))
    else:
        _report(result, args.out)
    return 0 if result.has_key else 1


def _report(result: Distillation, out: Path | None) -> None:
    from qnoded.analysis.distilling import to_json

    facts = to_json(result)
    bits, errors = facts["bits"], facts["errors"]
    quality = "" if facts["efficiency"] is None else f", f = {facts['efficiency']:.3f}"
    print(f"sifted      {bits:>12,} bits, {errors:,} errors, QBER {facts['qber']:.3%}")
    print(f"sample      {facts['test_bits']:>12,} bits revealed, {facts['test_errors']:,} errors")
    print(
        f"{facts['method']:11} {facts['leaked_bits']:>12,} bits leaked of {facts['corrected_bits']:,}{quality}, "
        f"{facts['rounds']} round trips"
    )
    if facts["hash_bits"] is not None:
        print(f"verified    {facts['hash_bits']:>12,} bits of hash, {'equal' if facts['equal'] else 'NOT EQUAL'}")
    if facts["secret_bits"]:
        mark = "  SIMULATED: not a key" if facts["simulated"] else ""
        print(
            f"key         {facts['secret_bits']:>12,} bits at both ends, eps_sec {facts['eps_sec']:g}, "
            f"eps_cor {facts['eps_cor']:g}{mark}"
        )
    else:
        print(f"no key: {facts['reason']}; {facts['advice']}")
    print(f"in {facts['elapsed_s']:.2f} s" + (f", written to {out}" if out is not None and result.has_key else ""))
    print("This rests on:")
    for sentence in facts["assumptions"]:
        print(f"  - {sentence}")
