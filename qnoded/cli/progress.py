"""A progress bar on stderr for whatever takes longer than two seconds."""

from __future__ import annotations

import sys
from time import monotonic
from types import TracebackType
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

PATIENCE_S: Final = 2.0
"""What takes less shows no bar: it would only flicker."""


class Progress:
    """Call it with a fraction from 0 to 1 and a few words; it shows itself when the wait gets long.

    Where stderr is no terminal it stays silent, so that logs hold no bars.
    """

    def __init__(self) -> None:
        self._bar: Bar | None = None
        self._started = monotonic()
        self._terminal = sys.stderr.isatty()

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def __call__(self, fraction: float, words: str) -> None:
        """Show how far the work is; ``fraction`` is clipped to 0..1."""
        if self._bar is None:
            if not self._terminal or monotonic() - self._started < PATIENCE_S:
                return
            self._bar = Bar(
                TextColumn("{task.description}"),
                BarColumn(),
                TaskProgressColumn(),
                TimeElapsedColumn(),
                console=Console(stderr=True),
                transient=True,
            )
            self._bar.add_task(words, total=1.0)
            self._bar.start()
        self._bar.update(self._bar.tasks[0].id, completed=min(max(fraction, 0.0), 1.0), description=words)
