"""A simulated link as the scripts of its two ends see it: epochs of both nodes, in their own clocks, as they arrive."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cache

from qnoded.exchange.greeting import Introduction, Session, hear
from qnoded.exchange.happenings import Detected, DetectionLost, KnownClock
from qnoded.exchange.identifying import match, reveal
from qnoded.exchange.link_memory import LinkMemory
from qnoded.exchange.reports import ClockTracked
from qnoded.exchange.terms import LinkTerms
from qnoded.node.cutting import Cutter
from qnoded.records import SIDES, Detector, Receiver
from qnoded.sim import World
from qnoded.sim.changes import load_world
from qnoded.stages.synchronization.clock_state import ClockState
from qnoded.testing.live import Event, ScriptMaker
from qnoded.units import EPOCH_PS, seconds

NAMES = ("H", "V", "D", "A")
BRIGHT = (
    "source.pair_rate_hz=2e5",
    "alice.detectors.skew_ps=0",
    "bob.detectors.skew_ps=0",
    "bob.clock.preset=tcxo",
    "alice.detectors.jitter_fwhm_ps=250",
    "bob.detectors.jitter_fwhm_ps=250",
)
"""Some 60,000 clicks a second at alice and 35,000 at bob, 10,000 pairs; peak of 150 ps sigma."""
TERMS = LinkTerms("test", True, NAMES, NAMES, block_bits=2_000)
EPOCH_S = seconds(EPOCH_PS)


def receiver(side: str) -> Receiver:
    bases = {"H": ("HV", 0), "V": ("HV", 1), "D": ("DA", 0), "A": ("DA", 1)}
    return Receiver(side, tuple(Detector(name, place, *bases[name]) for place, name in enumerate(NAMES)))


@cache
def photons(seconds_long: float, changes: tuple[str, ...] = BRIGHT, seed: int = 1) -> tuple[tuple[Event, ...], World]:
    """Return what both acquisitions tell, and the world; an epoch arrives when the tagger has finished it."""
    world = World(load_world(None, changes), seed)
    cutters = [Cutter(receiver(side)) for side in SIDES]
    events: list[Event] = []
    for pair in world.blocks(seconds_long):
        for end, block in enumerate(pair):
            events += [(seconds(world.now_ps), end, happened) for happened in cutters[end].push(block)]
    return tuple(events), world


def span(event: Event) -> tuple[int, int]:
    happened = event[2]
    epoch = happened.epoch if isinstance(happened, Detected) else happened
    assert not isinstance(epoch, Detected)
    return epoch.start_ps, epoch.stop_ps  # type: ignore[union-attr]


def lost(events: Sequence[Event], end: int, numbers: Iterable[int], reason: str) -> list[Event]:
    """Turn some epochs of one end, by their place in its stream, into lost ones."""
    own = [event for event in events if event[1] == end]
    gone = {id(own[number]) for number in numbers}
    return [(event[0], end, DetectionLost(*span(event), reason)) if id(event) in gone else event for event in events]


@dataclass
class Ends:
    """Makes the scripts of both ends, session after session; the memory of each end and its lock persist."""

    terms: LinkTerms = TERMS
    known: KnownClock | None = None
    """Of the first session."""
    host_error_ns: int = 20_000_000
    """By how much the hosts' clocks differ."""
    offset_ps: int = 300_000_000_000
    """Bob's reading less alice's in the simulated world."""
    seed: int = 1
    tick_ps: Fraction = Fraction(1)
    """Of the revealer's tagger."""
    memories: list[LinkMemory] = field(init=False)
    sessions: list[Session] = field(default_factory=list)
    persist: bool = False
    """True: later sessions begin with the lock of the earlier ones, as in a node that persists it."""
    _state: ClockState | None = None

    def __post_init__(self) -> None:
        self.memories = [LinkMemory.of(self.terms, side) for side in SIDES]

    def session(self, number: int) -> Session:
        while len(self.sessions) <= number:
            nonces = [hashlib.sha256(b"%d %d" % (len(self.sessions), end)).digest()[:16] for end in (0, 1)]
            clock_ns = (0, -self.offset_ps // 1000 + self.host_error_ns)
            alice, bob = (
                Introduction(side, "test", self.terms, nonces[end], f"stream of {side}", clock_ns[end], 5e4)
                for end, side in enumerate(SIDES)
            )
            alice = hear(alice, bob.greeting()).introduction
            settled = hear(bob, alice.greeting()).session
            assert settled is not None
            self.sessions.append(settled)
        return self.sessions[number]

    @property
    def makers(self) -> tuple[ScriptMaker, ScriptMaker]:
        return self._maker(0), self._maker(1)

    def _maker(self, end: int) -> ScriptMaker:
        side = SIDES[end]

        def make(number: int):
            session = self.session(number)
            chance = random.Random(1000 * self.seed + 10 * number + end).randbytes
            if session.revealer == side:
                memory = self.memories[end]
                return reveal(
                    self.terms, side, receiver(side), session, tick_ps=self.tick_ps, memory=memory, randomness=chance
                )
            known = self.known if number == 0 else None
            if known is None:
                known = KnownClock(self._state, self._state is not None, session.host_offset_ps)
            return match(
                self.terms, side, receiver(side), session, known, map, memory=self.memories[end], randomness=chance
            )

        return make

    def watch(self, _end: int, report: object) -> None:
        if self.persist and isinstance(report, ClockTracked) and report.report.locked:
            self._state = report.state
