"""A recording as a tagger would have given it: short pieces in order of time, round after round."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from itertools import pairwise
from typing import Final

import numpy as np

from qnoded.formats import Recording
from qnoded.records import Gap, TagBlock
from qnoded.units import PS_PER_MS

PIECE_PS: Final = 50 * PS_PER_MS
"""Longest piece: as often as that a live tagger hands over its tags."""
TAGS_PER_READ: Final = 2**17
AGAIN_PS: Final = PS_PER_MS
"""Between the last tag of a round and the first of the next."""
AGAIN: Final = "the recording begins again"


def cut(block: TagBlock) -> Iterator[TagBlock]:
    """Yield a block in pieces of at most ``PIECE_PS``; a gap goes with the first piece that reaches it.

    Parameters
    ----------
    block
        Of any length.
    """
    if not len(block):
        yield block
        return
    piece_of_tag = (block.tag_ps - block.tag_ps[0]) // PIECE_PS
    borders = [0, *(np.flatnonzero(np.diff(piece_of_tag)) + 1).tolist(), len(block)]
    gaps = deque(block.gaps)
    for begin, end in pairwise(borders):
        mine = []
        while gaps and (end == len(block) or gaps[0].start_ps <= int(block.tag_ps[end - 1])):
            mine.append(gaps.popleft())
        yield TagBlock(block.channel[begin:end], block.tag_ps[begin:end], tuple(mine))


def pieces(recording: Recording, *, loop: bool) -> Iterator[TagBlock]:
    """Yield a recording piece by piece, once or for ever; time runs on from round to round, with a gap between.

    Parameters
    ----------
    recording
        Open; it is read from the front each time.
    loop
        Whether to begin again at its end; a recording without tags is never begun again.

    Raises
    ------
    FormatError
        If the file breaks its format's promises.
    """
    later_ps, last_ps = 0, None
    while True:
        began_anew = last_ps is not None
        for block in recording.blocks(TAGS_PER_READ):
            if began_anew and len(block):
                assert last_ps is not None
                later_ps = last_ps + AGAIN_PS - int(block.tag_ps[0])
            moved = _later(block, later_ps)
            if began_anew and len(block):
                assert last_ps is not None
                border = Gap(last_ps, int(moved.tag_ps[0]), None, AGAIN)
                moved, began_anew = TagBlock(moved.channel, moved.tag_ps, (border, *moved.gaps)), False
            yield from cut(moved)
            if len(moved):
                last_ps = int(moved.tag_ps[-1])
        if not loop or last_ps is None:
            return


def _later(block: TagBlock, later_ps: int) -> TagBlock:
    if not later_ps:
        return block
    gaps = tuple(Gap(gap.start_ps + later_ps, gap.stop_ps + later_ps, gap.lost_tags, gap.reason) for gap in block.gaps)
    return TagBlock(block.channel, block.tag_ps + np.int64(later_ps), gaps)
