"""Rules of time taggers: tags in order, losses told, a slow consumer harmless."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Final

from qnoded.errors import InstrumentUnavailable
from qnoded.instruments.capability import TimeTaggerCapability
from qnoded.instruments.protocols import DEADLINE_S, SAFE_S
from qnoded.instruments.reading import TaggerReading
from qnoded.records import TagBlock
from qnoded.testing.contract.kind import Check, Kind, finite
from qnoded.testing.contract.subject import Broken, NotApplicable, Subject, demand, refused
from qnoded.units import PS_PER_S, seconds

LISTEN_S: Final = 1.0
"""How long tags are taken where order is judged."""
LONGEST_BLOCK_S: Final = 0.25
"""Blocks are 10 to 200 ms long; a quarter more is forgiven."""
STALL_S: Final = 4.0
"""How long the slow consumer sleeps."""
KEPT_S: Final = 1.0
"""A driver keeps at most so much for it."""
FORGIVEN_S: Final = 1.0
"""Buffers of the instrument and of the way to it."""
LONGEST_NAME: Final = 64
"""Characters of a time axis' name: it travels in the greeting of a link."""


def _judge_capability(capability: TimeTaggerCapability) -> None:
    demand(0 < len(capability.channels) == len(set(capability.channels)), f"channels are {capability.channels}")
    demand(all(channel in range(256) for channel in capability.channels), "channels are numbers from 0 to 255")
    finite(max_rate_hz=capability.max_rate_hz)
    demand(capability.max_rate_hz > 0, f"max_rate_hz is {capability.max_rate_hz}")
    demand(0 < capability.resolution_ps <= 10**6, f"resolution_ps is {capability.resolution_ps}: a wrong unit?")
    demand(capability.dead_time_ps >= 0, f"dead_time_ps is {capability.dead_time_ps}")


def _judge_reading(reading: TaggerReading, _: TimeTaggerCapability) -> None:
    demand(isinstance(reading.running, bool), f"running is {reading.running!r}")
    demand(reading.overflows >= 0, f"overflows is {reading.overflows}")


def _danger(reading: TaggerReading, _: TimeTaggerCapability) -> str | None:
    return "it streams" if reading.running else None


async def _work(subject: Subject, tagger: Any) -> None:
    await _next(_opened(subject, tagger))


def _opened(subject: Subject, tagger: Any) -> AsyncIterator[TagBlock]:
    stream: AsyncIterator[TagBlock] = aiter(tagger.stream())
    subject.streams.append(stream)
    return stream


async def _next(stream: AsyncIterator[TagBlock]) -> TagBlock:
    try:
        async with asyncio.timeout(DEADLINE_S):
            return await anext(stream)
    except TimeoutError:
        problem = f"no block came within {DEADLINE_S:g} s"
        raise Broken(problem) from None
    except StopAsyncIteration:
        problem = "the stream ended by itself"
        raise Broken(problem) from None


async def _taken(stream: AsyncIterator[TagBlock], listen_s: float) -> list[TagBlock]:
    """Take blocks for so long, at least two."""
    loop = asyncio.get_running_loop()
    until_s = loop.time() + listen_s
    blocks = [await _next(stream)]
    while len(blocks) < 2 or loop.time() < until_s:
        blocks.append(await _next(stream))
    return blocks


def _judge_order(blocks: list[TagBlock], capability: TimeTaggerCapability) -> None:
    last_ps = None
    for block in blocks:
        demand(isinstance(block, TagBlock), f"the stream gave {block!r}, no TagBlock")
        strangers = set(block.channel.tolist()) - set(capability.channels)
        demand(not strangers, f"tags of channels {sorted(strangers)}, the capability has {capability.channels}")
        for gap in block.gaps:
            demand(gap.start_ps <= gap.stop_ps and gap.reason != "", f"{gap} has no reason, or ends before it begins")
        if not len(block):
            continue
        first_ps, stop_ps = int(block.tag_ps[0]), int(block.tag_ps[-1])
        demand(bool((block.tag_ps[1:] >= block.tag_ps[:-1]).all()), "tags of one block run backwards")
        demand(
            last_ps is None or last_ps <= first_ps,
            f"a block begins at {first_ps} ps, the one before ended at {last_ps}",
        )
        length_s = seconds(stop_ps - first_ps)
        demand(length_s <= LONGEST_BLOCK_S or bool(block.gaps), f"a block is {length_s:.3f} s long, 0.2 s are the most")
        last_ps = stop_ps


async def gives_tags_in_order(subject: Subject) -> None:
    """Give ascending tags in blocks of at most 0.2 s, on inputs that the capability names."""
    tagger = await subject.ready()
    blocks = await _taken(_opened(subject, tagger), LISTEN_S)
    _judge_order(blocks, tagger.capability)
    demand((await tagger.read()).running, "it streams, and reads as not running")


async def needs_a_connection(subject: Subject) -> None:
    """Raise InstrumentUnavailable for a stream without a connection."""
    tagger = subject.make()
    await refused(anext(_opened(subject, tagger)), (InstrumentUnavailable,), "a stream before connect")


async def ends_its_stream_quietly(subject: Subject) -> None:
    """End a stream that somebody waits for without an error at make_safe, and at close."""
    for ending in ("make_safe", "close"):
        tagger = await subject.ready()
        consumer = asyncio.create_task(_drained(_opened(subject, tagger)))
        await asyncio.sleep(LISTEN_S / 4)
        await getattr(tagger, ending)()
        ended, _ = await asyncio.wait({consumer}, timeout=SAFE_S)
        if not ended:
            consumer.cancel()
            await asyncio.wait({consumer})
        demand(bool(ended), f"the stream goes on {SAFE_S:g} s after {ending}")
        error = consumer.exception()
        demand(error is None, f"the stream ended after {ending} with {type(error).__name__}: {error}")
        await tagger.close()


async def _drained(stream: AsyncIterator[TagBlock]) -> None:
    async for _ in stream:
        pass


async def a_slow_consumer_gets_a_gap(subject: Subject) -> None:
    """Keep at most a second of tags for a consumer that sleeps, then a Gap with reason "overflow"."""
    tagger = await subject.ready()
    stream = _opened(subject, tagger)
    before = await _taken(stream, LISTEN_S / 4)
    rest = [block for block in before if len(block)]
    if not rest:
        reason = "no tags come; give the inputs light or a test signal"
        raise NotApplicable(reason)
    stopped_ps = int(rest[-1].tag_ps[-1])
    await asyncio.sleep(STALL_S)
    late = await _taken(stream, LISTEN_S)
    _judge_order([*before, *late], tagger.capability)
    newest_ps = max((int(block.tag_ps[-1]) for block in late if len(block)), default=stopped_ps)
    if newest_ps - stopped_ps < STALL_S / 2 * PS_PER_S:
        reason = "its time stands still while nobody asks for tags: nothing can overflow"
        raise NotApplicable(reason)
    gaps = [gap for block in late for gap in block.gaps if gap.reason == "overflow"]
    lost_s = seconds(sum(gap.stop_ps - gap.start_ps for gap in gaps))
    least_s = STALL_S - KEPT_S - FORGIVEN_S
    demand(
        lost_s >= least_s,
        f"a consumer that slept for {STALL_S:g} s was told of {lost_s:.2f} s lost to overflow, expected are at least "
        f"{least_s:g} s: a driver keeps at most {KEPT_S:g} s",
    )


async def a_stream_that_was_given_up_can_be_opened_again(subject: Subject) -> None:
    """Give a working stream after the consumer of the last one was cancelled."""
    tagger = await subject.ready()
    consumer = asyncio.create_task(_drained(_opened(subject, tagger)))
    await asyncio.sleep(LISTEN_S / 4)
    consumer.cancel()
    await asyncio.wait({consumer})
    demand(consumer.cancelled(), "a cancelled consumer of the stream went on or got another error")
    _judge_order(await _taken(_opened(subject, tagger), LISTEN_S / 4), tagger.capability)


async def answers_while_it_streams(subject: Subject) -> None:
    """Answer questions while tags flow, and let them flow on."""
    tagger = await subject.ready()
    stream = _opened(subject, tagger)
    blocks = []
    for _ in range(5):
        blocks.append(await _next(stream))
        _judge_reading(await tagger.read(), tagger.capability)
    _judge_order(blocks, tagger.capability)


async def names_its_time_axis(subject: Subject) -> None:
    """Keep stream_id over a new connection only if time went on; give a restarted counter another one."""
    tagger = await subject.ready()
    first = await _taken(_opened(subject, tagger), LISTEN_S / 4)
    axis = tagger.stream_id
    demand(isinstance(axis, str) and 0 < len(axis) <= LONGEST_NAME, f"stream_id is {axis!r}, 1 to 64 characters")
    await tagger.close()
    await tagger.connect()
    await tagger.configure()
    second = await _taken(_opened(subject, tagger), LISTEN_S / 4)
    if tagger.stream_id == axis:
        _judge_order([*first, *second], tagger.capability)


async def a_lost_connection_ends_the_stream(subject: Subject) -> None:
    """Raise InstrumentUnavailable from a stream whose instrument goes away."""
    tagger = await subject.ready()
    stream = _opened(subject, tagger)
    await _next(stream)
    await subject.cut()

    async def until_it_ends() -> None:
        async with asyncio.timeout(DEADLINE_S):
            await _drained(stream)

    try:
        await refused(until_it_ends(), (InstrumentUnavailable,), "a stream whose cable was pulled")
    except TimeoutError:
        problem = f"the stream neither gave tags nor ended within {DEADLINE_S:g} s of the loss"
        raise Broken(problem) from None
    finally:
        await subject.restore()


CHECKS: Final[tuple[Check, ...]] = (
    gives_tags_in_order,
    needs_a_connection,
    ends_its_stream_quietly,
    a_slow_consumer_gets_a_gap,
    a_stream_that_was_given_up_can_be_opened_again,
    answers_while_it_streams,
    names_its_time_axis,
    a_lost_connection_ends_the_stream,
)
KIND: Final = Kind(TimeTaggerCapability, TaggerReading, _judge_capability, _judge_reading, _danger, _work, CHECKS)
