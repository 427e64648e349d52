"""Make the CURVE keys of one node: NAME.key for the peer, NAME.key_secret (mode 0600) for this machine alone.

  qnodectl keygen /etc/qnoded/keys alice

Keys that exist are never overwritten.
"""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``qnodectl keygen``."""
    parser.add_argument("directory", metavar="DIR", type=Path, help="where to write; made if missing, mode 0700")
    parser.add_argument("name", metavar="NAME", help="name of the node")
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of text")


def run(args: argparse.Namespace) -> int:
    """Write both files."""
    import json
    import re

    from qnoded.errors import UsageError
    from qnoded.node.curve import make_keys

    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", args.name):
        problem = f"{args.name!r} cannot be a file's name everywhere; use letters, digits, - and _"
        raise UsageError(problem)
    public, secret = make_keys(args.directory, args.name)
    if args.json:
        print(json.dumps({"public": str(public), "secret": str(secret)}))
    else:
        print(f"{secret}  keep it here; secret_key in the node's file")
        print(f"{public}  give it to the peer; peer_key in the peer's file")
    return 0
