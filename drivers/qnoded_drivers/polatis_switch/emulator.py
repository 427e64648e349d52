"""An emulated Polatis switch."""

from __future__ import annotations

import re
from typing import Annotated, Final

from pydantic import Field

from qnoded.errors import InstrumentGarbled
from qnoded.testing.emulation.device import Device
from qnoded_drivers.polatis_switch.codec import connections_of

CHANGE: Final = re.compile(r":?oxc:swit:conn:(add|sub|only) (\(@[\d,]*\)),\s*(\(@[\d,]*\))")
PORT: Final = re.compile(r":?oxc:swit:conn:port\? (\d{1,4})")
NO_ERROR: Final = '0,"No error"'

Ports = Annotated[int, Field(ge=1, le=384)]


class EmulatedPolatis(Device):
    """A switch that keeps its connections without power, as its mirrors do."""

    def __init__(
        self,
        serial: str = "1234567",
        *,
        model: str = "N-VST-4x4-LU1-DMHNS-000",
        firmware: str = "6.10.1.16",
        inputs: Ports = 4,
        outputs: Ports = 4,
    ) -> None:
        """Make one with nothing connected."""
        self.serial, self._model, self._firmware = serial, model, firmware
        self._inputs, self._outputs = inputs, outputs
        self.connections: dict[int, int] = {}
        """Port -> port."""

    def switch_on(self, now_s: float) -> None:
        """Forget errors and half a line."""
        del now_s
        self._heard = ""
        self._errors: list[str] = []

    def hear(self, data: bytes, now_s: float) -> list[bytes]:
        """Answer questions, obey orders in silence; complain in the queue of errors only."""
        del now_s
        *lines, self._heard = (self._heard + data.decode("latin-1")).split("\n")
        said = [self._obeyed(line.strip().rstrip(";").lower()) for line in lines if line.strip()]
        return [f"{line}\r\n".encode() for line in said if line is not None]

    def _obeyed(self, line: str) -> str | None:
        if self.busy:
            self.busy = False
            self._errors.append('-300,"Device busy"')
            return None
        match line.lstrip(":"):
            case "*idn?":
                return f"Polatis,{self._model},{self.serial},{self._firmware}"
            case "oxc:swit:size?":
                return f"{self._inputs},{self._outputs}"
            case "oxc:swit:conn:stat?":
                near, far = (",".join(map(str, ports)) for ports in (self.connections, self.connections.values()))
                return f"(@{near}),(@{far})"
            case "oxc:swit:disc:all":
                self.connections.clear()
                return None
            case "syst:err:all?":
                told, self._errors = ",".join(self._errors) or NO_ERROR, []
                return told
        if found := PORT.fullmatch(line):
            both = self.connections | {far: near for near, far in self.connections.items()}
            return f'"{both.get(int(found[1]), "")}"'
        if not ((found := CHANGE.fullmatch(line)) and self._changed(found[1], f"{found[2]},{found[3]}")):
            self._errors.append('-113,"Undefined header or parameter"')
        return None

    def _changed(self, how: str, text: str) -> bool:
        """Change connections, all or none."""
        try:
            named = connections_of(text)
        except InstrumentGarbled:
            return False
        if named is None or not all(
            1 <= near <= self._inputs < far <= self._inputs + self._outputs for near, far in named.items()
        ):
            return False
        if how == "sub":
            if not named.items() <= self.connections.items():
                return False
            self.connections = {near: far for near, far in self.connections.items() if near not in named}
            return True
        kept = {} if how == "only" else self.connections
        if set(named) & set(kept) or set(named.values()) & set(kept.values()):
            return False
        self.connections = kept | named
        return True
