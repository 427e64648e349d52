"""Looks at the daemons through their control sockets."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, Self

import aiohttp

ANSWER_S: Final = 5.0


class Daemon:
    """A daemon's control socket."""

    def __init__(self, socket: Path) -> None:
        self._session = aiohttp.ClientSession(
            "http://daemon", connector=aiohttp.UnixConnector(str(socket)), timeout=aiohttp.ClientTimeout(ANSWER_S)
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def status(self) -> dict[str, Any] | None:
        """Return its status document; None while it does not answer."""
        return await self._ask("/v1/status")

    async def events(self) -> list[dict[str, Any]]:
        """Return what it has noted so far; nothing if it does not answer."""
        return list((await self._ask("/v1/events?since=0") or {}).get("events", ()))

    async def _ask(self, route: str) -> dict[str, Any] | None:
        try:
            async with self._session.get(route) as answer:
                document: dict[str, Any] = await answer.json()
                return document if answer.ok else None
        except (aiohttp.ClientError, TimeoutError, ValueError):
            return None
