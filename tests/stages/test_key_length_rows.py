"""All reference rows of a file that is no part of the repository, and how rows are read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from qnoded.errors import UsageError
from qnoded.stages.key_length.families import FAMILIES, evaluate, find_family
from qnoded.stages.key_length.reference_rows import compare_rows

ROW: dict[str, Any] = {
    "id": "one",
    "family": "asymptotic BBM92",
    "inputs": {"e_z": 0.02, "e_x": 0.03, "f_ec": 1.1},
    "terms": {"rate_per_sifted_bit": 0.6500235453724211},
    "result": "rate_per_sifted_bit",
    "tolerance": 1e-12,
}
RATES: dict[str, Any] = {"e_z": 0.1, "e_x": 0.1, "f_ec": 1.1}
BLOCK: dict[str, Any] = {"m_total": 100, "k_test": 50, "delta": 0.1, "t_hash": 40, "eps_qkd": 1e-9, "f_ec": 1.1}
PHOTON: dict[str, Any] = {"attenuation_db": 9, "dark_count_prob": 0, "polarisation_drift_sin2": 0, "efficiency": 1}


@pytest.fixture
def reference_rows(recordings: Path) -> list[dict[str, Any]]:
    path = recordings.parent / "facts" / "finite_key_reference.json"
    if not path.is_file():
        pytest.skip(f"no reference rows in {path}")
    rows: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["rows"]
    return rows


def test_every_reference_row_is_reproduced(reference_rows: list[dict[str, Any]]) -> None:
    comparisons = compare_rows(reference_rows)
    assert len(comparisons) == len(reference_rows)
    assert [one.id for one in comparisons if one.agrees is not True] == []


def test_every_term_of_every_reference_row_is_reproduced(reference_rows: list[dict[str, Any]]) -> None:
    for one in compare_rows(reference_rows):
        for term, deviation in one.deviations.items():
            value = one.evaluation.terms[term]
            size = max(map(abs, value)) if isinstance(value, tuple) else abs(value)
            assert deviation is not None, (one.id, term)
            assert abs(deviation) <= 1e-9 * size + 1e-14, (one.id, term)


def test_every_reference_family_has_that_name(reference_rows: list[dict[str, Any]]) -> None:
    assert {row["family"] for row in reference_rows} <= {family.name for family in FAMILIES}


def test_names_and_short_ids_are_unique() -> None:
    names = [name.casefold() for family in FAMILIES for name in {family.name, family.short}]
    assert len(names) == len(set(names))


def test_only_proven_finite_lengths_may_set_a_key() -> None:
    secure = {family.short for family in FAMILIES if family.secure_finite}
    assert secure == {"block", "lim2021", "tl2017", "tlgr2012", "wiesemann2024"}
    for family in FAMILIES:
        assert family.source
        assert family.assumptions


def test_a_row_that_agrees_and_one_that_does_not() -> None:
    good, bad = compare_rows([ROW, {**ROW, "id": "two", "terms": {"rate_per_sifted_bit": 0.66}}])
    assert (good.agrees, bad.agrees) == (True, False)
    assert bad.deviations["rate_per_sifted_bit"] == pytest.approx(-0.0099764546)


def test_a_row_without_terms_is_evaluated_only() -> None:
    (only,) = compare_rows([{"inputs": ROW["inputs"]}], only="asym-bbm92")
    assert only.agrees is None
    assert only.evaluation.value == pytest.approx(0.65002354537)


def test_rows_of_other_families_are_left_out() -> None:
    assert compare_rows([ROW], only="chsh") == []


def test_a_row_may_take_the_counts_of_another() -> None:
    counts = {"n_key": [9e6, 3e5], "c_key": [9e4, 3e3], "n_test": [1e6, 3e4], "c_test": [1e4, 3e2]}
    protocol = {"mu": [0.5, 0.15], "p": [0.9, 0.1], "f_ec": 1.16, "eps_sec": 1e-9, "eps_cor": 1e-9}
    first = {"id": "a", "family": "wiesemann2024", "inputs": {**counts, **protocol}}
    second = {"id": "b", "family": "rusca2018", "inputs": {"same_counts_as": "a", "f_ec": 1.1}}
    one, two = compare_rows([first, second])
    assert two.evaluation.inputs["n_key"] == counts["n_key"]
    assert (one.evaluation.inputs["f_ec"], two.evaluation.inputs["f_ec"]) == (1.16, 1.1)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"id": "x", "inputs": {}}, "row x names no family"),
        ({"id": "x", "family": "nonsense", "inputs": {}}, "unknown family 'nonsense'; known are block, lim2021"),
        ({"id": "x", "family": "chsh"}, "row x: has no inputs"),
        (
            {"id": "x", "family": "asymptotic BBM92", "inputs": {"e_z": 0.1}},
            "row x: asym-bbm92: missing input e_x, f_ec",
        ),
        ({**ROW, "id": "x", "tolerance": "small"}, "row x: terms, result or tolerance cannot be read"),
        ({**ROW, "id": "x", "result": "ell"}, "row x: terms, result or tolerance cannot be read"),
        ({"id": "x", "family": "rusca2018", "inputs": {"same_counts_as": "y"}}, "names no row with counts"),
        ({"id": "x", "family": "rusca2018", "inputs": {"same_counts_as": "x"}}, "names no row with counts"),
    ],
)
def test_a_row_that_cannot_be_used_is_named(row: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words.replace("(", r"\(")):
        compare_rows([row])


@pytest.mark.parametrize(
    ("family", "inputs", "words"),
    [
        ("asym-bbm92", {**RATES, "qber": 0.1}, "unknown input qber; accepted are e_z, e_x, f_ec"),
        ("asym-bbm92", {**RATES, "e_z": 0.6}, "input e_z = 0.6 is out of range"),
        ("asym-bbm92", {**RATES, "f_ec": 0.9}, "input f_ec = 0.9 is out of range"),
        ("asym-bbm92", {**RATES, "e_z": "x"}, "input e_z = 'x' cannot be read; give a finite number"),
        ("asym-bbm92", {**RATES, "e_z": True}, "input e_z = True cannot be read"),
        ("asym-bbm92", {**RATES, "e_z": float("nan")}, "input e_z = nan cannot be read"),
        ("asym-bbm92", {**RATES, "e_z": 10**400}, "cannot be read; give a finite number"),
        ("di-asym", {"S": 2.9, "Q": 0.0}, "input S = 2.9 is out of range; give a CHSH parameter within"),
        ("chsh", {"counts": [[1, 2, 3, 4]] * 3}, "four setting pairs"),
        ("chsh", {"counts": [[0, 0, 0, 0]] * 4}, "at least one coincidence"),
        ("chsh", {"counts": [[-1, 2, 3, 4]] * 4}, "counts from 0"),
        ("chsh", {"counts": 7}, "give a list of numbers"),
        ("tl2017", {**BLOCK, "k_test": 100}, "input k_test = 100"),
        ("tl2017", {**BLOCK, "t_hash": 20}, "input t_hash = 20"),
        ("tl2017", {**BLOCK, "f_ec": None}, "r_syndrome, f_ec"),
        ("tl2017", {**BLOCK, "m_total": 100.5}, "give a whole number"),
        ("lim2021", {**BLOCK, "nu": 0.1}, "nu, xi"),
        ("mac-eps", {"message_bytes": 64, "hash": "md5"}, "give poly1305 or ghash128"),
        ("mac-eps", {"message_bytes": 64, "hash": 5}, "give a word"),
        ("mac-eps", {"message_bytes": 64, "hash": "poly1305", "tag_bits": 64}, "Poly1305 has no shorter tag"),
        ("oneway-limit", {"n": 100, "Q": 0.0, "frame_error": 0.1}, "input Q = 0.0"),
        ("bb84-single", {**PHOTON, "attenuation_db": -1}, "a loss from 0"),
    ],
)  # fmt: skip
def test_inputs_that_cannot_be_used_are_named(family: str, inputs: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError) as caught:
        evaluate(find_family(family), inputs)
    assert words in str(caught.value)
    assert str(caught.value).startswith(f"{family}: ")
