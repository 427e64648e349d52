"""The demo on real drivers and emulated instruments: the same ending, from the instruments' own bytes."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import numpy as np
import pytest

from qnoded.cli import main
from qnoded.demo.seam import DETECTORS, POSITIONS, TICK_PS, TURN_PS
from qnoded.demo.stage import set_up, world_file
from qnoded.demo.verdict import clock_check
from qnoded.sim.changes import load_world
from qnoded.sim.knobs import controller_rotation
from qnoded.testing.emulation import Retarder
from qnoded.testing.emulation.retarding import turned_by

TRUE_PS = np.arange(0, 40 * 10**12, 10**11)
OFFSET_PS = 300_000_000_000
FREQUENCY = 3.7e-6
WIRES = ("--tcp", "--pty")


@pytest.mark.slow
def test_two_daemons_of_real_drivers_hold_the_same_keys_and_the_world_agrees(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["demo", "--seam", "bytes", "--seconds", "55", "--seed", "1", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["equal"]
    assert document["agrees"], document["checks"]
    assert {check["what"] for check in document["checks"]} >= {
        "QBER HV as theory says of the world",
        "rate of coincidences as theory says",
        "CHSH S as theory says",
        "clock as the world knows it",
    }
    assert document["chsh"]["s"] - 5 * document["chsh"]["sigma"] > 2.0
    assert document["secret_bits"] > 50_000


def test_both_nodes_have_drivers_of_real_instruments_and_files_without_mistakes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stage = set_up(tmp_path, "tcp://127.0.0.1:7400", 7401, 7402, "bytes")
    assert main(["check", *map(str, stage.nodes.values())]) == 0, capsys.readouterr()
    nodes = {side: tomllib.loads(file.read_text()) for side, file in stage.nodes.items()}
    drivers = {one["driver"] for node in nodes.values() for one in node["instruments"].values()}
    assert not any(driver.startswith("sim-") for driver in drivers)
    # Each instrument has its emulator, and the other way round.
    addresses = {one["address"] for node in nodes.values() for one in node["instruments"].values()}
    places = {one.words[one.words.index(wire) + 1] for one in stage.emulators for wire in one.words if wire in WIRES}
    assert {address.removeprefix("tcp://") for address in addresses} == places
    assert len(stage.emulators) == 5
    assert [nodes["bob"]["receiver"][name] for name in DETECTORS] == [1, 2, 3, 4]


def test_the_world_gets_the_resolution_of_the_taggers_and_keeps_the_rest(tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    own.write_text("[source]\npair_rate_hz = 3e5\n[bob.tagger]\njitter_rms_ps = 50.0\n[bob.fibre]\nlength_km = 5.0\n")
    assert world_file(tmp_path, own, "api") == own
    world = load_world(world_file(tmp_path, own, "bytes"))
    assert (world.alice.tagger.bin_ps, world.bob.tagger.bin_ps) == (TICK_PS, TICK_PS)
    assert (world.source.pair_rate_hz, world.bob.tagger.jitter_rms_ps, world.bob.fibre.length_km) == (3e5, 50.0, 5.0)


def test_the_positions_of_the_plates_do_what_the_examples_do_by_retardance() -> None:
    paddles, plates = (90.0, 180.0, 90.0), (180.0, 180.0)
    for retardances, angles, wanted in (
        (plates, POSITIONS["alice"]["key"], (0, 0, 0)),
        (paddles, POSITIONS["bob"]["key"], (0, 0, 0)),
        (paddles, POSITIONS["bob"]["chsh"], (90, 45, 270)),
    ):
        turned = turned_by([Retarder(*one) for one in zip(angles, retardances, strict=True)])
        np.testing.assert_allclose(turned, controller_rotation(wanted), atol=1e-12)


@pytest.mark.parametrize(("off_ps", "holds"), [(0, True), (60, True), (-300, False)])
def test_a_counter_that_begins_anew_hides_no_wrong_clock(off_ps: int, holds: bool) -> None:
    matcher_ps = TRUE_PS + OFFSET_PS + np.round(TRUE_PS * FREQUENCY).astype(np.int64)
    truth = {"clocks_ps": np.stack([TRUE_PS, TRUE_PS, matcher_ps], axis=1).tolist(), "events": []}
    at_ps, turns = 31 * 10**12, (17, 20)
    offset_ps = OFFSET_PS + round(at_ps * FREQUENCY) + off_ps - (turns[1] - turns[0]) * TURN_PS
    clock = {"reference_ps": at_ps - turns[0] * TURN_PS, "offset_ps": offset_ps, "fraction_ps": 0.0}
    check = clock_check({"matcher": "bob", "clock": clock}, truth, TURN_PS)
    assert check.holds == holds, check.numbers
    # Without the turns it is nowhere near.
    assert not clock_check({"matcher": "bob", "clock": clock}, truth).holds
