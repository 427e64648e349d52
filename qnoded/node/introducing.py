"""What this end says of itself when it greets, and when it may greet at all."""

from __future__ import annotations

import asyncio
import secrets
from typing import Final

from qnoded.exchange.greeting import Introduction
from qnoded.exchange.live_messages import NONCE_BYTES
from qnoded.exchange.terms import LinkTerms
from qnoded.node.acquisition import Acquisition

INTRODUCTION_S: Final = 60.0
"""What an end says of its clock and rate gets this old, then it introduces itself anew."""
RESPITE_S: Final = 2.0
"""After a session that ended by a fault: what fails at once every time must not fail a thousand times a second."""


class Introducing:
    """One end's, from session to session."""

    def __init__(self, role: str, software: str, terms: LinkTerms, acquisition: Acquisition) -> None:
        self.current: Introduction | None = None
        """Fixed with its nonce until it is heard, forgotten or too old."""
        self._role, self._software, self._terms, self._acquisition = role, software, terms, acquisition
        self._made_s = 0.0
        self._not_before_s = _now_s()

    def introduction(self) -> Introduction | None:
        """Return the current one, or a new one if there is none; None as long as this end may not or cannot greet."""
        if _now_s() < self._not_before_s:
            return None
        if self.current is None:
            self._make()
        return self.current

    def renewed(self) -> Introduction | None:
        """Return the same, but never one that is too old."""
        if _now_s() >= max(self._not_before_s, self._made_s + INTRODUCTION_S):
            self._make()
        return self.introduction()

    def forget(self) -> None:
        """Greet with another nonce from now on."""
        self.current = None

    def rest(self, seconds: float = RESPITE_S) -> None:
        """Stay silent for a while, after a fault."""
        self._not_before_s = _now_s() + seconds

    @property
    def unready(self) -> str:
        """Why this end does not greet; empty after a fault, which is told already."""
        return "" if _now_s() < self._not_before_s else "this node has no detections yet"

    def _make(self) -> None:
        acquisition = self._acquisition
        utc_ns, rate_hz = acquisition.utc_minus_tag_ns, acquisition.detections_hz
        if acquisition.axis is None or utc_ns is None or not rate_hz > 0.0:
            return
        nonce = secrets.token_bytes(NONCE_BYTES)
        self._made_s = _now_s()
        self.current = Introduction(self._role, self._software, self._terms, nonce, acquisition.axis, utc_ns, rate_hz)


def _now_s() -> float:
    return asyncio.get_running_loop().time()
