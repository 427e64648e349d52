"""Show the keys of a node's links, make its secret files, and take delivered keys to where they are used.

  qnodectl keys                                    exit code 1 if a link has few keys, or little to authenticate with
  qnodectl keys new-kek /etc/qnoded/alice/kek
  qnodectl keys rotate-kek kek kek.new /var/lib/qnoded/alice/keys.sqlite    while the daemon is stopped
  qnodectl keys new-secret alice-bob.secret        then carry it to both nodes
  qnodectl keys wireguard wg0.psk --kme https://localhost:8443 --peer sae-bob --name sae-alice --pki DIR

Files that exist are never overwritten, but for the preshared key, which is replaced at once and whole.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Final

from qnoded.cli.ctl import client

PSK_BITS: Final = 256
"""Of a WireGuard preshared key, wg(8)."""
PSK_FILE_BYTES: Final = 45
"""As base64, with the end of its line."""
USUAL_SECRET_BYTES: Final = 8192
"""Authenticates some 500 blocks in each direction before the first must have brought key."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``qnodectl keys``."""
    client.add_arguments(parser)
    actions = parser.add_subparsers(dest="action", metavar="ACTION")
    kek = actions.add_parser("new-kek", help="32 random bytes that seal a key store")
    secret = actions.add_parser("new-secret", help="random bytes that two nodes share before their first key")
    for one in (kek, secret):
        one.add_argument("file", metavar="FILE", type=Path, help="new file, mode 0600")
    secret.add_argument(
        "--bytes", dest="size_bytes", type=int, default=USUAL_SECRET_BYTES, metavar="N", help="how many [%(default)s]"
    )
    rotation = actions.add_parser("rotate-kek", help="seal a key store with another key, while the daemon is stopped")
    rotation.add_argument("old", metavar="OLD", type=Path, help="file with the key that seals it now")
    rotation.add_argument("new", metavar="NEW", type=Path, help="file with its successor, made by new-kek")
    rotation.add_argument("store", metavar="STORE", type=Path, help="keys.sqlite in the node's state_dir")
    psk = actions.add_parser("wireguard", help="a delivered key as the file that wg set ... preshared-key takes")
    psk.add_argument("file", metavar="FILE", type=Path, help="written whole or not at all, mode 0600")
    psk.add_argument("--kme", metavar="URL", required=True, help="key delivery of this side's node")
    psk.add_argument("--peer", metavar="SAE", required=True, help="the application at the other side")
    psk.add_argument("--name", metavar="SAE", required=True, help="this application: NAME.crt and NAME.key")
    psk.add_argument("--pki", metavar="DIR", type=Path, required=True, help="folder with these and ca.crt")
    psk.add_argument("--key-id", metavar="ID", help="fetch the key that the other side has named; absent: a new one")
    psk.add_argument("--mode", choices=("qkd", "hybrid", "pqc"), default="qkd", help="of a new key [%(default)s]")
    for one in (kek, secret, rotation, psk):
        one.add_argument("--json", action="store_true", help="print one JSON document instead of text")


def run(args: argparse.Namespace) -> int:
    """Do it; without an action, print the links' keys."""
    if args.action is None:
        return _show(args)
    if args.action == "wireguard":
        return _wireguard(args)
    if args.action == "rotate-kek":
        return _rotate(args)
    import json

    from qnoded.errors import UsageError
    from qnoded.node.keys.secret_files import LARGEST_SECRET_BYTES, SEALING_KEY_BYTES, new_secret
    from qnoded.node.keys.upkeep import SMALLEST_SECRET_BYTES

    size_bytes = SEALING_KEY_BYTES if args.action == "new-kek" else args.size_bytes
    if args.action == "new-secret" and not SMALLEST_SECRET_BYTES <= size_bytes <= LARGEST_SECRET_BYTES:
        problem = f"--bytes {size_bytes} cannot be used; give {SMALLEST_SECRET_BYTES} to {LARGEST_SECRET_BYTES}"
        raise UsageError(problem)
    new_secret(args.file, size_bytes)
    if args.json:
        print(json.dumps({"file": str(args.file), "bytes": size_bytes}))
    elif args.action == "new-kek":
        print(f"{args.file}  keep it here and in no backup of the store; keys.kek in the node's file")
    else:
        print(f"{args.file}  carry it to both nodes over a way that nobody else sees, enrol it, and delete it")
    return 0


def _show(args: argparse.Namespace) -> int:
    import json

    from qnoded.cli.ctl.page import keys
    from qnoded.cli.ctl.reading import status_from

    document = client.daemon_of(args).get("/v1/status")
    links = status_from(document).links
    if args.json:
        print(json.dumps({"keys": {name: link["keys"] for name, link in document["links"].items()}}, indent=2))
    else:
        print("\n".join(keys(links)))
    return 0 if all(link.keys and not (link.keys.low or link.keys.authentication_low) for link in links.values()) else 1


def _rotate(args: argparse.Namespace) -> int:
    """Seal a store with another key, and say what to change now."""
    import json

    from qnoded.node.keys.rotation import rotate
    from qnoded.node.keys.secret_files import kek_file

    with kek_file(args.old) as old, kek_file(args.new) as new:
        count = rotate(args.store, old, new)
    if args.json:
        print(json.dumps({"store": str(args.store), "blocks": count}))
    else:
        print(
            f"{args.store}  {count} blocks are sealed by {args.new} now; name it in keys.kek, then destroy {args.old}"
        )
    return 0


def _wireguard(args: argparse.Namespace) -> int:
    """Fetch one key and write it as base64; print the name that the other side needs."""
    import json
    from base64 import b64encode

    from qnoded.errors import UsageError
    from qnoded.node.delivery.client import known_key, new_key
    from qnoded.node.delivery.tls import client_context
    from qnoded.node.keys.secret_files import reserved
    from qnoded.secret import Secret

    if args.key_id is not None and not _is_a_uuid(args.key_id):
        problem = f"--key-id {args.key_id!r} is no UUID; give the name that the other side's command printed"
        raise UsageError(problem)
    context = client_context(args.pki / f"{args.name}.crt", args.pki / f"{args.name}.key", args.pki / "ca.crt")
    # A key is given once: there must be a place for it before it is asked for.
    with reserved(args.file, PSK_FILE_BYTES) as write:
        if args.key_id is None:
            fetched = new_key(args.kme, context, args.peer, PSK_BITS, args.mode)
        else:
            fetched = known_key(args.kme, context, args.peer, args.key_id)
        with fetched.key as key, Secret(b64encode(key.view()) + b"\n") as line:
            write(line)
    if args.json:
        facts = {"key_ID": fetched.name, "file": str(args.file), "mode": fetched.mode, "simulated": fetched.simulated}
        print(json.dumps(facts))
    else:
        print(fetched.name)
    return 0


def _is_a_uuid(text: str) -> bool:
    from uuid import UUID

    try:
        return str(UUID(text)) == text.lower()
    except ValueError:
        return False
