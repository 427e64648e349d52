"""Commands that act on one link: they differ only in what they ask for."""

from __future__ import annotations

import argparse
from typing import Literal

from qnoded.cli.ctl import client
from qnoded.errors import UsageError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments that they share."""
    parser.add_argument("link", metavar="LINK", nargs="?", help="name of the link; may be left out if there is one")
    client.add_arguments(parser)


def act(args: argparse.Namespace, action: Literal["pause", "resume", "interlude", "enrol"], done: str) -> int:
    """Ask the daemon and say what was done.

    Raises
    ------
    UsageError
        If no link was named and there is not exactly one.
    """
    import json
    from urllib.parse import quote

    daemon = client.daemon_of(args)
    link = args.link
    if link is None:
        links = list(daemon.get("/v1/status").get("links", {}))
        if len(links) != 1:
            problem = f"the node has {len(links)} links ({', '.join(links)}); name one of them"
            raise UsageError(problem)
        (link,) = links
    document = daemon.post(f"/v1/link/{quote(link, safe='')}/{action}")
    print(json.dumps(document) if args.json else f"link {link}: {done}")
    return 0
