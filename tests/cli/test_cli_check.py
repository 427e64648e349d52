"""``qnoded check`` and ``qnoded schema``: every example is right, every mistake is one line that says what to do."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qnoded.cli import EXIT_PIPE, ctl, main
from qnoded.cli.check import examine, kind_of
from qnoded.cli.schema import KINDS, schema_of

CONFIG = Path(__file__).parents[2] / "config"
EXAMPLES = sorted(CONFIG.rglob("*.toml"))
SCHEMA = {"node": "node", "world": "world", "script": "script", "channel map": "channels"}


def test_no_example_has_a_mistake(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", *map(str, EXAMPLES)]) == 0
    said = capsys.readouterr()
    assert said.err == ""
    assert said.out.count("no mistakes") == len(EXAMPLES)


@pytest.mark.parametrize("side", ["alice", "bob"])
def test_a_real_node_differs_from_its_simulated_twin_only_in_its_instruments(side: str) -> None:
    """Line by line: drivers with their own settings, addresses, and the word that allows simulation."""
    real, simulated = (_lines(folder / f"{side}.toml") for folder in (CONFIG, CONFIG / "sim"))
    common = [line for line in real if line in simulated]
    assert common == [line for line in simulated if line in real]
    for lines in (real, simulated):
        for table, line in lines:
            own = table in {"[instruments.tagger]", "[instruments.laser]", "[instruments.polarization]"}
            assert own or (table, line) in common or line.split(" = ")[0] in {"listen", "connect", "simulation"}, line
    assert ("[node]", "simulation = false") in [(table, line.split("  ")[0]) for table, line in real]


def _lines(file: Path) -> list[tuple[str, str]]:
    """Return each line with the table in which it stands."""
    found, table = [], ""
    for line in file.read_text().splitlines():
        if line.startswith("["):
            table = line.split("]")[0] + "]"
        found.append((table, line))
    return found


def test_what_is_not_made_yet_is_a_note_not_a_mistake(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = node_with(tmp_path)
    assert main(["check", str(file)]) == 0
    out = capsys.readouterr().out
    for words in (
        "make it with qnodectl keygen",
        "qnodectl keys new-secret",
        "qnodectl keys new-kek",
        "qnodectl pki demo",
    ):
        assert out.count(words) == 1, out
    furnish(tmp_path)
    capsys.readouterr()
    assert main(["check", str(file)]) == 0
    assert capsys.readouterr().out == f"{file}: a node, no mistakes\n"


def furnish(folder: Path) -> None:
    """Make all that the example node names."""
    keys = folder / "out" / "keys"
    for name in ("alice", "bob"):
        assert ctl.main(["keygen", str(keys), name]) == 0
    assert ctl.main(["keys", "new-kek", str(keys / "alice.kek")]) == 0
    assert ctl.main(["keys", "new-secret", str(keys / "alice-bob.secret")]) == 0
    assert ctl.main(["pki", "demo", str(folder / "out" / "pki")]) == 0


SPOILED = [
    (lambda keys: (keys / "alice.key_secret").chmod(0o644), "links.bob.secret_key", "mode is 0644", "chmod 600"),
    (lambda keys: (keys / "alice-bob.secret").chmod(0o640), "links.bob.first_secret", "mode 0640", "chmod 600"),
    (lambda keys: (keys / "bob.key").write_text("nothing"), "links.bob.peer_key", "holds 0 public keys", "keygen"),
    (
        lambda keys: (keys / "bob.key").write_bytes((keys / "alice.key").read_bytes()),
        "links.bob.peer_key",
        "is the public key of this node itself",
        "copy the peer's own NAME.key",
    ),
    (
        lambda keys: (keys / "bob.key").write_bytes((keys / "bob.key_secret").read_bytes()),
        "links.bob.peer_key",
        "holds a secret key",
        "use the peer's public NAME.key",
    ),
    (
        lambda keys: (keys / "alice.key_secret").write_bytes((keys / "alice.key").read_bytes()),
        "links.bob.secret_key",
        "holds a public key alone",
        "alice.key_secret",
    ),
    (
        lambda keys: (keys / "alice-bob.secret").write_bytes(b"s" * 32),
        "links.bob.first_secret",
        "holds 32 bytes, at least 608 are due",
        "qnodectl keys new-secret",
    ),
    (lambda keys: _store(keys, 0o777, 0o600), "node.state_dir", "has mode 0777", "chmod 700"),
    (lambda keys: _store(keys, 0o700, 0o644), "node.state_dir", "keys.sqlite: has mode 0644", "chmod 600"),
    (lambda keys: (keys / "alice.kek").write_bytes(b"short"), "keys.kek", "holds 5 bytes, 32 are due", "new-kek"),
    (lambda keys: _pipe(keys / "alice.kek"), "keys.kek", "is no regular file", "file of random bytes"),
    (lambda keys: _folder(keys / "bob.key"), "links.bob.peer_key", "Is a directory", "keygen"),
    (
        lambda keys: (keys.parent / "pki" / "kme-alice.crt").write_text("nothing"),
        "delivery.private_key",
        "no usable pair",
        "give a PEM certificate",
    ),
]


def _pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path, 0o600)


def _store(keys: Path, folder_mode: int, store_mode: int) -> None:
    folder = keys.parent / "alice" / "state"
    folder.mkdir(parents=True)
    (folder / "keys.sqlite").touch()
    (folder / "keys.sqlite").chmod(store_mode)
    folder.chmod(folder_mode)


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(("spoil", "key", "problem", "remedy"), SPOILED)
def test_key_files_are_looked_at(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    spoil: Callable[[Path], object],
    key: str,
    problem: str,
    remedy: str,
) -> None:
    file = node_with(tmp_path)
    furnish(tmp_path)
    spoil(tmp_path / "out" / "keys")
    capsys.readouterr()
    assert main(["check", str(file)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"{file}: {key}: ")
    assert problem in line
    assert remedy in line


@pytest.mark.skipif(os.getuid() != 0, reason="only root gives files away")
def test_what_may_not_be_read_by_this_user_is_a_note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = node_with(tmp_path)
    furnish(tmp_path)
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    for each in (tmp_path / "out" / "keys").iterdir():
        os.chown(each, 4711, -1)
    kind, errors, notes = examine(file)
    assert (kind, errors) == ("node", [])
    assert any("belongs to user 4711; check again as that user: sudo -u '#4711'" in note for note in notes)


@pytest.mark.parametrize("what", ["folder", "pipe", "device"])
def test_what_is_no_file_neither_hangs_nor_traces(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], what: str
) -> None:
    path = tmp_path / what
    if what == "folder":
        path.mkdir()
    elif what == "pipe":
        os.mkfifo(path)
    else:
        path = Path("/dev/zero")
    for command in (["check", str(path)], ["run", "--config", str(path)], ["world", "--config", str(path)]):
        assert main(command) == 2
        assert f"{path}: file: is no regular file; give the path of a TOML file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("[node]\nnmae = 'a'\n", "node.nmae: there is no such key (found 'a'); did you mean name?"),
        ("[source]\npair_rat_hz = 1e6\n", "source.pair_rat_hz: there is no such key"),
        ("[alice.fibre]\nlength_km = -1\n", "alice.fibre.length_km:"),
        (
            "[[event]]\nwhat = 'fibre_cutt'\nat_s = 1\n",
            "there is no such event (found 'fibre_cutt'); did you mean fibre_cut?",
        ),
        ("[alice]\nH = 'one'\n", "alice"),
        ("[alice]\nH = 0\n[bob]\nX = 1\n", "bob: 'X' is no detector name"),
        ("[nod]\nname = 'a'\n", "nod: there is no such key (found {'name': 'a'}); did you mean node?"),
        ("colour = 3\n", "file: holds colour, which is no node, world, script or channel map"),
        ("", "file: holds nothing"),
        ("[station]\nname = 'bench'\n", "it looks like a rig of instruments: qnoded hil check FILE"),
        ("[node\n", "TOML:"),
        ("[" * 100_000, "TOML: "),
        ("a = " + "[" * 50_000, "nested too deeply to be settings"),
        ("[node]\nname = alice\n", "(at line 2, column 8): the value of name; texts stand in quotes, numbers do not"),
        ("[node]\nname = 'a'\n[instruments.laser]\ndrvier = 'b'\n", "driver: is missing; did you mean it by drvier?"),
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


def test_a_file_of_another_editor_is_read_or_its_encoding_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "channels.toml"
    text = (CONFIG / "channels.toml").read_text()
    file.write_text(text, encoding="utf-8-sig")
    assert main(["check", str(file)]) == 0
    file.write_text(text, encoding="utf-16")
    assert main(["check", str(file)]) == 2
    assert "byte 0 is no UTF-8, so no text that TOML allows; save it as UTF-8" in capsys.readouterr().err


@pytest.mark.parametrize("command", [["check"], ["run", "--config"]])
@pytest.mark.parametrize(
    "secret", ["c2VjcmV0IGtleSBieXRlcyBvZiBhIGxpbms4OTAxMjM=\n", "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2Vw\n"]
)
def test_a_secret_given_for_settings_is_not_repeated(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: list[str], secret: str
) -> None:
    file = tmp_path / "psk"
    file.write_text(secret)
    assert main([*command, str(file)]) == 2
    said = capsys.readouterr().err
    assert "a line of settings is KEY = VALUE or [TABLE]" in said
    assert not any(line[:8] in said for line in secret.splitlines())


def test_of_a_wrong_line_its_value_is_not_repeated(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "wg0.conf"
    file.write_text("[Interface]\nPrivateKey = yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk=\n")
    assert main(["check", str(file)]) == 2
    said = capsys.readouterr().err
    assert "the value of PrivateKey" in said
    assert "yAnz5TF" not in said


def test_mistakes_are_told_by_the_exit_code_to_whoever_leaves_before_the_end(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.toml"
    wrong.write_text("[nod]\n")
    check = "import sys; from qnoded.cli import main; sys.exit(main(['check', *sys.argv[1:]]))"
    for files in ([wrong, EXAMPLES[0]], [wrong, *[CONFIG / "channels.toml"] * 300]):
        with subprocess.Popen(
            [sys.executable, "-c", check, *map(str, files)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as checking:
            assert checking.stdout is not None
            checking.stdout.close()
            assert checking.wait() in (2, EXIT_PIPE)
            assert checking.stderr is not None
            assert b"Traceback" not in checking.stderr.read()
    no_output = ["sh", "-c", 'exec "$@" >&-', "sh"]
    closed = subprocess.run([*no_output, sys.executable, "-c", check, wrong], check=False, capture_output=True)
    assert closed.returncode == 2


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
        (
            "[instruments.tagger]",
            "[instruments.taggr]",
            "instruments.taggr: the node drives no such role; did you mean",
        ),
        (
            "[instruments.polarization]",
            "[instruments.polarisation]",
            "instruments.polarisation: the node drives no such role; did you mean polarization?",
        ),
        (
            "127.0.0.1:7401",
            "127.0.0.1:0",
            "links.bob.listen: port 0 is any free port, which nobody who connects can know",
        ),
        ("127.0.0.1:7443", "127.0.0.1:0", "delivery.listen: port 0 is any free port"),
        ("127.0.0.1:7443", "127.0.0.1:7401", "delivery.listen: listens on port 7401, as links.bob.listen does; give"),
        ("tcp://127.0.0.1:7401", "tcp://alice.example.org:7401", "'alice.example.org' is a name, and one listens on"),
        (
            "tcp://127.0.0.1:7401",
            "ipc:///tmp/alice",
            "links.bob.listen: is no address (found 'ipc:///tmp/alice'); write",
        ),
    ],
)
def test_instruments_are_checked_by_their_drivers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], old: str, new: str, words: str
) -> None:
    assert main(["check", str(node_with(tmp_path, (old, new)))]) == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("H = 1", "H = 0", "receiver.H: swabian-timetagger has no input 0; its inputs are 1, 2, 3, 4"),
        (
            "key = [0, 0, 0]",
            "key = [0, 0]",
            "operate.positions.key: has 2 values, oz-epc400 has 3 elements; give 3 angles",
        ),
        (
            "key = [0, 0, 0]",
            "key = [0, 0, 700]",
            "operate.positions.key: [0.0, 0.0, 700.0] leaves what oz-epc400 can reach; give 3 angles from -600 to 600",
        ),
    ],
)
def test_inputs_and_positions_are_those_of_the_instruments(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], old: str, new: str, words: str
) -> None:
    file = tmp_path / "alice.toml"
    file.write_text((CONFIG / "alice.toml").read_text().replace(old, new, 1))
    assert main(["check", str(file)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line


def test_json_lists_files_with_all_their_mistakes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = node_with(tmp_path, ("window_ps = 1000", "window_ps = 0"), ("H = 1", "H = 999"))
    assert main(["check", "--json", str(wrong), str(CONFIG / "channels.toml"), str(tmp_path / "none.toml")]) == 2
    document = json.loads(capsys.readouterr().out)
    assert document["mistakes"] == 3
    assert [file["kind"] for file in document["files"]] == ["node", "channel map", None]
    assert {error["key"] for error in document["files"][0]["errors"]} == {"receiver.H", "links.bob.terms.window_ps"}


def test_every_mistake_of_worlds_and_scripts_is_told_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    world, script = tmp_path / "world.toml", tmp_path / "script.toml"
    world.write_text("[source]\npair_rate_hz = 'many'\nstate = 'Psi'\n[bob.clock]\npreset = 'tcx'\n")
    script.write_text("[[event]]\nwhat = 'fibre_cut'\nat_s = -1\n")
    assert main(["check", str(world), str(script)]) == 2
    assert capsys.readouterr().err.splitlines() == [
        f"{world}: source.pair_rate_hz: must be a number without quotes (found 'many'); see docs/simulator.md",
        f"{world}: source.state: must be 'Phi+', 'Phi-', 'Psi+' or 'Psi-' (found 'Psi'); did you mean 'Psi-'?",
        f"{world}: bob.clock.preset: must be 'tcxo', 'ocxo', 'rb', 'gpsdo', 'white-rabbit' or 'ideal' (found 'tcx'); "
        "did you mean 'tcxo'?",
        f"{script}: event[0].at_s: must be at least 0.0 (found -1); see fibre_cut in docs/simulator.md",
        f"{script}: event[0].side: is missing; add it; see fibre_cut in docs/simulator.md",
    ]


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
