"""Show every link with its clock, rates, QBER and discarded epochs. Exit code 1 if one of them does not work."""

from __future__ import annotations

import argparse

from qnoded.cli.ctl import client


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``qnodectl links``."""
    client.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Print the links."""
    import json

    from qnoded.cli.ctl.page import links
    from qnoded.cli.ctl.reading import status_from
    from qnoded.node.advice import link_works

    document = client.daemon_of(args).get("/v1/status")
    status = status_from(document)
    print(json.dumps({"links": document["links"]}, indent=2) if args.json else "\n".join(links(status)))
    return 0 if all(link_works(link) for link in status.links.values()) else 1
