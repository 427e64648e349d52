"""Does a class fit one of the protocols? Told before it is used, in words that its author can act upon.

Python's own ``isinstance`` looks for names only, and ``issubclass`` refuses protocols with fields. Here also the
parameters are compared, what must be ``async``, and what the settings model forbids.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Final

from pydantic import BaseModel

from qnoded.instruments.protocols import KINDS, Instrument


def _public(protocol: type[object]) -> frozenset[str]:
    names = {*vars(protocol), *inspect.get_annotations(protocol)}
    return frozenset(name for name in names if not name.startswith("_"))


SHARED: Final = _public(Instrument)
"""Members of every instrument."""
OWN: Final = {kind: _public(protocol) - SHARED for kind, protocol in KINDS.items()}
"""Kind -> members that no other kind has; a power meter has none, since it is only read."""
READ_ONLY_KIND: Final = "power_meter"


def kind_of(driver: type[object]) -> str:
    """Return the kind of instrument that a class is meant to be: the one of whose own members it has any."""
    meant = [kind for kind, own in OWN.items() if any(hasattr(driver, name) for name in own)]
    return meant[0] if meant else READ_ONLY_KIND


def misfits(driver: type[object]) -> list[str]:
    """Return what a class lacks to fit its protocol; empty if it fits."""
    return list(_misfits(driver))


def _misfits(driver: type[object]) -> Iterator[str]:
    meant = [kind for kind, own in OWN.items() if any(hasattr(driver, name) for name in own)]
    if len(meant) > 1:
        yield f"has members of several kinds: {', '.join(meant)}; write one class per instrument"
        return
    protocol = KINDS[kind_of(driver)]
    settings = getattr(driver, "Settings", None)
    if not (inspect.isclass(settings) and issubclass(settings, BaseModel)):
        yield "Settings must be a pydantic model"
    elif settings.model_config.get("extra") != "forbid":
        yield 'Settings must forbid unknown keys: model_config = ConfigDict(extra="forbid")'
    if not isinstance(getattr(driver, "simulated", None), bool):
        yield "simulated must be True or False"
    if len(_required(driver.__init__)) != 1 + len(("self",)):
        yield "__init__ must take the settings and nothing else"
    for name in sorted((SHARED | OWN[kind_of(driver)]) - {"Settings", "simulated"}):
        yield from _member_misfits(driver, protocol, name)


def _member_misfits(driver: type[object], protocol: type[object], name: str) -> Iterator[str]:
    wanted, found = getattr(protocol, name), getattr(driver, name, None)
    if isinstance(wanted, property):
        # A plain attribute that __init__ sets does as well, and cannot be seen on the class.
        if inspect.isfunction(found):
            yield f"{name} must be a property or an attribute, not a method"
        return
    form = f"{'async ' if inspect.iscoroutinefunction(wanted) else ''}def {name}({', '.join(_required(wanted))})"
    if found is None:
        yield f"{name} is missing: {form}"
    elif not inspect.isfunction(found):
        yield f"{name} must be a method: {form}"
    elif _required(found) != _required(wanted):
        yield f"{name}({', '.join(_required(found))}) has other parameters: {form}"
    elif inspect.iscoroutinefunction(found) != inspect.iscoroutinefunction(wanted):
        yield f"{name} must {'' if inspect.iscoroutinefunction(wanted) else 'not '}be a coroutine: {form}"


def _required(function: object) -> list[str]:
    """Return the parameters that a caller must give."""
    assert callable(function)
    parameters = inspect.signature(function).parameters.values()
    free = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [one.name for one in parameters if one.default is one.empty and one.kind not in free]
