"""Certificates for demonstrations, and the identities that nodes sign with.

  qnodectl pki demo DIR --kme kme-alice --kme kme-bob --sae sae-alice --sae sae-bob
  qnodectl pki identity /etc/qnoded/keys alice

``demo`` makes a root, one server certificate for each KME and one client certificate for each SAE, in PEM, valid for a
year. The root's key lies beside them: for demonstrations and tests, never for keys that matter. ``identity`` makes
NAME.identity for the peer and NAME.identity_secret (mode 0600) for this node alone. Files that exist are never
overwritten.
"""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``qnodectl pki``."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    demo = actions.add_parser("demo", help="a test root with certificates for KMEs and SAEs")
    demo.add_argument("directory", metavar="DIR", type=Path, help="where to write; made if missing")
    demo.add_argument("--kme", metavar="NAME", action="append", help="a node [kme-alice, kme-bob]; may be repeated")
    demo.add_argument("--sae", metavar="NAME", action="append", help="an application [sae-alice, sae-bob]; repeatable")
    demo.add_argument(
        "--host", metavar="NAME", action="append", help="host or address of the nodes [localhost, 127.0.0.1, ::1]"
    )
    identity = actions.add_parser("identity", help="a node's ML-DSA-65 key pair for signed key exchange")
    identity.add_argument("directory", metavar="DIR", type=Path, help="where to write")
    identity.add_argument("name", metavar="NAME", help="name of the node")
    for one in (demo, identity):
        one.add_argument("--json", action="store_true", help="print one JSON document instead of text")


def run(args: argparse.Namespace) -> int:
    """Write the files and say which."""
    import json

    written = _demo(args) if args.action == "demo" else _identity(args)
    if args.json:
        print(json.dumps({"files": [str(path) for path in written]}))
    else:
        print("\n".join(map(str, written)))
    return 0


def _demo(args: argparse.Namespace) -> list[Path]:
    from qnoded.node.delivery import demo_pki

    kmes, saes = args.kme or ["kme-alice", "kme-bob"], args.sae or ["sae-alice", "sae-bob"]
    _demand_file_names([*kmes, *saes, demo_pki.ROOT])
    return demo_pki.make(args.directory, kmes, saes, args.host or demo_pki.LOCAL_HOSTS)


def _identity(args: argparse.Namespace) -> list[Path]:
    import os

    from qnoded.errors import ConfigError
    from qnoded.exchange.bootstrapping import IDENTITY_SEED_BYTES, Identity
    from qnoded.node.keys.secret_files import write_secret
    from qnoded.secret import Secret

    _demand_file_names([args.name])
    private, public = (args.directory / f"{args.name}{ending}" for ending in (".identity_secret", ".identity"))
    with Secret(os.urandom(IDENTITY_SEED_BYTES)) as seed:
        write_secret(private, seed)
        try:
            public.write_bytes(Identity(seed).public)
        except OSError as error:
            raise ConfigError(public, "identity", error.strerror or str(error), "check the folder") from None
    return [private, public]


def _demand_file_names(names: list[str]) -> None:
    import re

    from qnoded.errors import UsageError

    for name in names:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", name):
            problem = f"{name!r} cannot be a file's name everywhere; use letters, digits, - and _"
            raise UsageError(problem)
    if len(set(names)) < len(names):
        problem = f"two of {', '.join(names)} are the same; each needs files of its own"
        raise UsageError(problem)
