"""Two files of two sides: given the same one twice, everything would agree and mean nothing."""

from __future__ import annotations

from pathlib import Path

from qnoded.errors import UsageError


def demand_two_files(alice: Path, bob: Path, remedy: str) -> None:
    """Refuse one file in two places; files that are not there are left to whoever reads them.

    Raises
    ------
    UsageError
        If both paths lead to one file; ends with ``remedy``.
    """
    try:
        same = alice.samefile(bob)
    except OSError:
        return
    if same:
        problem = f"{alice} was given for both alice and bob; {remedy}"
        raise UsageError(problem)
