"""A session with an instrument becomes a transcript, and the transcript an instrument that says the same again."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from rigs_made import LASERS, rig_of

from qnoded.errors import FormatError, InstrumentError, InstrumentUnavailable
from qnoded.hil.benches import standing
from qnoded.hil.recorder import record_session, session
from qnoded.hil.replaying import RecordedInstrument
from qnoded.hil.transcript import Exchange, Utterance, exchanges, head, read_transcript
from qnoded.testing.emulation import Emulation, find_device, on_tcp

DRIVERS = ("toptica-dlc-pro", "itla-msa")


def said(*pieces: tuple[str, bytes]) -> tuple[Utterance, ...]:
    return tuple(Utterance(0.1 * number, who, data) for number, (who, data) in enumerate(pieces))  # type: ignore[arg-type] # literals in tests


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_recorded_session_can_be_held_again(driver: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with on_tcp(Emulation(find_device(driver))) as port:
            rig = rig_of(tmp_path, driver, address=f"tcp://127.0.0.1:{port}")
            who = await record_session(rig.devices[driver], tmp_path / f"{driver}.jsonl")
        async with standing(rig, driver, "replay", tmp_path) as bench:
            assert await session(bench.device) == who
            assert bench.missed == []

    asyncio.run(scenario())


def test_what_was_never_asked_has_no_answer_and_is_told(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with on_tcp(Emulation(find_device("itla-msa"))) as port:
            rig = rig_of(tmp_path, "itla-msa", address=f"tcp://127.0.0.1:{port}")
            await record_session(rig.devices["itla-msa"], tmp_path / "itla-msa.jsonl")
        other = rig_of(tmp_path, "itla-msa", frequency_ghz=193_500.0)
        async with standing(other, "itla-msa", "replay", tmp_path) as bench:
            with pytest.raises(InstrumentError):
                await session(bench.device)
            assert bench.missed

    asyncio.run(scenario())


def test_an_instrument_that_is_not_there(tmp_path: Path) -> None:
    rig = rig_of(tmp_path, "itla-msa", address="tcp://127.0.0.1:1")
    with pytest.raises(InstrumentUnavailable, match="cannot be opened"):
        asyncio.run(record_session(rig.devices["itla-msa"], tmp_path / "itla-msa.jsonl"))


def test_questions_in_pieces_and_questions_without_answer_are_one() -> None:
    heard = said(
        ("connect", b""),
        ("instrument", b"> "),
        ("host", b"a"),
        ("host", b"b\n"),
        ("instrument", b"1"),
        ("host", b"c\n"),
    )
    assert exchanges(heard) == ((Exchange(b"", (b"> ",)), Exchange(b"ab\n", (b"1",)), Exchange(b"c\n", ())),)


def test_the_same_question_gets_its_answers_in_order_then_from_the_beginning() -> None:
    heard = said(("host", b"?\n"), ("instrument", b"1"), ("host", b"!\n"), ("instrument", b"ok"), ("host", b"?\n"))
    played = RecordedInstrument((*heard, *said(("instrument", b"2"))))
    played.switch_on(0.0)
    played.greet()
    assert [played.hear(asked, 0.0) for asked in (b"?\n", b"!\n", b"?", b"\n", b"?\n")] == [
        [b"1"],
        [b"ok"],
        [],
        [b"2"],
        [b"1"],
    ]
    assert played.hear(b"what", 1.0) == []
    assert played.tick(1.4) == []
    played.tick(1.6)
    assert played.missed == ["b'what'"]


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{}",
        "[]",
        '{"transcript": 2}',
        f"{head('x', 'y')}\nnonsense",
        f'{head("x", "y")}\n{{"at_s": 0, "from": "nobody", "hex": ""}}',
        f'{head("x", "y")}\n{{"at_s": 0, "from": "host", "hex": "zz"}}',
        f'{head("x", "y")}\n{{"at_s": "x", "from": "host", "hex": "00"}}',
    ],
)
def test_a_file_that_is_no_transcript_is_named(content: str, tmp_path: Path) -> None:
    (tmp_path / "pump.jsonl").write_text(content, encoding="utf-8")
    with pytest.raises(FormatError, match=r"pump\.jsonl"):
        read_transcript(tmp_path / "pump.jsonl")


def test_no_file_and_no_recordings_are_named(tmp_path: Path) -> None:
    assert set(DRIVERS) <= set(LASERS)
    with pytest.raises(FormatError, match=r"No such file"):
        read_transcript(tmp_path / "pump.jsonl")
    with pytest.raises(FormatError, match="no file of a sensible size"):
        read_transcript(tmp_path)
