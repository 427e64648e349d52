"""A recording in the place of a tagger: its tags in its time, round after round, and never as a real instrument."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from qnoded_drivers.replay_tagger import driver
from qnoded_drivers.replay_tagger.codec import AGAIN, PIECE_PS, cut
from qnoded_drivers.replay_tagger.driver import ReplaySettings, ReplayTagger

from qnoded.errors import InstrumentFault, InstrumentUnavailable
from qnoded.formats import Recording, RecordingWriter
from qnoded.node.instrument_tables import table_errors
from qnoded.node_settings import NodeSettings
from qnoded.records import Gap, TagBlock
from qnoded.testing import contract, virtual_time
from qnoded.testing.contract.tagger import a_slow_consumer_gets_a_gap
from qnoded.units import PS_PER_MS, PS_PER_S

RATE_HZ = 4000.0
SECONDS = 8.0


def recorded(path: Path, seconds: float = SECONDS, gaps: tuple[Gap, ...] = ()) -> TagBlock:
    chance = np.random.default_rng(1)
    count = int(RATE_HZ * seconds)
    tag_ps = np.sort(chance.integers(5 * PS_PER_S, int((5 + seconds) * PS_PER_S), count))
    block = TagBlock(chance.integers(1, 5, count, np.uint8), tag_ps, gaps)
    with RecordingWriter(path) as writer:
        writer.write(block)
    return block


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("replay") / "tags.npz"
    recorded(path)
    return path


@asynccontextmanager
async def bench(path: Path, **settings: Any) -> AsyncIterator[contract.Bench]:
    yield contract.Bench(ReplaySettings(file=path, **settings))


@pytest.mark.parametrize("loop", [True, False], ids=["loop", "once"])
@pytest.mark.parametrize("check", contract.checks(ReplayTagger), ids=contract.name)
def test_contract(check: contract.Check, loop: bool, recording: Path) -> None:
    contract.verify(check, ReplayTagger, partial(bench, recording, loop=loop), run=virtual_time.run)


AS_ASKED = [check for check in contract.checks(ReplayTagger) if check is not a_slow_consumer_gets_a_gap]
"""It waits for whoever asks, and drops nothing."""


@pytest.mark.slow
@pytest.mark.parametrize("check", AS_ASKED, ids=contract.name)
def test_contract_as_asked(check: contract.Check, recording: Path) -> None:
    # In real time: where nothing waits for the clock, a clock that jumps stands still.
    contract.verify(check, ReplayTagger, partial(bench, recording, loop=True, pace="as asked"))


async def heard(seconds: float, **settings: Any) -> list[TagBlock]:
    """Return what comes within so long."""
    tagger = ReplayTagger(ReplaySettings.model_validate(settings))
    await tagger.connect()
    await tagger.configure()
    blocks = []
    try:
        async with asyncio.timeout(seconds):
            async for block in tagger.stream():
                blocks.append(block)  # noqa: PERF401 - what came before the time-out counts
    except TimeoutError:
        pass
    finally:
        await tagger.close()
    return blocks


def joined(blocks: list[TagBlock]) -> tuple[list[int], list[int]]:
    return [c for block in blocks for c in block.channel.tolist()], [t for b in blocks for t in b.tag_ps.tolist()]


@pytest.mark.parametrize("pace", [0.5, 1.0, 4.0])
def test_its_tags_come_in_its_time(pace: float, recording: Path, tmp_path: Path) -> None:
    whole = recorded(tmp_path / "again.npz")
    within_s = 2.0
    blocks = virtual_time.run(heard(within_s, file=recording, pace=pace))
    channel, tag_ps = joined(blocks)
    assert channel == whole.channel[: len(channel)].tolist()
    assert tag_ps == whole.tag_ps[: len(channel)].tolist()
    passed_s = (tag_ps[-1] - tag_ps[0]) / PS_PER_S
    assert passed_s == pytest.approx(min(pace * within_s, SECONDS), abs=0.06)


def test_once_it_is_over_it_is_dark_and_alive(recording: Path) -> None:
    blocks = virtual_time.run(heard(SECONDS + 2.0, file=recording))
    assert len(joined(blocks)[0]) == int(RATE_HZ * SECONDS)
    assert [len(block) for block in blocks[-8:]] == [0] * 8


def test_rounds_follow_each_other_with_a_gap(recording: Path) -> None:
    blocks = virtual_time.run(heard(2.5 * SECONDS, file=recording, loop=True))
    _, tag_ps = joined(blocks)
    assert all(before <= after for before, after in pairwise(tag_ps))
    again = [gap for block in blocks for gap in block.gaps if gap.reason == AGAIN]
    assert [gap.stop_ps - gap.start_ps for gap in again] == [PS_PER_MS] * 2


def test_gaps_of_the_recording_come_with_their_tags(tmp_path: Path) -> None:
    lost = Gap(6 * PS_PER_S, 6 * PS_PER_S + 17, 3, "overflow")
    recorded(tmp_path / "lossy.npz", gaps=(lost,))
    blocks = virtual_time.run(heard(SECONDS, file=tmp_path / "lossy.npz"))
    (bearer,) = [block for block in blocks if block.gaps]
    assert bearer.gaps == (lost,)
    assert abs(int(bearer.tag_ps[-1]) - lost.start_ps) <= 1.1 * PIECE_PS


@given(st.lists(st.integers(0, 10 * PIECE_PS), max_size=60), st.lists(st.integers(0, 10 * PIECE_PS), max_size=4))
def test_pieces_are_short_and_make_up_the_block(times_ps: list[int], losses_ps: list[int]) -> None:
    tag_ps = np.array(sorted(times_ps), np.int64)
    gaps = tuple(Gap(start_ps, start_ps + 1, None, "lost") for start_ps in sorted(losses_ps))
    pieces = list(cut(TagBlock(np.arange(tag_ps.size, dtype=np.uint8), tag_ps, gaps)))
    assert joined(pieces)[1] == tag_ps.tolist()
    assert tuple(gap for piece in pieces for gap in piece.gaps) == gaps
    assert all(piece.tag_ps[-1] - piece.tag_ps[0] < PIECE_PS for piece in pieces if len(piece))


def test_a_file_that_is_not_there_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(InstrumentUnavailable, match="there is no such file"):
        virtual_time.run(heard(1.0, file=tmp_path / "none.npz"))


def test_a_file_that_breaks_its_promises_is_a_fault(tmp_path: Path) -> None:
    path = tmp_path / "tags.csv"
    path.write_text("channel,time\n" + "".join(f"1,{n * 1000}\n" for n in range(9)) + "1,oops\n", encoding="utf-8")
    with pytest.raises(InstrumentFault, match="oops"):
        virtual_time.run(heard(1.0, file=path, tick_ps=1, columns="channel,time"))


@pytest.mark.parametrize("pace", [1.0, "as asked"])
@pytest.mark.parametrize(
    ("raised", "told"),
    [(OSError(errno.EIO, "Input/output error"), InstrumentUnavailable), (IndexError("of a reader"), IndexError)],
)
def test_a_file_that_fails_later_ends_the_stream_with_an_error(
    raised: Exception, told: type[Exception], pace: Any, recording: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the first tags: the disk fails, or the reader has a bug; what looks like darkness would be a lie."""

    def failing(_recording: Recording, *, loop: bool) -> Iterator[TagBlock]:
        yield TagBlock(np.ones(1, np.uint8), np.array([PS_PER_S]))
        raise raised

    monkeypatch.setattr(driver, "pieces", failing)

    async def play() -> None:
        tagger = ReplayTagger(ReplaySettings(file=recording, pace=pace))
        await tagger.connect()
        await tagger.configure()
        try:
            async for _ in tagger.stream():
                pass
        finally:
            assert not (await tagger.read()).running
            await tagger.close()

    with pytest.raises(told, match=r"cannot be read any further: Input/output error|of a reader"):
        virtual_time.run(play())


def test_a_node_that_is_not_simulated_refuses_it(recording: Path) -> None:
    node = {"name": "alice", "state_dir": "/nowhere"}
    assert ReplayTagger.simulated
    settings = NodeSettings.model_validate(
        {"node": node, "instruments": {"tagger": {"driver": "replay-tagger", "file": str(recording)}}}
    )
    (error,), _ = table_errors(settings, "alice.toml")
    assert "replay-tagger is simulated, and this node is not" in str(error)
