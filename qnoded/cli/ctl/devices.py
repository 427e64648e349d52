"""Show every instrument with its state and reading. Exit code 1 if one of them is not ready."""

from __future__ import annotations

import argparse

from qnoded.cli.ctl import client


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``qnodectl devices``."""
    client.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Print the instruments."""
    import json

    from qnoded.cli.ctl.page import devices
    from qnoded.cli.ctl.reading import status_from
    from qnoded.node.advice import instrument_ready

    document = client.daemon_of(args).get("/v1/status")
    status = status_from(document)
    print(json.dumps({"instruments": document["instruments"]}, indent=2) if args.json else "\n".join(devices(status)))
    return 0 if all(instrument_ready(one) for one in status.instruments.values()) else 1
