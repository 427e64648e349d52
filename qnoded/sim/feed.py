"""Tags on their way from the world to one tagger's driver: kept for a second at most, then lost and told as lost."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from qnoded.records import Gap, TagBlock
from qnoded.sim.station import joined_gaps
from qnoded.units import PS_PER_S

KEPT_PS: Final = PS_PER_S
"""Tags that a tagger keeps for a driver that does not fetch them, in true time."""


@dataclass(frozen=True, slots=True)
class _Kept:
    block: TagBlock
    start_ps: int
    """What the tagger's clock shows at the beginning of the stretch."""
    stop_ps: int
    length_ps: int
    """Of the stretch, true time."""


class Feed:
    """Tags of one stream that is open, from the next stretch on."""

    def __init__(self) -> None:
        self._kept: deque[_Kept] = deque()
        self._kept_ps = 0
        self._lost: list[Gap] = []
        self._arrived = asyncio.Event()

    def deliver(self, block: TagBlock, border_ps: tuple[int, int], length_ps: int) -> int:
        """Take the tags of a stretch; return how many losses the tagger has to announce for it."""
        losses = len(block.gaps)
        self._kept.append(_Kept(block, *border_ps, length_ps))
        self._kept_ps += length_ps
        while self._kept_ps > KEPT_PS and len(self._kept) > 1:
            oldest = self._kept.popleft()
            self._kept_ps -= oldest.length_ps
            losses += not self._lost
            self._lost += [*oldest.block.gaps, Gap(oldest.start_ps, oldest.stop_ps, len(oldest.block), "overflow")]
        self._arrived.set()
        return losses

    @property
    def empty(self) -> bool:
        """Whether nothing is kept."""
        return not self._kept

    async def take(self) -> TagBlock:
        """Return the tags of the oldest stretch that is kept; wait for it."""
        while not self._kept:
            self._arrived.clear()
            await self._arrived.wait()
        oldest = self._kept.popleft()
        self._kept_ps -= oldest.length_ps
        lost, self._lost = self._lost, []
        return TagBlock(oldest.block.channel, oldest.block.tag_ps, joined_gaps([*lost, *oldest.block.gaps]))


def pack(block: TagBlock) -> tuple[dict[str, Any], bytes]:
    """Return header and body of a frame of tags: all tags as int64, then all channels as uint8, little-endian."""
    gaps = [[gap.start_ps, gap.stop_ps, gap.lost_tags, gap.reason] for gap in block.gaps]
    return {"tags": len(block), "gaps": gaps}, block.tag_ps.astype("<i8").tobytes() + block.channel.tobytes()


def unpack(header: dict[str, Any], body: bytes) -> TagBlock:
    """Return the tags of a frame.

    Raises
    ------
    ValueError
        If header and body do not fit together.
    """
    n = header.get("tags")
    if not isinstance(n, int) or n < 0 or len(body) != 9 * n:
        problem = f"{len(body)} bytes do not hold {n!r} tags of 9 bytes"
        raise ValueError(problem)
    try:
        gaps = tuple(Gap(int(start), int(stop), lost, str(reason)) for start, stop, lost, reason in header["gaps"])
    except (KeyError, TypeError) as error:
        problem = f"losses are not told as they should be: {error!r}"
        raise ValueError(problem) from None
    tag_ps = np.frombuffer(body, "<i8", n).astype(np.int64)
    return TagBlock(np.frombuffer(body, np.uint8, n, 8 * n).copy(), tag_ps, gaps)
