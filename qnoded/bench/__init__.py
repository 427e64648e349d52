"""Measured speed beside plain twins, in one run: what the figures in the documents rest on.

A suite is a module with ``rows(quick, repeat) -> Iterator[Row]`` (see ``measuring``); ``SUITES`` names them.
"""

from __future__ import annotations

from typing import Final

SUITES: Final = ("hotpath", "sync", "offline", "channel", "distill", "delivery")
"""Modules of this package that ``qnoded bench --suite`` can run, in the order of a photon."""
