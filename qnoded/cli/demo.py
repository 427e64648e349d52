"""A simulated link measured on this machine: photons, two clocks that know nothing of each other, sifted bits.

A source between two nodes, 10 km of fibre, four detectors a side. The truth is known, so the result is checked
against it. What is made here are sifted bits, not secret: see qnoded distill.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, Final

SECONDS: Final = 10.0
"""Long enough to see clock and QBER move, short enough to watch."""
LONGEST_SECONDS: Final = 3600.0
"""An hour of photons is some gigabytes in the temporary folder."""
CHSH_SECONDS: Final = 2.0
"""At the usual rates S is then known to 0.01."""
CHSH_ANGLE_DEG: Final = 22.5
"""Where a maximally entangled pair violates the CHSH inequality most."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``qnoded demo``."""
    parser.add_argument("--seconds", type=float, default=SECONDS, help=f"simulated time (default: {SECONDS:g})")
    parser.add_argument("--seed", type=int, default=2026, help="seed of the simulated photons (default: 2026)")
    parser.add_argument("--plot", metavar="DIR", type=Path, help="write PNGs of delays, matrix, QBER and clock")
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of the report")


def run(args: argparse.Namespace) -> int:
    """Simulate, analyze, compare with the truth; return 0 only if they agree."""
    import json
    import tempfile

    from qnoded.analysis.options import AnalysisOptions
    from qnoded.analysis.result import Analysis, to_json
    from qnoded.analysis.run import analyze
    from qnoded.analysis.text import print_report
    from qnoded.analysis.verdict import checks_of
    from qnoded.cli.progress import Progress
    from qnoded.cli.simulate import record
    from qnoded.errors import UsageError
    from qnoded.sim import World, WorldSettings
    from qnoded.sim.changes import load_world

    if not 0.0 < args.seconds <= LONGEST_SECONDS:
        problem = f"--seconds {args.seconds:g} is out of range; use more than 0 and at most {LONGEST_SECONDS:g}"
        raise UsageError(problem)
    if args.seed < 0:
        problem = f"--seed {args.seed} is negative; use 0 or more"
        raise UsageError(problem)

    def measured(settings: WorldSettings, seconds: float) -> tuple[Analysis, dict[str, Any]]:
        with tempfile.TemporaryDirectory(prefix="qnoded-demo-") as name, Progress() as progress:
            files, truth = record(World(settings, args.seed), seconds, Path(name), "npz", progress)
            recordings = Path(files["alice"]), Path(files["bob"])
            return analyze(*recordings, AnalysisOptions(), progress=progress), truth

    usual, turned = WorldSettings(), load_world(None, [f"bob.analyser.angle_deg={CHSH_ANGLE_DEG:g}"])
    analysis, truth = measured(usual, args.seconds)
    interlude, interlude_truth = measured(turned, min(args.seconds, CHSH_SECONDS))
    checks = (
        *checks_of(analysis, truth),
        *(one for one in checks_of(interlude, interlude_truth) if "CHSH" in one.what),
    )
    agrees = all(check.holds for check in checks)
    if args.plot is not None and analysis.stands:
        from qnoded.analysis.plots import write_plots

        write_plots(analysis, args.plot)
    if args.json:
        document = to_json(analysis) | {
            "chsh": to_json(interlude)["chsh"],
            "agrees": agrees,
            "checks": [{"what": check.what, "holds": check.holds, "numbers": check.numbers} for check in checks],
        }
        print(json.dumps(document, indent=2, allow_nan=False))
        return 0 if agrees else 1
    print(
        f"Simulated: {args.seconds:g} s of a pair source, alice next to it, bob behind "
        f"{usual.bob.fibre.length_km:g} km of fibre.\n"
        "Neither clock knows the other; what follows was found from the photons alone.\n"
    )
    print_report(analysis)
    chsh = interlude.link.estimate.bell.chsh if interlude.link is not None else None
    if chsh is not None:
        print(
            f"\nBell test: bob's analyser turned by {CHSH_ANGLE_DEG:g} degrees for {interlude.duration_s:g} s: "
            f"S = {chsh.s.value:.3f} +- {chsh.s.error:.3f}, {chsh.sigmas_above_local:.0f} sigma above 2"
        )
    print("\nAgainst the truth of the simulation:")
    for check in checks:
        print(f"  {'ok ' if check.holds else 'NO '} {check.what}: {check.numbers}")
    return 0 if agrees else 1
