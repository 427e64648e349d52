"""A pulsed source: two clicks meet by chance only where both come from pulses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from qnoded.analysis.options import options_from
from qnoded.analysis.result import to_json
from qnoded.analysis.run import analyze
from qnoded.errors import UsageError

PERIOD_PS = 13_000
PULSES = 4_000_000
MAP = "[alice]\nH = 0\n[bob]\nH = 1\n"


@pytest.mark.parametrize(("pulse_period_ps", "accidentals"), [("13000", 900), (None, 0)])
def test_accidentals_are_those_of_the_pulses_where_their_period_is_given(
    tmp_path: Path, pulse_period_ps: str | None, accidentals: int
) -> None:
    # 0.05 pairs a pulse, 30 % of their photons seen: 18 000 pairs and, of 0.015 clicks a pulse and side, 900 by chance,
    # known to 5 standard deviations of two to eight windows. Windows 1 us away stand at 76.92 pulses, on none.
    random = np.random.default_rng(7)
    pulse_ps = np.sort(random.integers(0, PULSES, random.poisson(0.05 * PULSES))) * PERIOD_PS
    seen = random.random((2, pulse_ps.size)) < 0.3
    tag_ps = np.concatenate([pulse_ps[one] + random.normal(0, 100, one.sum()).astype(np.int64) for one in seen])
    channel = np.repeat(np.array([0, 1], np.uint8), seen.sum(axis=1))
    order = np.argsort(tag_ps, kind="stable")
    np.savez(tmp_path / "pulsed.npz", tag_ps=tag_ps[order], channel=channel[order])
    (tmp_path / "map.toml").write_text(MAP)
    options = options_from(channels=tmp_path / "map.toml", window_ps=1000, pulse_period_ps=pulse_period_ps)
    document = to_json(analyze(tmp_path / "pulsed.npz", None, options))
    pairs = int(seen.all(axis=0).sum())
    assert document["accidentals"][0][0] == pytest.approx(accidentals, abs=5 * 900**0.5)
    assert document["matrix"][0][0] - pairs == pytest.approx(900, abs=5 * 900**0.5)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("0", "pulse period of '0' ps cannot be read; write a positive number or ratio"),
        ("fast", "pulse period of 'fast' ps cannot be read"),
        ("1/2", "--pulse-period-ps 1/2 is out of range; give a value from 1 to 10"),
        ("2000000000", "--pulse-period-ps 2000000000 is out of range"),
    ],
)
def test_a_pulse_period_that_cannot_be_is_refused(text: str, problem: str) -> None:
    with pytest.raises(UsageError, match=problem):
        options_from(pulse_period_ps=text)
