"""Run an emulated instrument: the maker's own bytes on a TCP port or a pseudo-terminal, with its quirks.

Prints one line, "ready ADDRESS", once it listens; ADDRESS is what the driver's settings take. Ctrl-C or SIGTERM ends
it. In a simulated world (--world) its light is the world's: paddles turn the polarization of its photons, a laser
pumps its source, a tagger streams its clicks.

  qnoded emulate thorlabs-mpc320 --pty /tmp/paddles
  qnoded emulate thorlabs-mpc320 --pty /tmp/paddles --world tcp://127.0.0.1:7400 --node bob
  qnoded emulate toptica-dlc-pro --tcp 127.0.0.1:1998 --fault late@3
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from qnoded.testing.emulation import Emulation

FASTEST: Final = 1000.0
"""Limit of --pace."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``qnoded emulate``."""
    parser.add_argument(
        "driver", metavar="DRIVER", help="the driver whose instrument it is, as qnoded drivers lists it"
    )
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--tcp", metavar="HOST:PORT", help="listen on TCP; port 0 takes a free one")
    where.add_argument("--pty", metavar="PATH", type=Path, help="make a serial port to which PATH leads")
    parser.add_argument(
        "--fault",
        metavar="KIND@MESSAGE",
        action="append",
        default=[],
        help="spoil one of its messages, counted from 0, such as late@3; may be repeated",
    )
    parser.add_argument(
        "--personality", metavar="FILE", type=Path, help="TOML file of what this unit is like, see docs/simulator.md"
    )
    parser.add_argument("--world", metavar="ADDRESS", help="the simulated world (qnoded world) in which it stands")
    parser.add_argument("--node", choices=("alice", "bob"), help="whose instrument it is in the world")
    parser.add_argument(
        "--role",
        choices=("tagger", "laser", "polarization", "power-meter", "attenuator", "detector-supply", "oven"),
        help="what it has to be there, as a check; each instrument plays one role",
    )
    parser.add_argument(
        "--pace", metavar="X", type=float, default=1.0, help="its seconds per second (default: %(default)g)"
    )


def run(args: argparse.Namespace) -> int:
    """Serve until a signal comes; return 0."""
    import asyncio

    from qnoded.errors import UsageError

    if args.pty is not None:
        args.pty = args.pty.absolute()
    if not 0.0 < args.pace <= FASTEST:
        problem = f"--pace {args.pace:g} is not possible; use more than 0, up to {FASTEST:g}"
        raise UsageError(problem)
    if (args.world is None) != (args.node is None) or (args.role is not None and args.world is None):
        problem = "a place in the world takes both --world and --node; give both, or neither and no --role"
        raise UsageError(problem)
    asyncio.run(_emulate(args))
    return 0


async def _emulate(args: argparse.Namespace) -> None:
    from qnoded.testing.emulation import Emulation, find_kind, read_fault, with_personality

    faults = [read_fault(text) for text in args.fault]
    kind = find_kind(args.driver)
    device = kind() if args.personality is None else with_personality(kind, args.personality)
    emulation = Emulation(device, args.pace)
    emulation.script(*faults)
    async with _place(emulation, args):
        if args.pty is not None:
            await _on_pty(emulation, args.pty)
        else:
            await _on_tcp(emulation, args.tcp)


def _place(emulation: Emulation, args: argparse.Namespace) -> AbstractAsyncContextManager[None]:
    """Return a context in which it stands in the world, if it is to stand in one."""
    from contextlib import nullcontext

    from qnoded.errors import UsageError

    if args.world is None:
        return nullcontext()
    from qnoded.sim.devices.cable import CableSettings
    from qnoded.sim.wire import read_address
    from qnoded.testing.emulation.place import placed, role_of

    role = role_of(emulation.device)
    if args.role not in (None, role):
        problem = f"{args.driver} can be the {role} of a node, not its {args.role}; change --role or leave it out"
        raise UsageError(problem)
    return placed(emulation, CableSettings(address=str(read_address(args.world)), node=args.node))


async def _on_pty(emulation: Emulation, path: Path) -> None:
    from qnoded.testing.emulation import on_pty

    async with on_pty(emulation, path) as link:
        await _until_a_signal(str(link))


async def _on_tcp(emulation: Emulation, text: str) -> None:
    from qnoded.errors import UsageError
    from qnoded.instruments.transport import read_address
    from qnoded.testing.emulation import on_tcp

    address = read_address(f"tcp://{text}")
    try:
        async with on_tcp(emulation, address.host, address.port) as port:
            await _until_a_signal(f"tcp://{address.host}:{port}")
    except OSError as error:
        problem = f"--tcp {text}: cannot listen there: {error.strerror or error}"
        raise UsageError(problem) from None


async def _until_a_signal(address: str) -> None:
    import asyncio
    import signal

    stop = asyncio.Event()
    for one in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(one, stop.set)
    print(f"ready {address}", flush=True)
    await stop.wait()
