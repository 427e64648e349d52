"""Every first-party driver has a card that tells the truth as far as a machine can check it, and an emulator."""

from __future__ import annotations

import tomllib
from importlib.metadata import entry_points
from pathlib import Path

import pytest
import qnoded_drivers
from driver_benches import CASES, WITHOUT_A_WIRE

from qnoded.instruments.fitting import kind_of
from qnoded.instruments.registry import GROUP, find
from qnoded.testing.emulation import find_device

FOLDER = Path(qnoded_drivers.__file__).parent
CARDS = {card.parent.name: tomllib.loads(card.read_text(encoding="utf-8")) for card in FOLDER.glob("*/card.toml")}
KEYS = {"driver", "models", "kind", "grade", "link", "sources", "unproven"}


def test_each_announced_driver_has_a_card_and_a_bench() -> None:
    announced = {one.name for one in entry_points(group=GROUP) if one.module.startswith("qnoded_drivers.")}
    assert announced == {card["driver"] for card in CARDS.values()} == set(CASES) | WITHOUT_A_WIRE


@pytest.mark.parametrize("folder", CARDS)
def test_a_card_is_complete(folder: str) -> None:
    card = CARDS[folder]
    assert set(card) >= KEYS
    assert set(card) <= KEYS | {"hazards", "requires"}
    assert folder == card["driver"].replace("-", "_")
    assert find(card["driver"]).__module__ == f"qnoded_drivers.{folder}.driver"
    assert card["kind"] == kind_of(find(card["driver"]))
    # Silver and gold need recordings and benches, of which there are none yet.
    assert card["grade"] == "bronze"
    assert all(isinstance(one, str) and one for key in ("models", "sources", "unproven") for one in card[key])


@pytest.mark.parametrize("folder", [folder for folder, card in CARDS.items() if card["driver"] not in WITHOUT_A_WIRE])
def test_its_emulator_is_announced_under_its_name(folder: str) -> None:
    assert type(find_device(CARDS[folder]["driver"])).__module__ == f"qnoded_drivers.{folder}.emulator"
