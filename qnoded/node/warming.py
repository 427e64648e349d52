"""Kernels are compiled, and have run once, before the node says that it is ready.

A kernel compiles when its module is imported, from the cache where there is one. A tiny epoch then goes the way of the
first photons, so that whatever libraries set up at their first use is set up as well.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from qnoded.records import Detector, Receiver, TagBlock
from qnoded.units import EPOCH_PS, PS_PER_S


def warm(over: Callable[..., Any]) -> None:
    """Import all that a live link runs, and push a few synthetic photons through it.

    Parameters
    ----------
    over
        Like ``map``: where stages spread their work.
    """
    from qnoded.exchange import distilling, identifying  # noqa: F401 - imported for their kernels
    from qnoded.exchange.happenings import Detected
    from qnoded.node import key_service, linking, recording, turning  # noqa: F401 - so that no import holds up the loop
    from qnoded.node.cutting import Cutter
    from qnoded.stages.synchronization.acquisition import SearchRange, acquire

    receiver = Receiver("alice", (Detector("H", 0, "HV", 0), Detector("V", 1, "HV", 1, delay_ps=1)))
    chance = np.random.default_rng(0)
    tag_ps = np.sort(chance.integers(0, 3 * EPOCH_PS, 3000))
    block = TagBlock(chance.integers(0, 2, tag_ps.size).astype(np.uint8), tag_ps)
    epochs = [one.epoch for one in Cutter(receiver).push(block) if isinstance(one, Detected)]
    pairs_ps = epochs[0].tag_ps
    acquire(pairs_ps, pairs_ps + 1000, SearchRange(0, PS_PER_S // 1000, 0.0, 1e-7), over=over)
