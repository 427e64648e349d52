"""The whole of ``qnoded analyze`` on two recordings, reading taken off: what the stages cost together."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from qnoded.analysis.options import AnalysisOptions, ClockOptions
from qnoded.analysis.run import BLOCK_TAGS, analyze
from qnoded.bench.clicks import LAB, epochs
from qnoded.bench.measuring import OWN, Row, median_seconds
from qnoded.formats import RecordingWriter, open_recording
from qnoded.records import TagBlock

CLICKS: Final = 10_000_000
"""Per side."""
QUICK_CLICKS: Final = 400_000
WINDOW_PS: Final = 1000
TARGET: Final = 60.0
"""Million tags a second of one core, both sides together."""
CHANNELS: Final = {"H": 0, "V": 1, "D": 2, "A": 3}
SEED: Final = 1
READING: Final = "reading alone"


def rows(*, quick: bool, repeat: int) -> Iterator[Row]:
    """Measure the suite.

    Parameters
    ----------
    quick : small data, for seeing that all runs
    repeat : repetitions that count
    """
    with TemporaryDirectory(prefix="qnoded-bench-") as folder:
        alice, bob, tags = _recordings(Path(folder), QUICK_CLICKS if quick else CLICKS)
        # Both sides of the generated link run on one clock, which tracking has to find out.
        options = AnalysisOptions(window_ps=WINDOW_PS, clock=ClockOptions(known=True))

        def read() -> None:
            for path in (alice, bob):
                with open_recording(path) as recording:
                    for _ in recording.blocks(BLOCK_TAGS):
                        pass

        for threads in (1, 2):
            seconds = median_seconds(
                {OWN: partial(analyze, alice, bob, options, threads=threads), READING: read}, repeat
            )
            yield Row(
                f"lab: analyze two npz files, clock known, {threads} thread{'s' if threads > 1 else ''}",
                "Mtag/s",
                tags / (seconds[OWN] - seconds[READING]) / 1e6,
                target=TARGET if threads == 1 and not quick else None,
                note=f"reading, {1e3 * seconds[READING]:.0f} ms, taken off",
            )


def _recordings(folder: Path, clicks: int) -> tuple[Path, Path, int]:
    paths = folder / "alice.npz", folder / "bob.npz"
    tags = 0
    for side, path, epoch in zip(("alice", "bob"), paths, epochs(LAB, clicks, SEED), strict=True):
        tags += len(epoch)
        with RecordingWriter(path, channels={side: CHANNELS}, simulated=True) as writer:
            writer.write(TagBlock(epoch.detector, epoch.tag_ps))
    return *paths, tags
