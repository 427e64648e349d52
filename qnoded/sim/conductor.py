"""Turns the knobs of a world as instruments and script tell, slot by slot, and writes down what was true."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from threading import Lock
from typing import Any, Final

from qnoded.records import SIDES, TagBlock
from qnoded.sim.events import Event
from qnoded.sim.knobs import Knobs
from qnoded.sim.settings import WorldSettings
from qnoded.sim.world import SLOT_PS, World
from qnoded.units import seconds

DARK: Final = Knobs(pump_mw=0.0)
"""No laser emits until a node asks for it."""
LONGEST_RECORD: Final = 100_000
"""Entries of each list of the truth record; a world that runs for weeks forgets the oldest."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """Tags of both nodes for one stretch of true time."""

    stop_ps: int
    blocks: tuple[TagBlock, TagBlock]
    borders_ps: tuple[tuple[int, int], tuple[int, int]]
    """For each side what its clock shows at the beginning and at the end, ps."""
    began: tuple[Event, ...]
    """Events that began meanwhile."""
    ended: tuple[Event, ...]


class Conductor:
    """One world and all that happens to it.

    All of it may be called from any thread; who asks for the truth waits until the present stretch is drawn.
    """

    def __init__(self, settings: WorldSettings, seed: int, script: Iterable[Event] = ()) -> None:
        self.world = World(settings, seed, self._before_slot)
        self._drawing = Lock()
        self._commanded = DARK
        self._commands: deque[tuple[int, Callable[[Knobs], Knobs]]] = deque()
        self._coming = list(script)
        self._injected: deque[Event] = deque()
        self._present: list[tuple[Event, dict[str, Any]]] = []
        self._began: list[Event] = []
        self._ended: list[Event] = []
        self._borders_ps = self.world.clocks_ps(0)
        self._events: deque[dict[str, Any]] = deque(maxlen=LONGEST_RECORD)
        self._lasers: deque[dict[str, Any]] = deque(maxlen=LONGEST_RECORD)
        self._positions: deque[dict[str, Any]] = deque(maxlen=LONGEST_RECORD)

    def command(self, true_ps: int, change: Callable[[Knobs], Knobs]) -> None:
        """Change the knobs from the first slot on that is not drawn yet and begins at or after a moment."""
        self._commands.append((true_ps, change))

    def inject(self, event: Event) -> None:
        """Add an event to the script."""
        self._injected.append(event)

    def advance(self, stop_ps: int) -> Stretch:
        """Run the world until a moment of true time and return what came of it."""
        with self._drawing:
            return self._advanced(stop_ps)

    def _advanced(self, stop_ps: int) -> Stretch:
        blocks = self.world.run_until(stop_ps)
        before_ps, self._borders_ps = self._borders_ps, self.world.clocks_ps(stop_ps)
        began, self._began = self._began, []
        ended, self._ended = self._ended, []
        alice, bob = zip(before_ps, self._borders_ps, strict=True)
        return Stretch(stop_ps, blocks, (alice, bob), tuple(began), tuple(ended))

    @property
    def truth(self) -> dict[str, Any]:
        """What was true so far: what the world says of itself, what happened and what holds now; ready for JSON.

        Times ``_s`` are true time. Entries of ``clocks_ps`` are true time, alice's reading and bob's reading.
        """
        with self._drawing:
            return self._truth()

    def _truth(self) -> dict[str, Any]:
        return self.world.truth | {
            "events": list(self._events),
            "lasers": list(self._lasers),
            "positions": list(self._positions),
            "clocks_ps": [list(one) for one in self.world.readings],
            "present": self.world.expected,
        }

    def _before_slot(self, slot: int) -> None:
        start_ps = slot * SLOT_PS
        while self._commands and self._commands[0][0] <= start_ps:
            _, change = self._commands.popleft()
            self._commanded = change(self._commanded)
        self._begin_and_end(slot)
        knobs = self._commanded
        for event, _ in self._present:
            knobs = event.turn(knobs)
        before = self.world.knobs
        if knobs != before:
            self.world.turn(knobs)
            self._write_down(before, knobs, seconds(start_ps))

    def _begin_and_end(self, slot: int) -> None:
        now_s = seconds(slot * SLOT_PS)
        self._coming += [self._injected.popleft() for _ in range(len(self._injected))]
        for event, entry in list(self._present):
            if event.last_slot is not None and event.last_slot <= slot:
                self._present.remove((event, entry))
                entry["stop_s"] = now_s
                self._ended.append(event)
        due = sorted((one for one in self._coming if one.first_slot <= slot), key=lambda event: event.first_slot)
        for event in due:
            self._coming.remove(event)
            event.begin(self.world)
            entry = {"label": event.name, "what": event.what, "start_s": now_s, "stop_s": None}
            entry["settings"] = event.describe()
            self._events.append(entry)
            self._present.append((event, entry))
            self._began.append(event)

    def _write_down(self, before: Knobs, knobs: Knobs, now_s: float) -> None:
        lights = ((before.pump_mw, knobs.pump_mw), (before.alignment_mw, knobs.alignment_mw))
        for side, (old_mw, new_mw) in zip(SIDES, lights, strict=True):
            if old_mw == new_mw:
                continue
            for entry in reversed(self._lasers):
                if entry["side"] == side:
                    # The last entry of the side is the only one that can be open.
                    entry["stop_s"] = now_s if entry["stop_s"] is None else entry["stop_s"]
                    break
            if new_mw:
                self._lasers.append({"side": side, "power_mw": new_mw, "start_s": now_s, "stop_s": None})
        for number, side in enumerate(SIDES):
            move = knobs.arm(number).move
            if move != before.arm(number).move:
                self._positions.append(
                    {
                        "side": side,
                        "start_s": seconds(move.start_ps),
                        "rests_s": seconds(move.start_ps + move.settling_ps),
                        "retardance_deg": list(move.target_deg),
                    }
                )
