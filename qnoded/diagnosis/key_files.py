"""Files with keys are there and for nobody else's eyes; certificates have not run out. No secret is read."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from qnoded.diagnosis.finding import Finding, action, ok, warn
from qnoded.node_settings import NodeSettings

ROOT: Final = 0
OTHERS: Final = 0o077
PRESSING: Final = timedelta(days=7)
SOON: Final = timedelta(days=30)


def key_files(settings: NodeSettings) -> Iterator[Finding]:
    """Yield what is wrong with files that must be secret, or that they are well."""
    found = [_secret(key, path) for key, path in _secrets(settings)]
    wrong = [one for one in found if one is not None]
    yield from wrong
    if found and not wrong:
        yield ok("keys", f"{len(found)} files, each for its owner alone")


def certificates(settings: NodeSettings, now: datetime) -> Iterator[Finding]:
    """Yield until when the certificates of key delivery hold."""
    if settings.delivery is None:
        return
    for key in ("certificate", "client_ca"):
        yield _certificate(f"delivery.{key}", getattr(settings.delivery, key), now)


def utc_now() -> datetime:
    """Return the clock on the wall."""
    return datetime.now(UTC)


def _secrets(settings: NodeSettings) -> Iterator[tuple[str, Path]]:
    for name, link in settings.links.items():
        yield f"links.{name}.secret_key", link.secret_key
        # Used once: a link that has had keys does without.
        if link.first_secret is not None and os.path.lexists(link.first_secret):
            yield f"links.{name}.first_secret", link.first_secret
    for key in ("kek", "identity"):
        if (path := getattr(settings.keys, key, None)) is not None:
            yield f"keys.{key}", path
    if settings.delivery is not None:
        yield "delivery.private_key", settings.delivery.private_key


def _secret(key: str, path: Path) -> Finding | None:
    try:
        facts = path.stat()
    except FileNotFoundError:
        return action(key, f"{path} is not there", "qnoded check tells how to make it")
    except OSError as error:
        return warn(key, f"{path}: {error.strerror}", "run this as the user who runs the daemon")
    mode = stat.S_IMODE(facts.st_mode)
    if mode & OTHERS:
        return action(key, f"{path} has the mode {mode:04o}: others may use it", f"chmod 600 {path}")
    if facts.st_uid not in (os.geteuid(), ROOT):
        return warn(key, f"{path} belongs to user {facts.st_uid}", "run this as the user who runs the daemon")
    return None


def _certificate(key: str, path: Path, now: datetime) -> Finding:
    from cryptography import x509

    remedy = "ask whoever signs your certificates; for tests qnodectl pki demo"
    try:
        chain = x509.load_pem_x509_certificates(path.read_bytes())
    except OSError as error:
        return action(key, f"{path}: {error.strerror}", remedy)
    except ValueError:
        return action(key, f"{path} holds no certificate", remedy)
    begins, ends = max(one.not_valid_before_utc for one in chain), min(one.not_valid_after_utc for one in chain)
    left = ends - now
    said = f"{path} is valid until {ends:%Y-%m-%d %H:%M} UTC, {left.days} days from now"
    if begins > now:
        return action(key, f"{path} is valid from {begins:%Y-%m-%d %H:%M} UTC on", "look at the machine's clock")
    if left < timedelta():
        return action(key, f"{path} has run out on {ends:%Y-%m-%d %H:%M} UTC", remedy)
    if left < PRESSING:
        return action(key, said, remedy)
    return warn(key, said, remedy) if left < SOON else ok(key, said)
