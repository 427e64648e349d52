"""What of two recordings counts as measured: common time from border to border, whoever is silent, less the gaps."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from qnoded.analysis.alignment import Walk
from qnoded.analysis.clicks import ClickStream, Tape
from qnoded.analysis.options import AnalysisOptions, ClockOptions
from qnoded.analysis.result import to_json
from qnoded.analysis.run import analyze, silent
from qnoded.cli.simulate import record
from qnoded.formats import RecordingWriter
from qnoded.records import ClockModel, Detector, Gap, Receiver, TagBlock
from qnoded.settings import check_channel_map
from qnoded.sim import World
from qnoded.sim.changes import load_world
from qnoded.stages.synchronization.clock_state import start
from qnoded.stages.tagging import Tagging
from qnoded.units import EPOCH_PS, PS_PER_S

CHANNELS = {"H": 0, "V": 1, "D": 2, "A": 3}
MAP = check_channel_map({"alice": CHANNELS, "bob": CHANNELS}, "test")
SECONDS = 6.0


@dataclass(frozen=True)
class Recorded:
    """A simulated link whose recordings tests cut to size."""

    alice: Path
    bob: Path
    truth: dict[str, Any]

    @property
    def pairs_hz(self) -> float:
        return float(self.truth["expected"]["pairs_hz"])


@pytest.fixture(scope="module")
def link(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    ideal = ["alice.clock.preset=ideal", "bob.clock.preset=ideal"]
    files, truth = record(World(load_world(None, ideal), 1), SECONDS, tmp_path_factory.mktemp("link"), "npz", silent)
    return Recorded(Path(files["alice"]), Path(files["bob"]), truth)


def cut(path: Path, out: Path, *kept_s: tuple[float, float], gaps_s: tuple[tuple[float, float], ...] = ()) -> Path:
    """Keep some stretches of a recording, seconds after its first tag, and note gaps."""
    with np.load(path) as recorded:
        channel, tag_ps = recorded["channel"], recorded["tag_ps"]
    since_s = (tag_ps - tag_ps[0]) / PS_PER_S
    kept = np.zeros(tag_ps.size, bool)
    for low_s, high_s in kept_s:
        kept |= (since_s >= low_s) & (since_s < high_s)
    gaps = tuple(
        Gap(int(tag_ps[0] + low_s * PS_PER_S), int(tag_ps[0] + high_s * PS_PER_S), None, "overflow")
        for low_s, high_s in gaps_s
    )
    with RecordingWriter(out, channels={}) as writer:
        writer.write(TagBlock(channel[kept], tag_ps[kept], gaps))
    return out


def measured(alice: Path, bob: Path, clock: ClockOptions | None = None) -> tuple[dict[str, Any], float, float, float]:
    """Return the JSON document, the pair rate and both sides' singles rates, per second."""
    analysis = analyze(alice, bob, AnalysisOptions(channels=MAP, clock=clock or ClockOptions()))
    assert analysis.link is not None
    estimate = analysis.link.estimate
    pairs = float(estimate.matrix.sum() - estimate.accidentals.sum())
    rates = (pairs, float(estimate.alice_clicks.sum()), float(estimate.bob_clicks.sum()))
    return to_json(analysis), *(rate / estimate.duration_s for rate in rates)


def test_common_time_ends_with_whoever_ends_first(link: Recorded, tmp_path: Path) -> None:
    # 49 000 pairs/s over 3.7 s: counting noise is 0.24 %; whole time would give 38 % too little.
    short = (0.0, 3.7)
    for alice, bob in (
        (link.alice, cut(link.bob, tmp_path / "bob.npz", short)),
        (cut(link.alice, tmp_path / "alice.npz", short), link.bob),
    ):
        document, pairs_hz, alice_hz, bob_hz = measured(alice, bob)
        assert document["duration_s"] == pytest.approx(3.7, abs=1e-3)
        assert pairs_hz == pytest.approx(link.pairs_hz, rel=0.012)
        assert alice_hz == pytest.approx(sum(link.truth["expected"]["singles_hz"]["alice"]), rel=0.01)
        assert bob_hz == pytest.approx(sum(link.truth["expected"]["singles_hz"]["bob"]), rel=0.01)


@pytest.mark.parametrize("silent_side", ["alice", "bob"])
def test_time_in_which_a_side_is_silent_is_measured_time(link: Recorded, tmp_path: Path, silent_side: str) -> None:
    # Silent from 2 to 4 of 6 s, without a gap on record: nothing was lost, so the rates are two thirds.
    paths = {"alice": link.alice, "bob": link.bob}
    paths[silent_side] = cut(paths[silent_side], tmp_path / "silent.npz", (0.0, 2.0), (4.0, SECONDS))
    document, pairs_hz, *singles_hz = measured(paths["alice"], paths["bob"])
    assert document["duration_s"] == pytest.approx(SECONDS, abs=1e-3)
    assert document["discards"] == {}
    assert pairs_hz == pytest.approx(2 / 3 * link.pairs_hz, rel=0.012)
    for side, rate_hz in zip(("alice", "bob"), singles_hz, strict=True):
        share = 2 / 3 if side == silent_side else 1.0
        assert rate_hz == pytest.approx(share * sum(link.truth["expected"]["singles_hz"][side]), rel=0.01)


@pytest.mark.parametrize("losing_side", ["alice", "bob"])
def test_gaps_are_taken_off_time_and_off_the_other_side(link: Recorded, tmp_path: Path, losing_side: str) -> None:
    # Lost from 1.2 to 1.5 s within one epoch and from 2 to 4 s over some: rates are those of the rest.
    kept = (0.0, 1.2), (1.5, 2.0), (4.0, SECONDS)
    paths = {"alice": link.alice, "bob": link.bob}
    gaps_s = (1.2, 1.5), (2.0, 4.0)
    paths[losing_side] = cut(paths[losing_side], tmp_path / "gaps.npz", *kept, gaps_s=gaps_s)
    document, pairs_hz, *singles_hz = measured(paths["alice"], paths["bob"])
    assert document["duration_s"] == pytest.approx(SECONDS - 2.3, abs=1e-3)
    assert pairs_hz == pytest.approx(link.pairs_hz, rel=0.012)
    for side, rate_hz in zip(("alice", "bob"), singles_hz, strict=True):
        assert rate_hz == pytest.approx(sum(link.truth["expected"]["singles_hz"][side]), rel=0.01)


@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize("early_side", ["alice", "bob"])
def test_a_recording_that_begins_long_before_the_other_is_skipped_to_it(
    link: Recorded, tmp_path: Path, early_side: str, known: bool
) -> None:
    # Two hours with 300 000 tags of one side before the other begins: more than the survey looks at.
    clicks, head_ps = 300_000, 7200 * PS_PER_S
    paths = {"alice": link.alice, "bob": link.bob}
    with np.load(paths[early_side]) as recorded:
        channel, tag_ps = recorded["channel"], recorded["tag_ps"]
    head = np.linspace(tag_ps[0] - head_ps, tag_ps[0] - 10**6, clicks).astype(np.int64)
    early = tmp_path / "early.npz"
    np.savez(early, tag_ps=np.append(head, tag_ps), channel=np.append(np.arange(clicks) % 4, channel).astype(np.uint8))
    paths[early_side] = early
    clock = None
    if known:
        of_link = link.truth["clock"]
        back_ps = head_ps if early_side == "alice" else 0
        clock = ClockOptions(
            offset_ps=of_link["offset_total_ps"] - round(of_link["frequency_error"] * back_ps),
            frequency_error=of_link["frequency_error"],
            known=True,
        )
    document, pairs_hz, *_ = measured(paths["alice"], paths["bob"], clock)
    assert document["clock"]["locked"]
    assert document["duration_s"] == pytest.approx(SECONDS, abs=0.1)
    assert pairs_hz == pytest.approx(link.pairs_hz, rel=0.012)
    assert sum(document["tags"][early_side].values()) == clicks + tag_ps.size


def stream(side: str, tag_ps: list[int], block_tags: int = 100) -> tuple[ClickStream, list[int]]:
    """Return a stream of one detector that tells how many clicks it has handed to its reader."""
    given: list[int] = []

    def blocks() -> Any:
        for first in range(0, len(tag_ps), block_tags):
            piece = np.array(tag_ps[first : first + block_tags], np.int64)
            given.append(piece.size)
            yield TagBlock(np.zeros(piece.size, np.uint8), piece)

    receiver = Receiver(side, (Detector("H", 0, "HV", 0),))
    return Tape(blocks(), [Tagging(receiver)]).streams[0], given


def test_skipping_keeps_nothing_of_what_it_passes() -> None:
    clicks, given = stream("bob", list(range(0, 10_000_000, 1000)))
    clicks.skip_to(9_000_000)
    assert sum(given) == pytest.approx(9000, abs=200)
    assert clicks.next_ps() == 9_000_000
    assert clicks.last_ps is not None
    assert clicks.last_ps <= 9_200_000


@pytest.mark.parametrize("taggers", [1, 2])
@pytest.mark.parametrize("silent_side", ["alice", "bob"])
def test_a_long_silence_of_one_side_piles_up_nothing_of_the_other(taggers: int, silent_side: str) -> None:
    # 500 epochs with 40 clicks each of one side; the other clicks at the beginning and at the end only.
    busy = np.arange(0, 500 * EPOCH_PS, EPOCH_PS // 40)
    quiet = np.array([3, busy[-1] + 3])
    tag_ps = {"alice": busy, "bob": busy} | {silent_side: quiet}
    detectors = {side: Receiver(side, (Detector("H", k, "HV", 0),)) for k, side in enumerate(tag_ps)}
    if taggers == 1:
        order = np.argsort(np.concatenate(list(tag_ps.values())))
        both_ps = np.concatenate(list(tag_ps.values()))[order]
        channel = np.repeat(np.array([0, 1], np.uint8), [one.size for one in tag_ps.values()])[order]
        pieces = [TagBlock(channel[n : n + 100], both_ps[n : n + 100]) for n in range(0, order.size, 100)]
        alice, bob = Tape(pieces, [Tagging(one) for one in detectors.values()]).streams
        state = None
    else:
        alice, bob = (
            Tape(
                [
                    TagBlock(np.full(own[n : n + 100].size, k, np.uint8), own[n : n + 100])
                    for n in range(0, own.size, 100)
                ],
                [Tagging(detectors[side])],
            ).streams[0]
            for k, (side, own) in enumerate(tag_ps.items())
        )
        state = start(ClockModel(0, 0, 0.0), 100.0, 1000.0)
    held, clicks, live_ps = [], 0, 0
    for epoch in Walk(alice, bob, state, map, 1000.0):
        clicks += len(epoch.bob) if silent_side == "alice" else len(epoch.alice)
        live_ps += epoch.live_ps
        held.append(sum(tag_ps.size for one in (alice, bob) for _, tag_ps in one._chunks))
    assert max(held) < 400
    # With two taggers the first and the last epoch, in which both click, have no peak to prove the clock.
    assert clicks == pytest.approx(busy.size, abs=82)
    assert live_ps == pytest.approx(busy[-1], abs=2 * EPOCH_PS + 5)


def test_a_month_of_silence_is_one_step() -> None:
    # Both sides on one tagger, two clicks 26 days apart: the walk passes over them and counts them.
    month_ps = 2**61 // EPOCH_PS * EPOCH_PS
    both = Receiver("alice", (Detector("H", 0, "HV", 0),)), Receiver("bob", (Detector("H", 1, "HV", 0),))
    block = TagBlock(np.array([0, 1, 0, 1], np.uint8), np.array([5, 6, month_ps + 5, month_ps + 6]))
    alice, bob = Tape([block], [Tagging(one) for one in both]).streams
    epochs = list(Walk(alice, bob, None, map, 0.0))
    assert [len(epoch.alice) for epoch in epochs] == [1, 0, 1]
    assert sum(epoch.live_ps for epoch in epochs) == month_ps + 2


def test_borders_of_epochs_are_those_of_link_time() -> None:
    both = Receiver("alice", (Detector("H", 0, "HV", 0),)), Receiver("bob", (Detector("H", 1, "HV", 0),))
    tag_ps = np.arange(0, 4 * EPOCH_PS, EPOCH_PS // 8) + 17
    block = TagBlock((np.arange(tag_ps.size) % 2).astype(np.uint8), tag_ps)
    alice, bob = Tape([block], [Tagging(one) for one in both]).streams
    epochs = list(Walk(alice, bob, None, map, 0.0))
    assert [(epoch.alice.start_ps, epoch.alice.stop_ps) for epoch in epochs] == [
        (17, EPOCH_PS),
        (EPOCH_PS, 2 * EPOCH_PS),
        (2 * EPOCH_PS, 3 * EPOCH_PS),
        (3 * EPOCH_PS, int(tag_ps[-1]) + 1),
    ]
    assert sum(len(epoch.alice) + len(epoch.bob) for epoch in epochs) == tag_ps.size
