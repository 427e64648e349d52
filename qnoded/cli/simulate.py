"""Simulate a source of entangled photon pairs, two fibres and two receivers, and record what their taggers say.

Writes alice's and bob's recordings, each in that node's own clock, and truth.json with what is true of them. The same
settings and seed give the same files.

  qnoded simulate --seconds 10 --out run
  qnoded simulate --set source.pair_rate_hz=2e6 --set bob.clock.preset=tcxo --set bob.fibre.length_km=25 --out run
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from qnoded.units import PS_PER_S

if TYPE_CHECKING:
    from qnoded.sim import World

DEFAULT_SECONDS: Final = 10.0
DEFAULT_SEED: Final = 1
LONGEST_SECONDS: Final = 1e6
"""Eleven days; tags stay exact far longer, but disks do not hold them."""
SUFFIXES: Final = {"npz": "npz", "parquet": "parquet", "text": "txt"}
"""Format -> suffix of the recordings."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``qnoded simulate``."""
    parser.add_argument(
        "--seconds", metavar="S", type=float, default=DEFAULT_SECONDS, help="length in true time (default: %(default)g)"
    )
    parser.add_argument("--seed", metavar="N", type=int, default=DEFAULT_SEED, help="same seed, same photons")
    parser.add_argument(
        "--set", metavar="KEY=VALUE", action="append", default=[], help="change a setting; may be repeated"
    )
    parser.add_argument("--world", metavar="FILE", type=Path, help="TOML file of settings; --set comes after it")
    parser.add_argument("--format", choices=tuple(SUFFIXES), default="npz", help="of the recordings (default: npz)")
    parser.add_argument("--out", metavar="DIR", type=Path, required=True, help="where to write; made if missing")
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of the summary")


def run(args: argparse.Namespace) -> int:
    """Simulate and write; return 0."""
    import json
    from time import monotonic

    from qnoded.cli.progress import Progress
    from qnoded.errors import UsageError
    from qnoded.sim import World
    from qnoded.sim.changes import load_world

    if not 0.0 < args.seconds <= LONGEST_SECONDS:
        problem = f"--seconds {args.seconds:g} cannot be simulated; use more than 0 and at most {LONGEST_SECONDS:g}"
        raise UsageError(problem)
    if args.seed < 0:
        problem = f"--seed {args.seed} is negative; use 0 or more"
        raise UsageError(problem)
    world = World(load_world(args.world, args.set), args.seed)
    started = monotonic()
    with Progress() as progress:
        written, truth = record(world, args.seconds, args.out, args.format, progress)
    elapsed_s = monotonic() - started
    if args.json:
        clock = {key: value for key, value in truth["clock"].items() if key != "trace"}
        document = {"files": written, "elapsed_s": elapsed_s, **truth, "clock": clock}
        print(json.dumps(document, indent=2, allow_nan=False))
    else:
        _summarize(world, truth, written, elapsed_s)
    return 0


def record(
    world: World, seconds: float, folder: Path, format_name: str, progress: Callable[[float, str], None]
) -> tuple[dict[str, str], dict[str, Any]]:
    """Run a world and write alice's and bob's recordings and truth.json; return their paths and the truth.

    Raises
    ------
    UsageError
        If the folder cannot be written.
    """
    from contextlib import ExitStack

    from qnoded.errors import UsageError
    from qnoded.formats import RecordingWriter
    from qnoded.settings import LINEAR_ANGLES_DEG
    from qnoded.sim.truth import as_text

    files = {side: folder / f"{side}.{SUFFIXES[format_name]}" for side in ("alice", "bob")}
    truth_file = folder / "truth.json"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with ExitStack() as writers:
            alice, bob = (
                writers.enter_context(
                    RecordingWriter(
                        path,
                        format=format_name,
                        channels={side: world.channels},
                        angles_deg={
                            side: {
                                name: LINEAR_ANGLES_DEG[name] + getattr(world.settings, side).analyser.angle_deg
                                for name in world.channels
                            }
                        },
                        simulated=True,
                        tick_ps=getattr(world.settings, side).tagger.bin_ps,
                        notes=(f"qnoded simulate, seed {world.seed}, {seconds:g} s",),
                    )
                )
                for side, path in files.items()
            )
            for of_alice, of_bob in world.blocks(seconds):
                alice.write(of_alice)
                bob.write(of_bob)
                progress(world.now_ps / PS_PER_S / seconds, "simulating")
        truth = world.truth
        truth_file.write_text(as_text(truth), encoding="utf-8")
    except OSError as error:
        problem = f"cannot write {error.filename or folder}: {error.strerror or error}; choose another --out"
        raise UsageError(problem) from None
    return {**{side: str(path) for side, path in files.items()}, "truth": str(truth_file)}, truth


def _summarize(world: World, truth: dict[str, Any], written: dict[str, str], elapsed_s: float) -> None:
    """Tell a person what was written and what to expect of it."""
    expected, clock, duration_s = truth["expected"], truth["clock"], truth["duration_s"]
    print(f"{duration_s:g} s of true time in {elapsed_s:.1f} s, seed {world.seed}")
    for side in ("alice", "bob"):
        tags = sum(truth["tags"][side])
        print(f"  {side:5}  {tags:>12,} tags  {tags / duration_s / 1e3:9.1f} kcps  {written[side]}")
    print(f"  {'truth':5}  {'':>12}       {'':>9}       {written['truth']}")
    qber = expected["qber"]
    shares = "  ".join(f"{basis} {_percent(qber[basis])}" for basis in qber)
    print(f"expected in a window of {expected['window_ps']} ps (peak {expected['peak_fwhm_ps']:.0f} ps FWHM):")
    print(f"  pairs {expected['pairs_hz']:.1f} /s, accidentals {expected['accidentals_hz']:.3g} /s, QBER {shares}")
    print(
        f"  bob's clock {clock['offset_total_ps'] / PS_PER_S:+.12f} s with the fibre, "
        f"frequency error {clock['frequency_error']:+.3e}"
    )


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.2f} %"
