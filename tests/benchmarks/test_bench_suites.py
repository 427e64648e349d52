"""Each suite runs on small data and its JSON says what a reader of figures needs; no figure is judged here."""

from __future__ import annotations

import argparse
import json

import pytest

from qnoded.bench import SUITES
from qnoded.bench.clicks import DEAD_TIME_PS, FIELD, LAB, Link, epochs
from qnoded.bench.measuring import Row, median_seconds, throughput
from qnoded.cli import bench
from qnoded.errors import UsageError


def bench_args(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    bench.add_arguments(parser)
    return parser.parse_args(words)


PATIENT = {"healing"}
"""Real daemons, killed and cut off: a minute."""


@pytest.mark.parametrize(
    "suite", [pytest.param(suite, marks=[pytest.mark.slow] if suite in PATIENT else []) for suite in SUITES]
)
def test_a_suite_runs_and_its_json_has_the_keys(suite: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench.run(bench_args("--suite", suite, "--quick", "--repeat", "5", "--json")) == 0
    document = json.loads(capsys.readouterr().out)
    assert document.keys() == {"machine", "quick", "repeat", "suites"}
    assert document["machine"].keys() == {"processor", "architecture", "system", "cores", "flags", "versions"}
    assert document["suites"].keys() == {suite}
    for row in document["suites"][suite]:
        assert row.keys() == {"what", "unit", "own", "twins", "ratios", "target", "met", "note"}
        assert row["own"] > 0 or row["unit"] == "MiB/min"
        assert row["ratios"].keys() == row["twins"].keys()


def test_the_table_names_machine_target_and_verdict(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [
        Row("fast", "Mtag/s", 10.0, {"twin": 2.0}, 5.0),
        Row("slow", "s", 3.0, {"twin": 6.0}, 2.0, higher_is_better=False),
    ]
    monkeypatch.setattr("qnoded.bench.hotpath.rows", lambda *, quick, repeat: iter(rows))
    assert bench.run(bench_args("--suite", "hotpath")) == 0
    assert bench.run(bench_args("--suite", "hotpath", "--check")) == 1
    table = capsys.readouterr().out
    assert "cores" in table
    assert ">= 5      met    twin 2 (5.0x)" in table
    assert "<= 2      MISSED twin 6 (2.0x)" in table


def test_too_few_repetitions_are_refused() -> None:
    with pytest.raises(UsageError, match="at least 5"):
        bench.run(bench_args("--repeat", "4"))


@pytest.mark.parametrize("minutes", ["0", "nan", "1e9"])
def test_times_that_are_none_are_refused(minutes: str) -> None:
    with pytest.raises(UsageError, match="or more than a day"):
        bench.run(bench_args("--minutes", minutes))


def test_contestants_run_by_turns_after_a_warm_up() -> None:
    order: list[str] = []
    median_seconds({"own": lambda: order.append("own"), "twin": lambda: order.append("twin")}, 2)
    assert order == ["own", "twin"] * 3


def test_a_row_without_target_is_neither_met_nor_missed() -> None:
    row = throughput("nothing", 10**6, lambda: None, 5)
    assert row.met is None
    assert row.own > 0


@pytest.mark.parametrize("link", [LAB, FIELD])
def test_the_clicks_have_the_rate_of_the_link_and_its_dead_time(link: Link) -> None:
    # 50 000 clicks a side, less what the dead time takes of four detectors: at most rate / 4 * 30 ns = 3 %.
    clicks = 50_000
    for epoch in epochs(link, clicks, 1):
        assert 0.96 * clicks < len(epoch) <= clicks
        assert epoch.stop_ps == pytest.approx(clicks / link.rate_hz * 1e12)
        for detector in range(4):
            own = epoch.tag_ps[epoch.detector == detector]
            assert (own[1:] - own[:-1]).min() >= DEAD_TIME_PS
