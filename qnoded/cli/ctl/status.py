"""Show on one page whether the node is well, and if not, what to do. Exit code 1 if it is not."""

from __future__ import annotations

import argparse

from qnoded.cli.ctl import client


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``qnodectl status``."""
    client.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Print the page."""
    import json

    from qnoded.cli.ctl.page import page
    from qnoded.cli.ctl.reading import status_from
    from qnoded.node.advice import is_well

    document = client.daemon_of(args).get("/v1/status")
    status = status_from(document)
    print(json.dumps(document, indent=2) if args.json else "\n".join(page(status)))
    return 0 if is_well(status) else 1
