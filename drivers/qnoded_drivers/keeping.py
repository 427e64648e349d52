"""Tags on their way from an instrument to a consumer: kept for a second at most, then lost and told as lost."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Coroutine
from itertools import pairwise
from typing import Any, Final

import numpy as np

from qnoded.records import Gap, TagBlock
from qnoded.units import PS_PER_MS, PS_PER_S

KEPT_PS: Final = PS_PER_S
LONGEST_BLOCK_PS: Final = 200 * PS_PER_MS
AWAKE_S: Final = 0.2
"""How often an instrument that runs in the dark gives an empty block, as a sign of life."""


class Keeper:
    """The queue between one stream of an instrument and its one consumer."""

    def __init__(self) -> None:
        self.overflows = 0
        """How often tags were lost."""
        self._kept: deque[TagBlock] = deque()
        self._lost: Gap | None = None
        self._ended = False
        self._error: Exception | None = None
        self._news = asyncio.Event()
        self._life = asyncio.Event()

    async def next_sign(self) -> None:
        """Return when the instrument gives its next sign of life, or at the end; the error that ended it is raised."""
        self._life.clear()
        if not self._ended:
            await self._life.wait()
        if self._error is not None:
            raise self._error

    def put(self, block: TagBlock) -> None:
        """Take what has come, in blocks of a length that consumers like."""
        self._life.set()
        self.overflows += len(block.gaps)
        self._kept.extend(_pieces(block))
        while len(self._kept) > 1 and _first_ps(self._kept[-1]) - _first_ps(self._kept[0]) > KEPT_PS:
            self._drop(self._kept.popleft())
        if self._kept:
            self._news.set()

    def _drop(self, block: TagBlock) -> None:
        begins_ps = _first_ps(block) if self._lost is None else self._lost.start_ps
        lost_tags = len(block) + (0 if self._lost is None else self._lost.lost_tags or 0)
        self.overflows += self._lost is None
        self._lost = Gap(begins_ps, _first_ps(self._kept[0]), lost_tags, "overflow")

    def end(self, error: Exception | None) -> None:
        """Let the consumer come to an end, by an error if one is given; only the first call counts."""
        if not self._ended:
            self._ended, self._error = True, error
            self._news.set()
            self._life.set()

    async def blocks(self) -> AsyncGenerator[TagBlock, None]:
        """Yield what comes, an empty block where nothing does, until the end."""
        while True:
            try:
                async with asyncio.timeout(AWAKE_S):
                    block = await self.take()
            except TimeoutError:
                block = TagBlock(np.empty(0, np.uint8), np.empty(0, np.int64))
            if block is None:
                return
            yield block

    async def take(self) -> TagBlock | None:
        """Return the oldest block, waiting for it; None at the end."""
        while not self._kept or self._ended:
            if self._ended:
                if self._error is not None:
                    raise self._error
                return None
            self._news.clear()
            await self._news.wait()
        block, lost = self._kept.popleft(), self._lost
        self._lost = None
        return block if lost is None else TagBlock(block.channel, block.tag_ps, (lost, *block.gaps))


class Streaming:
    """The present stream of an instrument: its keeper, and the task that fills it."""

    def __init__(self) -> None:
        self.keeper: Keeper | None = None
        """None while nothing streams."""
        self._filling: asyncio.Task[None] | None = None

    async def begin(self, fill: Callable[[Keeper], Coroutine[Any, Any, None]] | None, name: str) -> Keeper:
        """End the stream before it and begin another one.

        Parameters
        ----------
        fill : hands over all that comes, whether or not anybody wants it; what it raises ends the stream for whoever
            waits for tags. None: the driver hands over by itself
        name : of the task
        """
        await self.end()
        keeper = self.keeper = Keeper()
        if fill is not None:
            self._filling = asyncio.create_task(_filled(keeper, fill), name=name)
        return keeper

    async def end(self, only: Keeper | None = None) -> bool:
        """Stop filling; whoever waits for tags comes to a quiet end.

        Parameters
        ----------
        only : the stream to end; any other one, which has begun since, goes on

        Returns
        -------
        bool
            Whether there was a stream to end.
        """
        keeper, filling = self.keeper, self._filling
        if keeper is None or (only is not None and only is not keeper):
            return False
        self.keeper = self._filling = None
        keeper.end(None)
        if filling is not None:
            filling.cancel()
            await asyncio.wait({filling})
        return True


async def _filled(keeper: Keeper, fill: Callable[[Keeper], Coroutine[Any, Any, None]]) -> None:
    try:
        await fill(keeper)
    except Exception as error:
        # Also what no driver should raise: a stream that merely fell silent would pass for darkness.
        keeper.end(error)


def _first_ps(block: TagBlock) -> int:
    return int(block.tag_ps[0]) if len(block) else block.gaps[0].start_ps


def _pieces(block: TagBlock) -> list[TagBlock]:
    """Return a block in pieces none of which is too long; gaps go with the first one after them."""
    if not len(block):
        return [block] if block.gaps else []
    first_ps, last_ps = int(block.tag_ps[0]), int(block.tag_ps[-1])
    borders = np.arange(first_ps, last_ps + LONGEST_BLOCK_PS, LONGEST_BLOCK_PS)[1:]
    places = [0, *np.searchsorted(block.tag_ps, borders).tolist(), len(block)]
    pieces = []
    gaps = deque(block.gaps)
    for begin, end in pairwise(places):
        if begin < end:
            until_ps = int(block.tag_ps[end - 1])
            mine = []
            while gaps and (gaps[0].stop_ps <= until_ps or end == len(block)):
                mine.append(gaps.popleft())
            pieces.append(TagBlock(block.channel[begin:end].copy(), block.tag_ps[begin:end].copy(), tuple(mine)))
    return pieces
