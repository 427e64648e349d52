"""Analyze recorded time tags: clock, delays, coincidences, QBER, CHSH and sifted bits.

One file that holds both sides, or two files of two taggers with clocks of their own. What the channel map does not
say is measured. Results go to stdout, progress to stderr.

  qnoded analyze tags.txt.gz --channels map.toml --tick-ps 625/8
  qnoded analyze alice.npz bob.npz --sifted keys --plot plots
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from typing import Final

LONGEST_NUMBER: Final = 30
"""Digits of a number of picoseconds that may be asked for; what it may mean is checked later."""


def whole(text: str) -> int:
    """Read a whole number, also as 1e11, without passing through float."""
    from decimal import Decimal, InvalidOperation

    try:
        number = Decimal(text)
        if number.is_finite() and number == number.to_integral_value() and abs(number.adjusted()) <= LONGEST_NUMBER:
            return int(number)
    except InvalidOperation:
        pass
    problem = f"{text!r} is no whole number"
    raise argparse.ArgumentTypeError(problem)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``qnoded analyze``."""
    # argparse takes -5e-6 for an option unless its pattern of negative numbers knows exponents.
    parser._negative_number_matcher = re.compile(r"^-(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$")  # noqa: SLF001
    parser.add_argument("alice", metavar="A", type=Path, help="recording of alice, or of both sides in one clock")
    parser.add_argument("bob", metavar="B", type=Path, nargs="?", help="recording of bob, in his own clock")
    parser.add_argument("--channels", metavar="MAP.toml", type=Path, help="which input is which detector")
    parser.add_argument("--format", help="format of the recordings, where their content does not tell")
    parser.add_argument("--tick-ps", metavar="R", help="time unit of a recording that does not know it, such as 625/8")
    parser.add_argument("--columns", help="columns of a text recording, such as channel,time")
    parser.add_argument("--window-ps", metavar="N", type=whole, help="full width of the coincidence window")
    parser.add_argument("--pulse-period-ps", metavar="R", help="period of a pulsed source, such as 12500 or 1000000/76")
    parser.add_argument(
        "--multi-click",
        choices=("random", "discard"),
        default="random",
        help="clicks of two detectors of a side in one window: keep one by chance, or none (default: random)",
    )
    clock = parser.add_argument_group("clock of bob against alice's; searched for unless given")
    clock.add_argument("--offset-ps", metavar="N", type=whole, help="known or expected: bob's reading minus alice's")
    clock.add_argument("--frequency-error", metavar="Y", type=float, help="known or expected: 5e-6 runs 5 ppm fast")
    clock.add_argument("--offset-range-s", metavar="S", type=float, default=0.5, help="search +-S s (default: 0.5)")
    clock.add_argument("--frequency-range", metavar="Y", type=float, default=20e-6, help="search +-Y (default: 20e-6)")
    clock.add_argument("--known-clock", action="store_true", help="take --offset-ps and --frequency-error as they are")
    clock.add_argument("--pair-fraction", metavar="H", type=float, help="expected pairs over singles, to search less")
    output = parser.add_argument_group("output")
    output.add_argument("--sifted", metavar="DIR", type=Path, help="write both sides' sifted bits; sifted, not secret")
    output.add_argument("--plot", metavar="DIR", type=Path, help="write PNGs of delays, matrix, QBER and clock")
    output.add_argument("--json", action="store_true", help="print one JSON document instead of the report")


def run(args: argparse.Namespace) -> int:
    """Analyze, report, and return 0 if the measurement stands, 1 if it says no (no clock lock, no coincidences)."""
    import json

    from qnoded.analysis.options import options_from
    from qnoded.analysis.run import analyze
    from qnoded.analysis.two_files import demand_two_files
    from qnoded.cli.progress import Progress

    if args.bob is not None:
        demand_two_files(args.alice, args.bob, "give a recording that holds both sides once, else each side's own")
    options = options_from(
        channels=args.channels,
        format=args.format,
        tick_ps=args.tick_ps,
        columns=args.columns,
        window_ps=args.window_ps,
        multi_click=args.multi_click,
        pulse_period_ps=args.pulse_period_ps,
        offset_ps=args.offset_ps,
        frequency_error=args.frequency_error,
        offset_range_s=args.offset_range_s,
        frequency_range=args.frequency_range,
        known_clock=args.known_clock,
        pair_fraction=args.pair_fraction,
        sifted=args.sifted,
    )
    with Progress() as progress:
        analysis = analyze(args.alice, args.bob, options, progress=progress)
    if args.json:
        from qnoded.analysis.result import to_json

        print(json.dumps(to_json(analysis), indent=2, allow_nan=False))
    else:
        from qnoded.analysis.text import print_report

        print_report(analysis)
    if args.plot is not None:
        from qnoded.analysis.plots import write_plots

        if analysis.stands:
            write_plots(analysis, args.plot)
        else:
            print("qnoded analyze: --plot has nothing to draw", file=sys.stderr)
    if args.sifted is not None and not (analysis.link is not None and analysis.link.estimate.sifted_bits):
        print("qnoded analyze: --sifted has no bit to write; files of an earlier run stay as they are", file=sys.stderr)
    return 0 if analysis.stands else 1
