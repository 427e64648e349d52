"""Run the daemon of one node: its instruments, its links to peers, and the socket that qnodectl talks to.

Ends on SIGTERM or Ctrl-C with everything dark. As a service: systemd/qnoded@.service.

  qnoded run --config config/sim/alice.toml
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from qnoded.node.daemon import Daemon

LONGEST_STOP_S: Final = 8.0
"""A stop takes five seconds where an instrument hangs; beyond it something else does, and the process ends anyway."""
EXIT_STUCK: Final = 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``qnoded run``."""
    parser.add_argument("--config", metavar="FILE", type=Path, required=True, help="TOML file of the node")
    parser.add_argument(
        "--record-sifted",
        metavar="DIR",
        type=Path,
        help="write sifted bits to DIR for comparison with the peer's; only where simulation = true",
    )


def run(args: argparse.Namespace) -> int:
    """Run until a signal comes; return 0."""
    import asyncio
    import gc
    import os

    # All of it stays: to look for garbage in it again and again takes a tenth of the time until the node is ready.
    gc.disable()
    from qnoded.node.daemon import Daemon
    from qnoded.node.logs import start_logging
    from qnoded.node_settings import load_node

    gc.freeze()
    gc.enable()
    start_logging(os.environ)
    settings = load_node(args.config)

    async def life() -> None:
        daemon = Daemon(settings, args.config, os.environ, args.record_sifted)
        _stop_on_signals(daemon)
        await daemon.run()
        _leave_what_hangs()

    asyncio.run(life())
    return 0


def _stop_on_signals(daemon: Daemon) -> None:
    import asyncio
    import os
    import signal

    loop = asyncio.get_running_loop()

    def stop(name: str) -> None:
        daemon.stop(name)
        loop.call_later(LONGEST_STOP_S, os._exit, EXIT_STUCK)

    def ignore(name: str) -> None:
        daemon.tell("warning", "node", f"{name} means nothing to this daemon; it ends on SIGTERM")

    # A terminal that is closed says SIGHUP.
    for one in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
        loop.add_signal_handler(one, stop, one.name)
    # Each would end the process on the spot, without a goodbye. Some tools say them to have a log reopened.
    for name in ("SIGUSR1", "SIGUSR2", "SIGALRM", "SIGVTALRM", "SIGPROF", "SIGIO", "SIGPWR"):
        if (found := getattr(signal, name, None)) is not None:
            loop.add_signal_handler(found, ignore, name)


def _leave_what_hangs() -> None:
    """End the process at once if a thread or a driver's call does not return: waiting for it would take for ever."""
    import logging
    import os
    import threading

    from qnoded.node.driver_call import abandoned_calls

    hanging = [one for one in threading.enumerate() if one is not threading.main_thread() and not one.daemon]
    for one in hanging:
        one.join(timeout=0.2)
    if abandoned_calls() or any(one.is_alive() for one in hanging):
        logging.getLogger(__name__).warning("leaving without waiting for what hangs")
        logging.shutdown()
        os._exit(0)
