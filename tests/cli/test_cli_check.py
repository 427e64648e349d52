"""``qnoded check`` and ``qnoded schema``: every example is right, every mistake is one line that says what to do."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qnoded.cli import ctl, main
from qnoded.cli.check import kind_of
from qnoded.cli.schema import KINDS, schema_of

CONFIG = Path(__file__).parents[2] / "config"
EXAMPLES = sorted(CONFIG.rglob("*.toml"))
SCHEMA = {"node": "node", "world": "world", "script": "script", "channel map": "channels"}


def test_no_example_has_a_mistake(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", *map(str, EXAMPLES)]) == 0
    said = capsys.readouterr()
    assert said.err == ""
    assert said.out.count("no mistakes") == len(EXAMPLES)


def test_keys_that_are_not_made_yet_are_a_note_not_a_mistake(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "alice.toml").write_bytes((CONFIG / "sim" / "alice.toml").read_bytes())
    assert main(["check", str(tmp_path / "alice.toml")]) == 0
    out = capsys.readouterr().out
    assert out.count("is not there yet; make it with qnodectl keygen") == 2
    for name in ("alice", "bob"):
        assert ctl.main(["keygen", str(tmp_path / "out" / "keys"), name]) == 0
    capsys.readouterr()
    assert main(["check", str(tmp_path / "alice.toml")]) == 0
    assert "note" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("[node]\nnmae = 'a'\n", "node.nmae: there is no such key (found 'a'); did you mean name?"),
        ("[source]\npair_rat_hz = 1e6\n", "source.pair_rat_hz: there is no such key"),
        ("[alice.fibre]\nlength_km = -1\n", "alice.fibre.length_km:"),
        ("[[event]]\nwhat = 'fibre_cutt'\nat_s = 1\n", "there is no event 'fibre_cutt'; did you mean fibre_cut?"),
        ("[alice]\nH = 'one'\n", "alice"),
        ("[alice]\nH = 0\n[bob]\nX = 1\n", "bob: 'X' is no detector name"),
        ("[nod]\nname = 'a'\n", "nod: there is no such key (found {'name': 'a'}); did you mean node?"),
        ("colour = 3\n", "file: holds colour, which is no node, world, script or channel map"),
        ("", "file: holds nothing"),
        ("[node\n", "TOML:"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str, words: str
) -> None:
    file = tmp_path / "settings.toml"
    file.write_text(content)
    assert main(["check", str(file)]) == 2
    said = capsys.readouterr()
    (first, *_) = said.err.splitlines()
    assert first.startswith(f"{file}: ")
    assert words in first
    assert said.out == ""


def node_with(tmp_path: Path, *changes: tuple[str, str]) -> Path:
    text = (CONFIG / "sim" / "alice.toml").read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new, 1)
    file = tmp_path / "alice.toml"
    file.write_text(text)
    return file


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (
            '"sim-tagger"',
            '"sim-tager"',
            "instruments.tagger.driver: no driver is named 'sim-tager'; did you mean sim-tagger?",
        ),
        ('"sim-tagger"', '"sim-laser"', "instruments.tagger.driver: sim-laser is a laser"),
        ("address =", "adress =", "instruments.tagger.adress: there is no such key"),
        (
            "simulation = true",
            "simulation = false",
            "sim-tagger is simulated, and this node is not; set node.simulation",
        ),
    ],
)
def test_instruments_are_checked_by_their_drivers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], old: str, new: str, words: str
) -> None:
    assert main(["check", str(node_with(tmp_path, (old, new)))]) == 2
    assert words in capsys.readouterr().err


def test_json_lists_files_with_all_their_mistakes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = node_with(tmp_path, ("window_ps = 1000", "window_ps = 0"), ("H = 0", "H = 999"))
    assert main(["check", "--json", str(wrong), str(CONFIG / "channels.toml"), str(tmp_path / "none.toml")]) == 2
    document = json.loads(capsys.readouterr().out)
    assert document["mistakes"] == 3
    assert [file["kind"] for file in document["files"]] == ["node", "channel map", None]
    assert {error["key"] for error in document["files"][0]["errors"]} == {"receiver.H", "links.bob.terms.window_ps"}


@given(st.binary(max_size=200) | st.text(max_size=100).map(str.encode))
def test_no_content_ever_gives_a_trace(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    file = tmp_path_factory.getbasetemp() / "noise.toml"
    file.write_bytes(content)
    assert main(["check", str(file)]) in {0, 2}


def fits(schema: dict[str, Any], definitions: dict[str, Any], value: Any, place: str = "") -> None:
    """Assert that every key of a table stands in the schema: as much as an editor needs to complete it."""
    if "$ref" in schema:
        schema = definitions[schema["$ref"].rsplit("/", 1)[-1]]
    choices = schema.get("anyOf") or schema.get("oneOf")
    if choices and isinstance(value, (dict, list)):
        assert any(_fits(choice, definitions, value, place) for choice in choices), place
    elif isinstance(value, dict):
        for key, inner in value.items():
            known = schema.get("properties", {}).get(key, schema.get("additionalProperties"))
            assert known is not None, f"{place}.{key} is not in the schema"
            assert known is not False, f"{place}.{key} is not in the schema"
            if known is not True:
                fits(known, definitions, inner, f"{place}.{key}")
        assert set(schema.get("required", ())) <= value.keys(), place
    elif isinstance(value, list):
        for one in value:
            fits(schema.get("items", {}), definitions, one, f"{place}[]")


def _fits(*words: Any) -> bool:
    try:
        fits(*words)
    except AssertionError:
        return False
    return True


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda path: str(path.relative_to(CONFIG)))
def test_every_example_fits_its_schema(file: Path) -> None:
    table = tomllib.loads(file.read_text())
    kind = kind_of(table)
    assert kind is not None
    schema = schema_of(SCHEMA[kind])
    fits(schema, schema["$defs"], table)


@pytest.mark.parametrize("kind", KINDS)
def test_a_schema_is_one_json_document_that_forbids_unknown_keys(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema", kind]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["title"] == f"qnoded {kind}"
    assert document["additionalProperties"] is False
    assert not _fits(document, document["$defs"], {"nonsense": 1})


def test_installed_drivers_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["drivers"]) == 0
    assert "sim-laser" in capsys.readouterr().out
    assert main(["drivers", "--json"]) == 0
    listed = {driver["name"]: driver for driver in json.loads(capsys.readouterr().out)["drivers"]}
    assert (listed["sim-tagger"]["kind"], listed["sim-tagger"]["simulated"]) == ("time_tagger", True)
    assert main(["drivers", "--settings", "laser.toml"]) == 2
