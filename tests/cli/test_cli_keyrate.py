"""``qnoded keyrate``: families, inputs from words, files and stdin, one JSON document or a table."""

from __future__ import annotations

import argparse
import io
import json
from pathlib import Path
from typing import Any

import pytest

from qnoded.cli import keyrate
from qnoded.errors import UsageError

TLGR = ["n_key=1e5", "k_test=20000", "Q_tol=0.025", "f_ec=1.1", "eps_sec=1e-10", "eps_cor=1e-12"]
TLGR_NAME = "BBM92/BB84 finite key, fixed length (Tomamichel-Lim-Gisin-Renner 2012, q=1)"
ROW: dict[str, Any] = {
    "id": "a",
    "family": "one-time MAC, substitution probability per message",
    "inputs": {"message_bytes": 64, "hash": "poly1305", "tag_bits": 128},
    "terms": {"eps": 3.944304526105059e-31, "log2_eps": -101.0, "said_elsewhere": 5},
    "result": "log2_eps",
    "tolerance": 1e-9,
}


def call(*words: str) -> int:
    parser = argparse.ArgumentParser()
    keyrate.add_arguments(parser)
    return keyrate.run(parser.parse_args(words))


@pytest.mark.parametrize("family", ["tlgr2012", TLGR_NAME, "TLGR2012"])
def test_one_family_as_json(family: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(family, "--set", *TLGR, "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert document["family"] == TLGR_NAME
    assert document["result"] == "ell"
    assert document["value"] == document["terms"]["ell"] == 47522
    assert document["inputs"]["n_key"] == 1e5
    assert document["secure_finite"] is True
    assert set(document) == {
        "family", "inputs", "terms", "result", "value", "secure_finite", "assumptions", "source",
    }  # fmt: skip


def test_set_may_be_repeated_and_overrides_the_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "inputs.json"
    path.write_text(json.dumps({"e_z": 0.3, "e_x": 0.03, "f_ec": 1.1}), encoding="utf-8")
    assert call("asymptotic BBM92", "--inputs", str(path), "--set", "e_z=0.02", "--json") == 0
    assert json.loads(capsys.readouterr().out)["value"] == pytest.approx(0.6500235453724211, abs=1e-12)


def test_inputs_from_stdin_with_the_family_inside(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps({"family": "di-asym", "inputs": {"S": 2.6, "Q": 0.02}})))
    assert call("--inputs", "-", "--json") == 0
    assert json.loads(capsys.readouterr().out)["terms"]["chi_S"] == pytest.approx(0.41842006909911866)


def test_lists_can_be_set(capsys: pytest.CaptureFixture[str]) -> None:
    counts = "[[853,147,146,854],[147,853,854,146],[853,147,147,853],[854,146,146,854]]"
    assert call("chsh", "--set", f"counts={counts}", "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert document["value"] == pytest.approx(2.828)
    assert len(document["terms"]["E"]) == 4
    assert document["secure_finite"] is False


@pytest.mark.parametrize("wrap", [lambda rows: rows, lambda rows: {"format": 1, "rows": rows}])
def test_rows_give_a_list_with_deviations(wrap: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "rows.json"
    path.write_text(json.dumps(wrap([ROW])), encoding="utf-8")
    assert call("--inputs", str(path), "--json") == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["id"], row["agrees"], row["value"]) == ("a", True, -101.0)
    assert row["deviations"] == {"eps": 0.0, "log2_eps": 0.0}
    assert call("--inputs", str(path)) == 0
    assert "agrees" in capsys.readouterr().out


def test_a_row_that_differs_fails_the_check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "rows.json"
    path.write_text(json.dumps([{**ROW, "terms": {"log2_eps": -102.0}}]), encoding="utf-8")
    assert call("--inputs", str(path)) == 1
    assert "DIFFERS" in capsys.readouterr().out


def test_no_rows_are_no_failure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "rows.json"
    path.write_text("[]", encoding="utf-8")
    assert call("--inputs", str(path), "--json") == 0
    assert json.loads(capsys.readouterr().out) == []


def test_table_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("block", "--set", "n_key=1000", "k_test=1000", "test_errors=30", "f_ec=1.1") == 0
    table = capsys.readouterr().out
    assert "needs" in table
    assert "more sifted bits at this QBER" in table
    assert "a key may rest on it" in table
    assert "<-- result" in table


def test_table_of_a_figure_says_that_it_is_no_key_length(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("asym-bbm92", "--set", "e_z=0.02", "e_x=0.02", "f_ec=1.1") == 0
    assert "never the length of a key" in capsys.readouterr().out


def test_list_names_families_inputs_and_sources(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("--list") == 0
    text = capsys.readouterr().out
    assert "tlgr2012: " + TLGR_NAME in text
    assert "n_key, k_test, Q_tol, f_ec, eps_sec, eps_cor" in text
    assert call("--list", "--json") == 0
    families = json.loads(capsys.readouterr().out)
    assert {"family", "short", "inputs", "optional_inputs", "source", "assumptions"} <= set(families[0])
    assert call("tl2017", "--list", "--json") == 0
    (family,) = json.loads(capsys.readouterr().out)
    assert family["optional_inputs"] == ["r_syndrome", "f_ec", "nu"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "name a family"),
        (("nonsense",), "unknown family 'nonsense'; known are block"),
        (("tlgr2012", "--set", "n_key=5"), "tlgr2012: missing input k_test, Q_tol"),
        (("tlgr2012", "--set", *TLGR, "qber=0.1"), "unknown input qber; accepted are n_key, k_test"),
        (("tlgr2012", "--set", *TLGR, "Q_tol=0.7"), "input Q_tol = 0.7 is out of range"),
        (("tlgr2012", "--set", *TLGR, "Q_tol=much"), "input Q_tol = 'much' cannot be read"),
        (("tlgr2012", "--set", *TLGR, "Q_tol=NaN"), "input Q_tol = nan cannot be read"),
        (("tlgr2012", "--set", "n_key"), "--set n_key: cannot be read; write key=value"),
        (("tlgr2012", "--inputs", "no/such/file.json"), "no/such/file.json: No such file"),
    ],
)
def test_wrong_use_is_named(words: tuple[str, ...], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        call(*words)
    assert message in str(caught.value)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("7", "holds neither an object of inputs nor a list of rows"),
        ("[1, 2]", "rows are a list of objects"),
        ('{"rows": 5}', "rows are a list of objects"),
        ('{"inputs": {"S": 2.5}}', "name a family"),
        ('[{"family": "chsh", "inputs": {}}]', "row 1: chsh: missing input counts"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "inputs.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError) as caught:
        call("--inputs", str(path))
    assert message in str(caught.value)


def test_a_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    path = tmp_path / "inputs.json"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="not JSON"):
        call("--inputs", str(path))
