"""What a run leaves: JSON lines of every measurement and verdict, and one page for people."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from html import escape
from importlib.metadata import version
from pathlib import Path
from platform import platform, python_version
from typing import Any, Final

from qnoded.hil.benches import ON_HARDWARE, Backend
from qnoded.hil.guarding import read_ledger
from qnoded.hil.rig import Rig

STYLE: Final = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 75rem; padding: 0 1rem; color: #1a1a1a }
table { border-collapse: collapse; width: 100%; margin: .5rem 0 2rem } h1 { margin-bottom: 0 }
th, td { text-align: left; padding: .25rem .6rem; border-bottom: 1px solid #ddd; vertical-align: top }
td.number { text-align: right; font-variant-numeric: tabular-nums } .passed { color: #176b2c } .skipped { color: #777 }
.failed { color: #b00020; font-weight: 600 } .verdict { font-size: 1.3rem; margin: .3rem 0 1.2rem }
"""


TWIN: Final = ("test", "what", "real", "emulated", "tolerance")
"""Of a line about the twin."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one test."""

    test: str
    device: str | None
    outcome: str
    """``passed``, ``failed`` or ``skipped``."""
    took_s: float
    words: str
    """Why it failed or was skipped."""


@dataclass(slots=True)
class Report:
    """What is known of a run so far; every line is on disk as soon as it is known."""

    rig: Rig
    backend: Backend
    level: int
    folder: Path
    known: set[str] = field(default_factory=set)
    """Devices of the real bench that are what the rig file says."""
    compared: int = 0
    """Answers of a twin that were compared."""
    verdicts: list[Verdict] = field(default_factory=list)
    lines: list[dict[str, Any]] = field(default_factory=list)

    def note(self, test: str, what: dict[str, Any]) -> None:
        """Write a line about a test."""
        line = {"test": test, "backend": self.backend} | what
        self.lines.append(line)
        with (self.folder / "results.jsonl").open("a", encoding="utf-8") as file:
            file.write(f"{json.dumps(line)}\n")

    def add(self, verdict: Verdict) -> None:
        """Take a verdict."""
        self.verdicts.append(verdict)
        self.note(verdict.test, {"verdict": verdict.outcome} | asdict(verdict))

    @property
    def twin(self) -> list[dict[str, Any]]:
        """Where the twin differed."""
        return [one for one in self.lines if "emulated" in one]

    def measurements(self, what: str) -> list[dict[str, Any]]:
        """Return the measurements of one quantity."""
        return [one for one in self.lines if one.get("measured") == what]


def write_html(report: Report, utc: str) -> Path:
    """Write the page into the report's folder and return its path; it needs no other file."""
    file = report.folder / "report.html"
    file.write_text(_page(report, utc), encoding="utf-8")
    return file


def _page(report: Report, utc: str) -> str:
    station, failed = report.rig.station, sum(one.outcome == "failed" for one in report.verdicts)
    passed = sum(one.outcome == "passed" for one in report.verdicts)
    skipped = len(report.verdicts) - failed - passed
    outcome = "failed" if failed or not passed else "passed"
    guard = report.rig.settings.guard
    facts = {
        "back-end": f"{report.backend}, hazard level up to {report.level}"
        if report.backend in ON_HARDWARE
        else report.backend,
        "beam": station.beam,
        "interlock": station.interlock or "none given",
        "contact": station.contact,
        "rig file": f"{report.rig.file}, SHA-256 {report.rig.digest}",
        "guard": f"silence {guard.silence_s:g} s, patience {guard.patience_s:g} s",
        "software": f"qnoded {version('qnoded')}, Python {python_version()}, {platform()}",
        "ended": utc,
    }
    return "".join(
        (
            f"<!doctype html><html lang=en><meta charset=utf-8><title>{escape(station.name)}</title>",
            f"<style>{STYLE}</style><h1>{escape(station.name)}</h1>",
            f'<p class="verdict {outcome}">{passed} passed, {failed} failed, {skipped} skipped</p>',
            _table((), [(escape(key), escape(value)) for key, value in facts.items()]),
            "<h2>Safe states: time to the last light that was seen</h2>",
            _table(
                ("test", "time to safe", "limit", ""), [_measured(one) for one in report.measurements("time to safe")]
            ),
            "<h2>Measurements</h2>",
            _table(("test", "value", "limit", "what"), [_measured(one) for one in _others(report)]),
            *_twin(report),
            "<h2>Tests</h2>",
            _table(("test", "outcome", "s", "why"), [_judged(one) for one in report.verdicts]),
            "<h2>Safe-state ledger</h2>",
            _table(
                ("UTC", "by", "what", "more"), [_entered(one) for one in read_ledger(report.folder / "ledger.jsonl")]
            ),
        )
    )


def _twin(report: Report) -> tuple[str, ...]:
    if report.backend != "shadow":
        return ()
    rows = [tuple(escape(str(one[key])) for key in TWIN) for one in report.twin]
    return "<h2>The twin differs</h2>", _table(TWIN, rows)


def _others(report: Report) -> list[dict[str, Any]]:
    return [one for one in report.lines if one.get("measured", "time to safe") != "time to safe"]


def _measured(line: dict[str, Any]) -> tuple[str, ...]:
    value = line["value"]
    shown = f"{value:.3f} {line['unit']}" if isinstance(value, float) else f"{value} {line['unit']}".strip()
    mark = f'<span class="{"passed" if line["holds"] else "failed"}">{escape(shown)}</span>'
    return escape(line["test"]), mark, escape(line["limit"]), escape(line["measured"])


def _judged(one: Verdict) -> tuple[str, ...]:
    return escape(one.test), f'<span class="{one.outcome}">{one.outcome}</span>', f"{one.took_s:.2f}", escape(one.words)


def _entered(line: dict[str, Any]) -> tuple[str, ...]:
    more = {key: value for key, value in line.items() if key not in ("utc", "by", "what", "monotonic_s")}
    text = ", ".join(f"{key} {value}" for key, value in more.items())
    return escape(line["utc"]), escape(line["by"]), escape(line["what"]), escape(text)


def _table(heads: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    head = f"<tr>{''.join(f'<th>{one}' for one in heads)}" if heads else ""
    body = "".join(f"<tr>{''.join(f'<td>{cell}' for cell in row)}" for row in rows)
    return f"<table>{head}{body}</table>" if rows else "<p>none</p>"
