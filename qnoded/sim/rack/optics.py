"""What stands between a node's fibre and its analyser: polarization controller, attenuator and switch."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from qnoded.errors import UsageError
from qnoded.sim.knobs import Move
from qnoded.sim.rack.device import Device, Surroundings, number
from qnoded.units import PS_PER_S

RETARDANCE_DEG: Final = (0.0, 360.0)
SETTLING_S: Final = 0.05
"""A liquid-crystal or squeezed-fibre retarder rests within some tens of milliseconds."""
LONGEST_SETTLING_S: Final = 60.0
ATTENUATION_DB: Final = (0.0, 60.0)


class Controller(Device):
    """Three retarders at 0, 45 and 0 degrees in front of the analyser."""

    model = "polarization controller"

    def __init__(self, side: int, world: Surroundings) -> None:
        super().__init__(side, world)
        self._move = Move()

    def describe(self) -> dict[str, Any]:
        return {
            "elements": ["retarder at 0 deg", "retarder at 45 deg", "retarder at 0 deg"],
            "min_deg": RETARDANCE_DEG[0],
            "max_deg": RETARDANCE_DEG[1],
            "settling_s": SETTLING_S,
        }

    def read(self) -> dict[str, Any]:
        now_ps = self.world.now_ps
        return {"moving": not self._move.resting(now_ps), "settings_deg": list(self._move.at(now_ps))}

    def make_safe(self) -> None:
        now_ps = self.world.now_ps
        if not self._move.resting(now_ps):
            self._begin(self._move.towards(self._move.at(now_ps), now_ps, 0))

    def act(self, do: str, question: dict[str, Any]) -> dict[str, Any]:
        if do != "move":
            return super().act(do, question)
        asked = question.get("settings_deg")
        if not isinstance(asked, list) or len(asked) != len(self._move.target_deg):
            problem = f"settings_deg needs {len(self._move.target_deg)} retardances, one per element"
            raise UsageError(problem)
        target = tuple(number({"settings_deg": one}, "settings_deg", *RETARDANCE_DEG, "deg") for one in asked)
        # Whoever moves by a mechanism of its own tells how long this step of it takes.
        settling_s = number({"settling_s": SETTLING_S} | question, "settling_s", 0.0, LONGEST_SETTLING_S, "s")
        if target != self._move.target_deg:
            self._begin(self._move.towards(target, self.world.now_ps, round(settling_s * PS_PER_S)))
        return self.read()

    def _begin(self, move: Move) -> None:
        self._move = move
        self.turn_arm(lambda arm: replace(arm, move=move), move.start_ps)


class Attenuator(Device):
    """A variable attenuator in front of the node's receiver; open until a driver takes it."""

    model = "attenuator"
    _attenuation_db = ATTENUATION_DB[0]

    def describe(self) -> dict[str, Any]:
        return {"min_db": ATTENUATION_DB[0], "max_db": ATTENUATION_DB[1], "settling_s": 0.0}

    def read(self) -> dict[str, Any]:
        return {"attenuation_db": self._attenuation_db}

    def make_safe(self) -> None:
        self._set(ATTENUATION_DB[1])

    def act(self, do: str, question: dict[str, Any]) -> dict[str, Any]:
        if do != "attenuate":
            return super().act(do, question)
        self._set(number(question, "attenuation_db", *ATTENUATION_DB, "dB"))
        return self.read()

    def _set(self, attenuation_db: float) -> None:
        self._attenuation_db = attenuation_db
        self.turn_arm(lambda arm: replace(arm, attenuation_db=attenuation_db))


class Switch(Device):
    """Leads the fibre (input 0) to the receiver (output 0) or to a blind port (output 1)."""

    model = "optical switch"
    _output: int | None = 0

    def describe(self) -> dict[str, Any]:
        return {"inputs": 1, "outputs": 2, "switching_s": 0.0}

    def read(self) -> dict[str, Any]:
        return {"routes": [self._output]}

    def make_safe(self) -> None:
        self._lead(None)

    def act(self, do: str, question: dict[str, Any]) -> dict[str, Any]:
        if do != "route":
            return super().act(do, question)
        source, output = question.get("source"), question.get("output")
        if source != 0 or output not in (0, 1, None) or isinstance(output, bool):
            problem = (
                f"input {str(source)[:40]} to output {str(output)[:40]}: there are input 0 and outputs 0, 1 or none"
            )
            raise UsageError(problem)
        self._lead(output)
        return self.read()

    def _lead(self, output: int | None) -> None:
        self._output = output
        self.turn_arm(lambda arm: replace(arm, blocked=output != 0))
