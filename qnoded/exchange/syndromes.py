"""Reconciliation with LDPC codes: alice's syndromes, bob's report, and more from alice where he could not decode.

Nearly always that is one message each way, for any number of blocks. Where bob's decoder gives up, alice discloses
more bits of those frames and he tries again (blind reconciliation), until they decode or are all public. Long blocks
are cut into frames; every decision follows from numbers that both ends know.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from qnoded.exchange.effects import Script, compute, demand, receive, send
from qnoded.exchange.messages import PPB, Message, PackedBits, ReconciliationOpening
from qnoded.records import U8
from qnoded.secret import Secret
from qnoded.stages.reconciliation import ldpc
from qnoded.stages.reconciliation.reconciled import Disclosure, Outcome, ReconciledBlock

Coins = Callable[[int], bytes]
"""Returns that many fresh random bytes that nobody else knows."""


@dataclass(frozen=True, slots=True)
class Syndromes(Message):
    """Alice to bob: the syndromes of all frames of all blocks, one after the other."""

    syndromes: PackedBits


@dataclass(frozen=True, slots=True)
class DecodingReport(Message):
    """Bob to alice: which of the open frames he could not decode, and the errors that he found in the others."""

    number: int
    """Counts from 0."""
    undecoded: PackedBits
    """One bit for each frame that was open."""
    errors: tuple[int, ...]
    """One number for each frame that was open; 0 where it still is."""


@dataclass(frozen=True, slots=True)
class DisclosedBits(Message):
    """Alice to bob: more bits of the open frames, one frame after the other."""

    number: int
    """That of the report that it answers."""
    bits: PackedBits


@dataclass(slots=True)
class _Frame:
    """One end's view of a frame."""

    block: int
    plan: ldpc.FramePlan
    bits: U8
    """uint8[payload_bits], 0 or 1."""
    private: U8 = field(default_factory=lambda: np.empty(0, np.uint8))
    known: U8 = field(default_factory=lambda: np.empty(0, np.uint8))
    """Alice's disclosed bits, at bob's end."""
    disclosed: int = 0
    errors: int = 0
    answers: int = 0
    """Reports of bob's in which the frame took part."""
    lost: bool = False
    """Whether all of it was disclosed in vain."""

    @property
    def exhausted(self) -> bool:
        """Whether as much is public as the frame holds."""
        return ldpc.leak(self.plan, self.disclosed) >= self.plan.payload_bits


def alice(
    blocks: U8, opening: ReconciliationOpening, *, coins: Coins = secrets.token_bytes
) -> Script[tuple[ReconciledBlock, ...]]:
    """Send syndromes, and more bits of whatever bob cannot decode.

    Parameters
    ----------
    blocks : uint8[blocks, ceil(block_bits / 8)], packed
    opening : what was agreed
    coins : source of the punctured bits, which nobody else may know

    Raises
    ------
    UsageError
        If the blocks are too short for these codes.
    RemoteProtocolError
        If a report does not fit.
    """
    frames = yield from compute(_frames, blocks, opening)
    for frame in frames:
        count = frame.plan.punctured_bits
        frame.private = np.unpackbits(np.frombuffer(coins(-(-count // 8)), np.uint8), count=count)
    parts = yield from compute(lambda: [ldpc.encode(frame.plan, frame.bits, frame.private) for frame in frames])
    yield from send(Syndromes(PackedBits.of(np.concatenate(parts))))
    still_open, number = frames, 0
    while still_open:
        report = yield from receive(DecodingReport)
        demand(
            report.number == number
            and report.undecoded.count == len(still_open) == len(report.errors)
            and all(
                0 <= errors <= frame.plan.payload_bits for errors, frame in zip(report.errors, still_open, strict=True)
            ),
            f"report {report.number} on {report.undecoded.count} frames arrived, number {number} on {len(still_open)} "
            "with possible errors is due; messages were lost or repeated, discard the blocks",
        )
        for frame, errors in zip(still_open, report.errors, strict=True):
            frame.answers += 1
            frame.errors = errors
        still_open = _remaining(still_open, report.undecoded)
        if still_open:
            more = []
            for frame in still_open:
                start, frame.disclosed = frame.disclosed, ldpc.next_step(frame.plan, frame.disclosed)
                more.append(ldpc.disclosed(frame.plan, frame.bits, frame.private, start, frame.disclosed))
            yield from send(DisclosedBits(number, PackedBits.of(np.concatenate(more))))
        number += 1
    return _reconciled(frames, opening, number)


def bob(blocks: U8, opening: ReconciliationOpening) -> Script[tuple[ReconciledBlock, ...]]:
    """Decode towards alice's syndromes and report; parameters and errors as for alice."""
    frames = yield from compute(_frames, blocks, opening)
    sent = yield from receive(Syndromes)
    due = sum(frame.plan.syndrome_bits for frame in frames)
    demand(sent.syndromes.count == due, f"syndromes of {sent.syndromes.count} bits arrived, {due} are due")
    ends = np.cumsum([frame.plan.syndrome_bits for frame in frames])[:-1]
    syndromes = dict(zip(map(id, frames), np.split(sent.syndromes.unpacked(), ends), strict=True))
    rate = opening.error_rate_ppb / PPB
    still_open, number = frames, 0
    while True:
        undecoded, errors = np.zeros(len(still_open), np.uint8), []
        for i, frame in enumerate(still_open):
            found = yield from compute(ldpc.decode, frame.plan, frame.bits, rate, syndromes[id(frame)], frame.known)
            frame.answers += 1
            undecoded[i] = not found.converged
            if found.converged:
                frame.errors = int(np.count_nonzero(found.bits != frame.bits))
                frame.bits = found.bits
            errors.append(frame.errors)
        report = DecodingReport(number, PackedBits.of(undecoded), tuple(errors))
        yield from send(report)
        still_open = _remaining(still_open, report.undecoded)
        if not still_open:
            return _reconciled(frames, opening, number + 1)
        yield from _take_more(still_open, number)
        number += 1


def _take_more(still_open: list[_Frame], number: int) -> Script[None]:
    """Read what alice discloses of the open frames."""
    stops = [ldpc.next_step(frame.plan, frame.disclosed) for frame in still_open]
    due = [stop - frame.disclosed for stop, frame in zip(stops, still_open, strict=True)]
    more = yield from receive(DisclosedBits)
    demand(
        more.number == number and more.bits.count == sum(due),
        f"disclosure {more.number} of {more.bits.count} bits arrived, number {number} of {sum(due)} is due; messages "
        "were lost or repeated, discard the blocks",
    )
    parts = np.split(more.bits.unpacked(), np.cumsum(due)[:-1])
    for frame, part, stop in zip(still_open, parts, stops, strict=True):
        frame.known, frame.disclosed = np.concatenate([frame.known, part]), stop


def _frames(blocks: U8, opening: ReconciliationOpening) -> list[_Frame]:
    lengths = ldpc.split(opening.block_bits)
    rate = opening.error_rate_ppb / PPB
    plans = {length: ldpc.plan_block(length, rate) for length in set(lengths)}
    cuts = np.cumsum(lengths)[:-1]
    return [
        _Frame(number, plans[part.size], part)
        for number, block in enumerate(blocks)
        for part in np.split(np.unpackbits(block, count=opening.block_bits), cuts)
    ]


def _remaining(frames: list[_Frame], undecoded: PackedBits) -> list[_Frame]:
    """Return the frames that go on; one that is all public is lost instead."""
    failed = [frame for frame, missing in zip(frames, undecoded.unpacked(), strict=True) if missing]
    for frame in failed:
        frame.lost = frame.exhausted
    return [frame for frame in failed if not frame.lost]


def _reconciled(frames: list[_Frame], opening: ReconciliationOpening, reports: int) -> tuple[ReconciledBlock, ...]:
    """Put the frames together again; bob told one bit and one number for each frame and report."""
    blocks = []
    for number in range(opening.blocks):
        own = [frame for frame in frames if frame.block == number]
        told = sum(frame.answers + frame.plan.payload_bits.bit_length() for frame in own)
        blocks.append(
            ReconciledBlock(
                Secret(np.packbits(np.concatenate([frame.bits for frame in own])).tobytes()),
                opening.block_bits,
                sum(frame.errors for frame in own),
                Disclosure(sum(ldpc.leak(frame.plan, frame.disclosed) for frame in own), told),
                reports,
                Outcome.GIVEN_UP if any(frame.lost for frame in own) else Outcome.CORRECTED,
            )
        )
    return tuple(blocks)
