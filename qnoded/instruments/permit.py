"""The permit to emit: short-lived, renewed by a healthy node, and never revived once it has lapsed."""

from __future__ import annotations

from dataclasses import dataclass

from qnoded.errors import EmissionRefused


@dataclass(frozen=True, slots=True)
class EmissionPermit:
    """Leave to emit until a moment; a laser that holds none is dark.

    Made only by the node's permit office. A driver keeps the latest one and goes dark by itself once it has lapsed,
    whoever else is dead by then; where the instrument has a watchdog of its own, the driver arms that as well.
    """

    number: int
    """Counts up within one run of the daemon; a higher number replaces a lower one, never the reverse."""
    expires_loop_s: float
    """Moment of the event loop's clock (``loop.time()``, which is ``time.monotonic()``) from which it is void."""
    max_power_dbm: float
    """Never emit more than this under it."""
    reason: str
    """Who asked for light and why, for the log."""

    def check(self, power_dbm: float, loop_s: float) -> None:
        """Refuse what the permit does not cover.

        Raises
        ------
        EmissionRefused
            If it has lapsed or the power exceeds it; nothing may have been written to the instrument before.
        """
        if loop_s >= self.expires_loop_s:
            problem = (
                f"emission permit {self.number} lapsed {loop_s - self.expires_loop_s:.3f} s ago; "
                "ask the node for a new one"
            )
            raise EmissionRefused(problem)
        # Written so that a power that is not a number is refused as well.
        if not power_dbm <= self.max_power_dbm:
            problem = (
                f"{power_dbm} dBm are more than the {self.max_power_dbm} dBm of emission permit {self.number}; "
                "lower the power or raise max_power_dbm of the instrument in the node's config"
            )
            raise EmissionRefused(problem)
