"""Run the simulated world: one source, two fibres and two receivers whose instruments daemons connect to.

Prints one line, "ready ADDRESS", once it listens. Ctrl-C or SIGTERM ends it, and --truth then says what was true.

  qnoded world --config config/sim/world.toml
  qnoded world --script faults.toml --truth truth.json --listen tcp://127.0.0.1:0
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from qnoded.sim.server import WorldServer

DEFAULT_LISTEN: Final = "tcp://127.0.0.1:7400"
DEFAULT_SEED: Final = 1
SLOWEST: Final = 1e-3
FASTEST: Final = 1e3
"""Range of --pace."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``qnoded world``."""
    parser.add_argument("--config", metavar="FILE", type=Path, help="TOML file of the world's settings")
    parser.add_argument(
        "--set", metavar="KEY=VALUE", action="append", default=[], help="change a setting; may be repeated"
    )
    parser.add_argument("--script", metavar="FILE", type=Path, help="TOML file of what happens when")
    parser.add_argument(
        "--listen",
        metavar="ADDRESS",
        default=DEFAULT_LISTEN,
        help="tcp://HOST:PORT or unix:///PATH (default: %(default)s)",
    )
    parser.add_argument("--truth", metavar="FILE", type=Path, help="where to write what was true, at the end")
    parser.add_argument("--seed", metavar="N", type=int, default=DEFAULT_SEED, help="same seed, same photons")
    parser.add_argument(
        "--pace",
        metavar="X",
        type=float,
        default=1.0,
        help="true seconds per second on the wall (default: %(default)g)",
    )
    parser.add_argument(
        "--lockstep",
        metavar="N",
        type=int,
        help="true time goes on only when all attached taggers wait for tags, and begins with N of them",
    )


def run(args: argparse.Namespace) -> int:
    """Serve until a signal comes; return 0."""
    import asyncio

    from qnoded.errors import UsageError
    from qnoded.sim.changes import load_world
    from qnoded.sim.pacing import Lockstep, Paced
    from qnoded.sim.script import load_script
    from qnoded.sim.server import WorldServer

    if args.seed < 0:
        problem = f"--seed {args.seed} is negative; use 0 or more"
        raise UsageError(problem)
    if not SLOWEST <= args.pace <= FASTEST:
        problem = f"--pace {args.pace:g} is not possible; use {SLOWEST:g} to {FASTEST:g}"
        raise UsageError(problem)
    if args.lockstep is not None and args.lockstep < 1:
        problem = f"--lockstep {args.lockstep} waits for no tagger; use 1 or 2"
        raise UsageError(problem)
    settings = load_world(args.config, args.set)
    script = load_script(args.script) if args.script else ()
    pace = Paced(args.pace) if args.lockstep is None else Lockstep(args.lockstep)
    server = WorldServer(settings, args.seed, script, pace)
    asyncio.run(_serve(server, args.listen))
    if args.truth:
        _write_truth(server, args.truth)
    return 0


async def _serve(server: WorldServer, address: str) -> None:
    """Serve until SIGTERM or SIGINT."""
    import asyncio
    import signal

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for one in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(one, stop.set)
    async with server.listening(address, failed=stop.set) as listens:
        print(f"ready {listens}", flush=True)
        await stop.wait()


def _write_truth(server: WorldServer, file: Path) -> None:
    """Write the truth."""
    from qnoded.errors import UsageError
    from qnoded.sim.truth import as_text

    try:
        file.write_text(as_text(server.truth), encoding="utf-8")
    except OSError as error:
        problem = f"cannot write {file}: {error.strerror or error}; choose another --truth"
        raise UsageError(problem) from None
