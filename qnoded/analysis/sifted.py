"""Sifted bits of both sides as files. Sifted, not secret: they are for looking at and for distillation."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Final, Self

import numpy as np

from qnoded.errors import UsageError
from qnoded.formats import Recording
from qnoded.records import SIDES, SiftedEpoch

UNFINISHED: Final = ".part"
"""Ending of a file that is still being written."""
FACTS: Final = "sifted.json"
PRIVATE_MODE: Final = 0o600
"""What becomes a key is nobody else's to read."""


class SiftedFiles:
    """Writes ``alice.txt`` and ``bob.txt``, one bit a line, and ``sifted.json``; without a folder it only counts.

    Files appear under their names when they are complete, the facts before the bits that they speak of. A run that was
    stopped or has no bit leaves those of an earlier one as they are.
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
                for side in SIDES:
                    self._files.append(_private(self._folder / f"{side}.txt{UNFINISHED}"))
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

    def take(self, sifted: tuple[SiftedEpoch, SiftedEpoch]) -> None:
        """Count and write the bits of both sides of an epoch."""
        alice, bob = sifted
        self.bits += alice.bits.size
        self.errors += int(np.count_nonzero(alice.bits != bob.bits))
        for file, side in zip(self._files, sifted, strict=False):
            lines = np.empty((side.bits.size, 2), np.uint8)
            lines[:, 0], lines[:, 1] = side.bits + ord("0"), ord("\n")
            file.write(lines.tobytes())

    def finish(self) -> None:
        """Give the complete files their names, if there is a bit in them."""
        if self._folder is None or not self.bits:
            return
        facts = {
            "bits": self.bits,
            "errors": self.errors,
            "secret": False,
            "simulated": self._simulated,
            "recordings": self._sources,
        }
        unfinished = self._folder / f"{FACTS}{UNFINISHED}"
        with _private(unfinished) as file:
            file.write(f"{json.dumps(facts, indent=2)}\n".encode())
        unfinished.replace(self._folder / FACTS)
        for file, side in zip(self._files, SIDES, strict=True):
            file.close()
            Path(file.name).replace(self._folder / f"{side}.txt")


def _private(path: Path) -> IO[bytes]:
    """Open a new file that only its owner may read, in place of any that has its name."""
    path.unlink(missing_ok=True)
    path.touch(PRIVATE_MODE, exist_ok=False)
    return path.open("wb")
