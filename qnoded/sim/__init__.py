"""The simulated optical world: one source, two fibres, two receivers, two clocks, and the truth about them.

Two programs that share only a seed are a local-hidden-variable model and cannot violate CHSH when a setting changes
at run time; here one world knows all settings and draws joint outcomes. Nothing in the runtime imports this package.
"""

from __future__ import annotations

from qnoded.sim.settings import WorldSettings
from qnoded.sim.world import World

__all__ = ["World", "WorldSettings"]
