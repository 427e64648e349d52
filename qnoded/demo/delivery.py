"""Two applications fetch keys, one at each node, as encryptors do: ETSI GS QKD 014 over HTTPS, with curl."""

from __future__ import annotations

import asyncio
import json
import shutil
from base64 import b64decode
from dataclasses import dataclass
from typing import Any, Final

import aiohttp

from qnoded.demo.stage import Stage
from qnoded.node.delivery.tls import client_context
from qnoded.records import SIDES
from qnoded.secret import Secret

KEYS_EACH: Final = 4
"""Fetched by each side as the first of the two."""
ANSWER_S: Final = 10.0
CURL: Final = "curl"
CONTENT: Final = "Content-Type: application/json"


@dataclass(frozen=True, slots=True)
class Fetched:
    """What the two applications hold in the end."""

    count: int
    """Keys that both have fetched."""
    equal: bool
    """Whether they are the same, one by one; False without any."""
    bits: int
    """Of all of them."""
    by: str
    """``curl``, or ``aiohttp`` where there is no curl."""
    problem: str = ""
    """What a node said instead of giving keys."""

    @property
    def numbers(self) -> str:
        """In words."""
        if not self.count:
            return self.problem or "there were none yet"
        what = f"{self.count} keys, {self.bits:,} bits, fetched with {self.by} at both nodes"
        return f"{what}; {self.problem}" if self.problem else what


async def fetch(stage: Stage) -> Fetched:
    """Let each side's application fetch new keys at its node, and the other's fetch them by name at the other node."""
    by = CURL if shutil.which(CURL) else "aiohttp"
    pairs: list[tuple[Secret, Secret]] = []
    problem = ""
    for master, slave in zip(SIDES, reversed(SIDES), strict=True):
        new = await _ask(stage, by, master, f"sae-{slave}/enc_keys", {"number": KEYS_EACH, "size": 256})
        names = [{"key_ID": one["key_ID"]} for one in new.get("keys", ())]
        known = await _ask(stage, by, slave, f"sae-{master}/dec_keys", {"key_IDs": names}) if names else new
        theirs = {one["key_ID"]: one["key"] for one in known.get("keys", ())}
        problem = problem or str(known.get("message", ""))
        pairs += [
            (Secret(b64decode(one["key"])), Secret(b64decode(theirs[one["key_ID"]])))
            for one in new.get("keys", ())
            if one["key_ID"] in theirs
        ]
    equal = bool(pairs) and all(mine == yours for mine, yours in pairs)
    return Fetched(len(pairs), equal, sum(8 * len(mine) for mine, _ in pairs), by, problem)


async def _ask(stage: Stage, by: str, side: str, path: str, request: dict[str, Any]) -> dict[str, Any]:
    """Return a node's answer to one of its applications."""
    address, body = f"{stage.delivery[side]}/api/v1/keys/{path}", json.dumps(request)
    root, certificate, key = (stage.pki / name for name in ("ca.crt", f"sae-{side}.crt", f"sae-{side}.key"))
    if by == CURL:
        identity = ["--cacert", str(root), "--cert", str(certificate), "--key", str(key)]
        words = ["--silent", "--show-error", "--max-time", f"{ANSWER_S:g}", "--header", CONTENT, "--data", body]
        process = await asyncio.create_subprocess_exec(
            CURL, *identity, *words, address, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        answer, complaint = await process.communicate()
        return _read(answer) or {"message": complaint.decode(errors="replace").strip()}
    context = client_context(certificate, key, root)
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(ANSWER_S)) as session,
            session.post(address, data=body, ssl=context, headers=dict([CONTENT.split(": ")])) as reply,
        ):
            return _read(await reply.read())
    except (aiohttp.ClientError, TimeoutError) as error:
        return {"message": str(error)}


def _read(answer: bytes) -> dict[str, Any]:
    try:
        document = json.loads(answer)
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}
