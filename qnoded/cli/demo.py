"""A whole link on this machine: the simulated world, two daemons, a real classical channel, one minute.

Alice and bob drive simulated lasers, controllers and time taggers, find each other's clock, sift and distil keys. At
the end an application at each node fetches keys (ETSI GS QKD 014, with curl), and what the nodes hold is compared, with
each other and with what the world knows; the exit code is 0 only if all agrees. Ctrl-C ends it early, with a verdict on
what was so far (exit code 130); pressed again it ends at once.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from qnoded.demo.show import Draw, Shown

SECONDS: Final = 60.0
SHORTEST_S: Final = 5.0
LONGEST_S: Final = 86_400.0
"""A day; what is recorded for the comparison grows by some megabytes a minute."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``qnoded demo``."""
    parser.add_argument("--seconds", type=float, default=SECONDS, help=f"how long it runs (default: {SECONDS:g})")
    parser.add_argument("--seed", type=int, default=2026, help="seed of the simulated photons (default: 2026)")
    parser.add_argument(
        "--world", metavar="FILE", type=Path, help="settings of the world (default: config/sim/world.toml)"
    )
    parser.add_argument("--script", metavar="FILE", type=Path, help="faults to inject, see docs/simulator.md")
    parser.add_argument(
        "--seam",
        choices=("api", "bytes"),
        default="api",
        help="simulated drivers, or real drivers of emulated instruments (default: %(default)s)",
    )
    parser.add_argument("--plot", metavar="DIR", type=Path, help="write a PNG of rates, QBER and S over time")
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of the live view")


def run(args: argparse.Namespace) -> int:
    """Run it; return 0 only if both ends hold the same keys and the truth agrees."""
    import asyncio
    import json

    from qnoded.cli import EXIT_INTERRUPTED
    from qnoded.demo.show import Wish, show
    from qnoded.errors import UsageError
    from qnoded.sim.changes import load_world
    from qnoded.sim.script import load_script

    if not SHORTEST_S <= args.seconds <= LONGEST_S:
        problem = f"--seconds {args.seconds:g} is out of range; use {SHORTEST_S:g} to {LONGEST_S:g}"
        raise UsageError(problem)
    if args.seed < 0:
        problem = f"--seed {args.seed} is negative; use 0 or more"
        raise UsageError(problem)
    # The world reads them anew; here a mistake is told before anything starts.
    if args.world is not None:
        load_world(args.world)
    if args.script is not None:
        load_script(args.script)
    wish = Wish(args.seconds, args.seed, args.world, args.script, args.seam)
    with _screen(args.seconds, silent=args.json) as draw:
        try:
            shown = asyncio.run(show(wish, draw))
        except asyncio.CancelledError:
            raise KeyboardInterrupt from None
    document = _document(shown)
    if args.plot is not None and shown.history:
        from qnoded.demo.plots import write_plots

        write_plots(shown.history, args.plot)
    print(json.dumps(document, indent=2, allow_nan=False) if args.json else _text(document, shown))
    if shown.early_s is not None:
        # Whoever calls from a script must not take half a demo for a whole one.
        return EXIT_INTERRUPTED
    return 0 if shown.holds else 1


def _screen(seconds: float, *, silent: bool) -> Any:
    """Return a context whose value draws: the live picture, lines where there is no terminal, or nothing."""
    from contextlib import contextmanager

    from rich.console import Console
    from rich.live import Live

    from qnoded.demo.view import AT_THE_END, View, one_line

    console = Console(stderr=True)

    @contextmanager
    def screen() -> Any:
        draw: Draw
        if silent:
            yield lambda *_: None
        elif console.is_terminal and not console.is_dumb_terminal:
            view = View(seconds)
            with Live(console=console, auto_refresh=False) as live:

                def draw(passed_s: float, alice: dict[str, Any] | None, bob: dict[str, Any] | None) -> None:
                    live.update(view.picture(passed_s, alice, bob), refresh=True)

                yield draw
        else:
            said = ""

            def draw(passed_s: float, alice: dict[str, Any] | None, bob: dict[str, Any] | None) -> None:
                nonlocal said
                line = one_line(passed_s, alice, bob) if passed_s < seconds else f"{passed_s:5.1f} s  {AT_THE_END}"
                # One line for each news, not for each moment.
                if line[9:] != said:
                    said = line[9:]
                    console.print(line, highlight=False)

            yield draw

    return screen()


def _document(shown: Shown) -> dict[str, Any]:
    from qnoded.demo.verdict import qber_of, shares

    links = [link for status in shown.status.values() for link in status["links"].values()]
    alice, bob = (shown.epochs.get(side, {}) for side in ("alice", "bob"))
    common = sorted(alice.keys() & bob.keys())
    keys, made = shown.keys, links[0]["keys"] if links else None
    discards: dict[str, int] = {}
    withdrawn: dict[str, int] = {}
    for link in links[:1]:
        discards, withdrawn = (
            {reason.lower(): count for reason, count in link[what].items() if count}
            for what in ("discards", "withdrawn")
        )
    cost = [link["bits_per_detection"] for link in links if link["bits_per_detection"]]
    return {
        "equal": keys is not None and keys.equal,
        "agrees": shown.holds,
        "keys": {"equal": keys.equal, "count": keys.count, "bits": keys.bits, "fetched_with": keys.by}
        if keys
        else None,
        "secret_bits": made["secret_bits"] if made else 0,
        "blocks": made["blocks_distilled"] if made else 0,
        "blocks_discarded": {reason.lower(): count for reason, count in made["discarded"].items()} if made else {},
        "sifted_bits": sum(alice[one].bits.size for one in common),
        "qber": shares(qber_of(alice[one] for one in common)),
        "chsh": next((link["chsh"] for link in links if link["chsh"]), None),
        "lock_s": shown.lock_s,
        "first_sifted_s": shown.first_sifted_s,
        "first_key_s": shown.first_key_s,
        "epochs": len(common),
        "discards": discards,
        "withdrawn": withdrawn,
        "bits_per_detection": cost[0] if cost else None,
        "rates": links[0]["rates"] if links else None,
        "checks": [{"what": one.what, "holds": one.holds, "numbers": one.numbers} for one in shown.checks],
        "not_checked": [{"what": one.what, "why": one.why} for one in shown.skipped],
        "script": [
            {"what": one.what, "began_s": one.began_s, "ended_s": one.ended_s, "answers": one.answers}
            for one in shown.chronicle.happened
        ],
        "troubles": shown.troubles,
        "ended_early_s": shown.early_s,
        "truth": {key: shown.truth.get(key) for key in ("seed", "duration_s", "present", "events", "lasers")},
        "elapsed_s": shown.elapsed_s,
        "simulated": True,
    }


def _text(document: dict[str, Any], shown: Shown) -> str:
    marks = {True: "ok  ", False: "NO  "}
    lines = ["", "What both daemons hold, held against each other and against what the simulated world knows:"]
    lines += [f"  {marks[one.holds]}{one.what}: {one.numbers}" for one in shown.checks]
    lines += [f"  --  not checked: {one.what}: {one.why}" for one in shown.skipped]
    lines += [f"  TROUBLE at {side}: {one}" for side, troubles in shown.troubles.items() for one in troubles]
    if document["lock_s"] is not None:
        lines.append(
            f"  clock lock after {document['lock_s']:.1f} s, first sifted bits after {document['first_sifted_s']:.1f} s"
        )
    if document["bits_per_detection"]:
        lines.append(f"  revealing cost {document['bits_per_detection']:.2f} bits per detection, basis included")
    if document["first_key_s"] is not None:
        lines.append(
            f"  first secret key after {document['first_key_s']:.1f} s; {document['secret_bits']:,} secret bits from "
            f"{document['blocks']} block{'s' * (document['blocks'] != 1)} of {document['sifted_bits']:,} sifted bits"
        )
    if shown.chronicle.happened:
        lines += ["", "What the script did, and what the daemons noted (seconds since the start):"]
    for one in shown.chronicle.happened:
        lines += [f"  {one.headline}", *(f"      {words}" for words in one.answers or ["nobody noted anything"])]
    if shown.early_s is not None:
        lines += ["", f"Ended early by Ctrl-C, after {shown.early_s:.0f} s: no pass and no failure (exit code 130)."]
    lines.append("  All from simulated photons: each key is marked so, and protects nothing.")
    return "\n".join(lines)
