"""Acquisition: pulls the tagger's blocks, has them cut into epochs by the pool, and hands every epoch to the links.

It follows whatever instrument plays the role ``tagger``, and believes nothing of what a driver gives. The same stream
after an absence goes on with a gap; another stream, or a leap of its time, is a new time axis: the links are told and
begin a new session. So does every turn of ``TURN_PS``, long before a moment is too large for a message.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import suppress
from fractions import Fraction
from typing import Final, Protocol, cast

from qnoded.errors import DriverBroken, InstrumentError, InstrumentGarbled, InstrumentUnavailable
from qnoded.exchange.happenings import Detected, DetectionLost
from qnoded.instruments.protocols import DEADLINE_S, TimeTagger
from qnoded.node.cutting import Cutter, checked
from qnoded.node.devices import Devices
from qnoded.node.driver_call import bounded, guarded
from qnoded.node.pool import Pool
from qnoded.node.watchdog import Progress
from qnoded.records import Gap, Receiver, TagBlock
from qnoded.units import EPOCH_PS, PS_PER_NS, seconds

TAGGER: Final = "tagger"
LONGEST_SILENCE_S: Final = 5.0
"""A tagger that streams hands over blocks five times a second at least; one that is silent for longer is given up."""
BLOCKS_OF_UTC: Final = 256
"""Blocks over which the host's clock is compared: the quickest of them was held up least."""
EPOCHS_OF_RATE: Final = 8
FEWEST_EPOCHS: Final = 2
"""Whole epochs before a rate is told: the first may lie before the light came on."""
TURN_PS: Final = 2**61
"""The time axis begins anew at multiples of it, every 26.7 days: messages carry moments below 2**62 ps. It depends on
the tagger's reading alone, so that a daemon that is started again finds itself on the same axis."""
LONGEST_NAME: Final = 64
"""Bytes of a time axis' name that a greeting carries."""
DIGEST_LETTERS: Final = 16
"""Of the digest that stands for a name that is too long."""

log = logging.getLogger(__name__)


class Follower(Protocol):
    """Who is told of epochs; must return at once."""

    def axis_began(self) -> None:
        """Take note that what follows is of another time axis than what was before."""
        ...

    def detected(self, epoch: Detected | DetectionLost) -> None:
        """Take an epoch that has ended."""
        ...


class Acquisition:
    """The node's one stream of detections."""

    def __init__(self, receiver: Receiver, devices: Devices, pool: Pool, progress: Progress) -> None:
        self.followers: list[Follower] = []
        self.axis: str | None = None
        """Name of the epochs' time axis, the same as long as the tagger counts on; None before the first block."""
        self.tick_ps = Fraction(1)
        """Of the tagger that gives the stream, or gave it last."""
        self._receiver, self._devices, self._pool, self._progress = receiver, devices, pool, progress
        self._cutter = Cutter(receiver)
        self._utc_ns: deque[int] = deque(maxlen=BLOCKS_OF_UTC)
        self._clicks: deque[int] = deque(maxlen=EPOCHS_OF_RATE)
        self._away = False
        self._stream_id: str | None = None
        self._returns = self._turn = 0

    @property
    def utc_minus_tag_ns(self) -> int | None:
        """Host's UTC minus the tagger's reading, ns, smallest of the last blocks; None before the first block."""
        return min(self._utc_ns, default=None)

    @property
    def detections_hz(self) -> float:
        """Clicks per second in the brightest of the last epochs; 0 as long as there are too few.

        The brightest, since a laser that has just come on, or goes out while a peer restarts, must not make this end
        look like the one with fewer detections: the ends would change places for nothing.
        """
        return max(self._clicks) / seconds(EPOCH_PS) if len(self._clicks) >= FEWEST_EPOCHS else 0.0

    async def run(self) -> None:
        """Acquire until cancelled."""
        async for instrument in self._devices.appearances(TAGGER):
            tagger = cast(TimeTagger, instrument)
            try:
                await self._follow(tagger)
            except InstrumentError as error:
                self._devices.report(TAGGER, instrument, error)
            self._away = True

    async def _follow(self, tagger: TimeTagger) -> None:
        self.tick_ps = guarded(lambda: Fraction(tagger.capability.resolution_ps), f"{TAGGER}: resolution_ps")
        blocks = guarded(lambda: aiter(tagger.stream()), f"{TAGGER}: stream")
        try:
            while True:
                block = await bounded(_next(blocks), f"{TAGGER}: next block", LONGEST_SILENCE_S)
                if block is None:
                    problem = f"{TAGGER}: it has stopped its stream"
                    raise InstrumentUnavailable(problem)
                name: object = guarded(lambda: tagger.stream_id, f"{TAGGER}: stream_id")
                if not isinstance(name, str):
                    problem = f"{TAGGER}: stream_id is {name!r} and must be a str; tell its author"
                    raise DriverBroken(problem)
                await self._take(block, name)
        finally:
            if isinstance(blocks, AsyncGenerator):
                with suppress(InstrumentError):
                    await bounded(blocks.aclose(), f"{TAGGER}: end of stream", DEADLINE_S)

    async def _take(self, given: object, stream_id: str) -> None:
        arrived_ns = time.time_ns()
        self._progress.begin()
        try:
            block = self._placed(await self._pool.compute(checked, given), stream_id)
            epochs = await self._pool.compute(self._cutter.push, block)
        finally:
            self._progress.finish()
        if len(block):
            self._utc_ns.append(arrived_ns - (int(block.tag_ps[-1]) - self._turn * TURN_PS) // PS_PER_NS)
        for epoch in epochs:
            if isinstance(epoch, Detected):
                self._clicks.append(len(epoch.epoch))
            for follower in self.followers:
                follower.detected(epoch)

    def _placed(self, block: TagBlock, stream_id: str) -> TagBlock:
        """Find the time axis of a block, which it may begin; mark what was missed while the tagger was away."""
        away, self._away = self._away, False
        last_ps = self._cutter.last_tag_ps
        turn = int(block.tag_ps[0]) // TURN_PS if len(block) else self._turn
        if stream_id != self._stream_id:
            self._begin(stream_id, turn)
        elif last_ps is not None and not self._cutter.continues(block):
            if block.tag_ps[0] < last_ps:
                self._returns += 1
                self._begin(stream_id, turn)
                problem = f"{TAGGER}: the tags run back from {last_ps} to {block.tag_ps[0]} ps without a new stream"
                raise InstrumentGarbled(problem)
            log.info("no tags for %.0f s: a new session begins", seconds(int(block.tag_ps[0]) - last_ps))
            self._begin(stream_id, turn)
        elif turn != self._turn:
            log.info("%.0f days of the tagger's clock: a new session begins", turn * seconds(TURN_PS) / 86_400)
            self._begin(stream_id, turn)
        elif away and last_ps is not None and len(block):
            gap = Gap(last_ps, int(block.tag_ps[0]), None, "the tagger was away")
            return TagBlock(block.channel, block.tag_ps, (gap, *block.gaps))
        return block

    def _begin(self, stream_id: str, turn: int) -> None:
        self._stream_id, self._turn = stream_id, turn
        self._cutter = Cutter(self._receiver, turn * TURN_PS)
        # An instrument that turned its time back under the same name must not be taken for the old one.
        self.axis = _axis(stream_id, (f"~{turn}" if turn else "") + (f"#{self._returns}" if self._returns else ""))
        self._utc_ns.clear()
        self._clicks.clear()
        for follower in self.followers:
            follower.axis_began()


def _axis(stream_id: str, count: str) -> str:
    """Return a name that fits into a greeting, another one for every stream and count."""
    name = stream_id.encode("utf-8", "backslashreplace")
    room = LONGEST_NAME - len(count)
    if len(name) > room:
        digest = hashlib.sha256(name).hexdigest()[:DIGEST_LETTERS]
        name = name[: room - DIGEST_LETTERS - 1] + b"." + digest.encode()
    return name.decode("utf-8", "ignore") + count


async def _next(blocks: AsyncIterator[TagBlock]) -> TagBlock | None:
    return await anext(blocks, None)
