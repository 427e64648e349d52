"""Cards are found and read without importing the driver; what is missing is told with its remedy."""

from __future__ import annotations

import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from qnoded.cli import main
from qnoded.instruments import cards, registry
from qnoded.instruments.cards import Requirement, card_of, lacking

CARD = """
driver = "acme"
requires = [
    { modules = ["json"], install = "never" },
    { modules = ["acme_sdk.deep", "json"], install = "never" },
    { modules = ["acme_sdk.deep", "acme_old"], install = "pip install acme-sdk" },
    { modules = ["acme_usb"], address = "USB", install = "pip install acme-usb" },
]
"""


@pytest.fixture
def announced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A driver whose module ends the interpreter when it is imported."""
    package = tmp_path / "acme_carded"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "driver.py").write_text("raise SystemExit\n")
    (package / "card.toml").write_text(CARD)
    entries = [
        EntryPoint("acme", "acme_carded.driver:Acme", registry.GROUP),
        EntryPoint("flat", "json:loads", registry.GROUP),
        EntryPoint("gone", "no_such_package.driver:Gone", registry.GROUP),
    ]
    monkeypatch.setattr(cards, "entry_points", lambda group: entries)
    monkeypatch.syspath_prepend(tmp_path)
    return package / "card.toml"


def test_what_is_missing_is_told_and_nothing_is_imported(announced: Path) -> None:
    assert lacking("acme") == (
        Requirement(("acme_sdk.deep", "acme_old"), "pip install acme-sdk"),
        Requirement(("acme_usb",), "pip install acme-usb", "USB"),
    )
    assert [str(one) for one in lacking("acme")] == [
        "acme_sdk.deep or acme_old is missing: pip install acme-sdk",
        "acme_usb is missing for addresses that begin with USB: pip install acme-usb",
    ]
    assert "acme_carded.driver" not in sys.modules


@pytest.mark.parametrize("driver", ["flat", "gone", "unknown"])
def test_a_driver_may_have_no_card(announced: Path, driver: str) -> None:
    assert card_of(driver) is None
    assert lacking(driver) == ()


@pytest.mark.parametrize("content", ["requires = ", "requires = 3\n", 'requires = ["usb"]\n', "requires = [{}]\n"])
def test_a_card_that_makes_no_sense_asks_for_nothing(announced: Path, content: str) -> None:
    announced.write_text(content)
    assert lacking("acme") == ()


def test_the_list_names_the_makers_library_that_is_missing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    there = cards.find_spec
    monkeypatch.setattr(cards, "find_spec", lambda name: None if "TimeTagger" in name else there(name))
    assert main(["drivers"]) == 0
    said = capsys.readouterr().out
    assert 'Swabian.TimeTagger or TimeTagger is missing: pip install "qnoded[swabian]"' in said
    assert "qnoded doctor --config FILE" in said
