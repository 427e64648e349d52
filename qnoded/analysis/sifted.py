"""Sifted bits of both sides as files. Sifted, not secret: they are for looking at and for distillation."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import IO, Final, Self

import numpy as np

from qnoded.analysis.epochs import EpochResult
from qnoded.errors import UsageError
from qnoded.formats import Recording
from qnoded.records import SIDES, SiftedEpoch

UNFINISHED: Final = ".part"
"""Ending of a file that is still being written."""


class SiftedFiles:
    """Writes ``alice.txt`` and ``bob.txt``, one bit a line, and ``sifted.json``; without a folder it only counts.

    Files appear under their names when they are complete: a run that was stopped leaves none.
    """

    def __init__(self, folder: Path | None, recordings: Sequence[Recording]) -> None:
        self._folder = folder
        self._simulated = any(recording.info.simulated for recording in recordings)
        self._sources = [str(recording.path) for recording in recordings]
        self._files: list[IO[bytes]] = []
        self.bits = self.errors = 0

    def __enter__(self) -> Self:
        if self._folder is not None:
            try:
                self._folder.mkdir(parents=True, exist_ok=True)
                self._files = [(self._folder / f"{side}.txt{UNFINISHED}").open("wb") for side in SIDES]
            except OSError as error:
                message = f"--sifted {self._folder}: {error.strerror}; name a folder that can be written"
                raise UsageError(message) from None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for file in self._files:
            file.close()
            Path(file.name).unlink(missing_ok=True)

    def take(self, epoch: EpochResult) -> EpochResult:
        """Count and write the bits of an epoch; return the epoch without them, so that memory stays bounded."""
        alice, bob = epoch.sifted
        self.bits += alice.bits.size
        self.errors += int(np.count_nonzero(alice.bits != bob.bits))
        for file, side in zip(self._files, epoch.sifted, strict=False):
            lines = np.empty((side.bits.size, 2), np.uint8)
            lines[:, 0], lines[:, 1] = side.bits + ord("0"), ord("\n")
            file.write(lines.tobytes())
        return replace(epoch, sifted=(_emptied(alice), _emptied(bob)))

    def finish(self) -> None:
        """Give the complete files their names."""
        if self._folder is None:
            return
        for file, side in zip(self._files, SIDES, strict=True):
            file.close()
            Path(file.name).replace(self._folder / f"{side}.txt")
        facts = {
            "bits": self.bits,
            "errors": self.errors,
            "secret": False,
            "simulated": self._simulated,
            "recordings": self._sources,
        }
        (self._folder / "sifted.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")


def _emptied(side: SiftedEpoch) -> SiftedEpoch:
    return SiftedEpoch(side.bits[:0].copy(), side.basis[:0].copy(), side.side)
