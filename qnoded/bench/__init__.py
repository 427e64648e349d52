"""Measured speed beside plain twins, in one run: what the figures in the documents rest on.

A suite is a module with ``rows(quick, repeat) -> Iterator[Row]`` (see ``measuring``); ``SUITES`` names them. The one
named ``LASTING`` is told besides how many minutes it may take.
"""

from __future__ import annotations

from typing import Final

SUITES: Final = ("decoding", "hotpath", "sync", "offline", "channel", "pipeline", "distill", "delivery", "healing")
"""Modules of this package that ``qnoded bench --suite`` can run, in the order of a photon."""
LASTING: Final = "pipeline"
