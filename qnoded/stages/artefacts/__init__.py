"""Artefacts of detectors: named with their numbers and a remedy, from clicks and from coincidences."""

from __future__ import annotations

from qnoded.stages.artefacts.clicks import ClickStatistics, click_artefacts, click_statistics
from qnoded.stages.artefacts.coincidences import coincidence_artefacts
from qnoded.stages.artefacts.finding import Artefact, ArtefactKind

__all__ = [
    "Artefact",
    "ArtefactKind",
    "ClickStatistics",
    "click_artefacts",
    "click_statistics",
    "coincidence_artefacts",
]
