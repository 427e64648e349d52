"""A driver's card: the ``card.toml`` beside its module, read without importing the driver.

It tells what the driver was tested against, what is unproven, and which libraries it needs that do not come with it::

    requires = [{ modules = ["AcmeSdk"], install = "pip install acme-sdk" }]

With ``address = "USB"`` only addresses that begin so need it. One of the ``modules`` is enough.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from qnoded.instruments.registry import GROUP

CARD: Final = "card.toml"


@dataclass(frozen=True, slots=True)
class Requirement:
    """A library that a driver needs and that is not installed with it."""

    modules: tuple[str, ...]
    """One of them is enough."""
    install: str
    """How to come by it."""
    address: str = ""
    """Only instruments whose address begins so need it."""

    def met(self) -> bool:
        """Tell whether one of the modules is installed; imports no more than the packages around it."""
        return any(_is_installed(module) for module in self.modules)

    def __str__(self) -> str:
        where = f" for addresses that begin with {self.address}" if self.address else ""
        return f"{' or '.join(self.modules)} is missing{where}: {self.install}"


_REQUIREMENTS: Final = TypeAdapter(tuple[Requirement, ...])


def card_of(driver: str) -> dict[str, Any] | None:
    """Return what a driver's card says; None if it has none that can be read."""
    entry = next((one for one in entry_points(group=GROUP) if one.name == driver), None)
    package = entry.module.rpartition(".")[0] or entry.module if entry else ""
    try:
        # Only the top one is looked up: the search for a package within would import those around it.
        top, *within = package.split(".")
        spec = find_spec(top) if top else None
        places = (spec.submodule_search_locations or ()) if spec else ()
        cards = (Path(place, *within, CARD) for place in places)
        card = next((one for one in cards if one.is_file()), None)
        return None if card is None else tomllib.loads(card.read_text(encoding="utf-8"))
    except (ImportError, OSError, ValueError):
        return None


def lacking(driver: str) -> tuple[Requirement, ...]:
    """Return the libraries that a driver's card asks for and that are not installed."""
    try:
        needs = _REQUIREMENTS.validate_python((card_of(driver) or {}).get("requires", []))
    except ValidationError:
        # A card is for people first: one that is wrong keeps no driver from working.
        return ()
    return tuple(one for one in needs if not one.met())


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):
        return False
