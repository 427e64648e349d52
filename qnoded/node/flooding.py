"""What a peer may make libzmq hold: its messages end, or its connections do.

libzmq limits the size of a part (``maxmsgsize``) and the number of whole messages that wait (``rcvhwm``), but not the
number of parts of a message: whoever holds a pinned key and sends one that never ends fills the memory, unseen by the
program, and no option is against it. So the growth of the whole process is watched, and the links begin their
connections anew when it is too much, which throws away what libzmq held for them.
"""

from __future__ import annotations

import asyncio
import ctypes
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final, Protocol

from qnoded.node.memory import resident_bytes
from qnoded.node.status import Level

MOST_GROWTH_BYTES: Final = 1 << 30
"""More than searches, epochs in work and inboxes take together, less than a machine of a node has."""
LOOK_S: Final = 0.25
"""At 10 Gbit/s, 300 MB come in between."""
CALM_S: Final = 5.0
"""For memory to be given back, and for a peer to show whether it goes on."""


class Restartable(Protocol):
    """A socket that can throw away what it holds."""

    async def restart(self) -> None:
        """Close all connections at once, and begin anew as soon as that can be; where that is under way, return."""
        ...


def _give_back() -> None:
    """Let the C library return what was freed, which it keeps otherwise: only so is it known what was held."""
    with suppress(AttributeError, OSError):  # glibc has it, others do not
        ctypes.CDLL(None).malloc_trim(0)


class FloodGate:
    """Watches for all links of the node together: nobody can tell from outside which connection holds what.

    Parameters
    ----------
    sockets
        Of the links.
    tell
        Takes events for people: level and text.
    resident
        Tells how much memory is in use, bytes.
    """

    def __init__(
        self,
        sockets: Sequence[Restartable],
        tell: Callable[[Level, str], None],
        resident: Callable[[], int] = resident_bytes,
    ) -> None:
        self._sockets, self._tell, self._resident = sockets, tell, resident

    async def run(self) -> None:
        """Watch until cancelled."""
        # A link whose address was taken meanwhile holds up neither the others nor the watch.
        async with asyncio.TaskGroup() as restarting:
            await self._watch(restarting)

    async def _watch(self, restarting: asyncio.TaskGroup) -> None:
        least = self._resident()
        while True:
            await asyncio.sleep(LOOK_S)
            grown = self._resident() - least
            if grown <= MOST_GROWTH_BYTES:
                least += min(grown, 0)
                continue
            for socket in self._sockets:
                restarting.create_task(socket.restart())
            await asyncio.sleep(CALM_S)
            _give_back()
            least = self._resident()
            self._tell(
                "warning",
                f"memory had grown by {grown >> 20} MiB, so all links connected anew, and now it is {least >> 20} MiB; "
                "if it has fallen, a peer sends messages without end; if not, something in this node grows",
            )
