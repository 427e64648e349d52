"""A node's file: what is read from it, and what a mistake is called."""

from __future__ import annotations

import string
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st

from qnoded.errors import ConfigError
from qnoded.exchange.terms import LinkTerms
from qnoded.node_settings import NodeSettings, check_node, load_node, node_errors
from qnoded.places import control_socket

CONFIG = Path(__file__).parents[2] / "config"
HERE = Path("/etc/qnoded")


def alice() -> dict[str, Any]:
    return tomllib.loads((CONFIG / "sim" / "alice.toml").read_text())


def changed(path: str, value: object) -> dict[str, Any]:
    """Return alice's table with the value at a dotted path put there, or taken away if None."""
    table = alice()
    *parents, last = path.split(".")
    at = table
    for part in parents:
        at = at.setdefault(part, {})
    if value is None:
        del at[last]
    else:
        at[last] = value
    return table


def only_error(table: dict[str, Any]) -> ConfigError:
    _, errors = node_errors(table, "alice.toml", HERE)
    assert len(errors) == 1, [str(error) for error in errors]
    return errors[0]


def test_the_two_ends_of_the_example_agree() -> None:
    nodes = [load_node(CONFIG / "sim" / f"{name}.toml") for name in ("alice", "bob")]
    terms = [nodes[0].terms("bob"), nodes[1].terms("alice")]
    assert terms[0] == terms[1]
    assert terms[0].link == "alice-bob"
    assert terms[0].simulation
    assert nodes[0].links["bob"].listen == nodes[1].links["alice"].connect
    assert nodes[0].links["bob"].peer_key.name == nodes[1].links["alice"].secret_key.name.removesuffix("_secret")


def test_without_a_key_store_the_terms_say_that_no_keys_are_made() -> None:
    table = changed("keys", None)
    del table["delivery"]
    assert not check_node(table, "alice.toml", HERE).terms("bob").makes_keys


def test_what_is_left_out_has_the_usual_value_of_the_terms() -> None:
    table = changed("links.bob.terms", None)
    terms = check_node(table, "alice.toml", HERE).terms("bob")
    names = ("H", "V", "D", "A")
    assert terms == LinkTerms("alice-bob", simulation=True, alice_detectors=names, bob_detectors=names, makes_keys=True)


def test_terms_follow_role_and_detectors() -> None:
    table = changed("links.bob.role", "bob")
    table["links"]["bob"] |= {"peer_detectors": ["H", "D"], "terms": {"link": "ring-3", "window_ps": 800}}
    table["operate"]["positions"]["chsh"] = [1, 2, 3]
    terms = check_node(table, "alice.toml", HERE).terms("bob")
    assert (terms.alice_detectors, terms.bob_detectors) == (("H", "D"), ("H", "V", "D", "A"))
    assert replace(terms, link="alice-bob", window_ps=1000, alice_detectors=terms.bob_detectors) == (
        check_node(alice(), "alice.toml", HERE).terms("bob")
    )


def test_paths_count_from_the_folder_of_the_file() -> None:
    settings = check_node(alice(), "alice.toml", HERE)
    assert settings.node.control_socket == HERE / "out/alice/run/control.sock"
    assert settings.links["bob"].secret_key == HERE / "out/keys/alice.key_secret"
    table = changed("links.bob.peer_key", "/srv/bob.key")
    assert check_node(table, "alice.toml", HERE).links["bob"].peer_key == Path("/srv/bob.key")


def test_a_node_without_folders_lives_where_the_service_lives(tmp_path: Path) -> None:
    file = tmp_path / "n.toml"
    file.write_text('[node]\nname = "carol"\n')
    node = load_node(file).node
    assert (node.state_dir, node.run_dir) == (Path("/var/lib/qnoded/carol"), Path("/run/qnoded/carol"))
    assert control_socket(file) == node.control_socket


def test_the_control_socket_is_found_without_reading_the_rest(tmp_path: Path) -> None:
    file = tmp_path / "n.toml"
    file.write_text('[node]\nrun_dir = "here"\n[nonsense]\n')
    assert control_socket(file) == tmp_path / "here" / "control.sock"
    file.write_text("[node]\n")
    with pytest.raises(ConfigError, match=r"node\.name: is missing"):
        control_socket(file)


def test_other_keys_of_an_instrument_are_the_drivers() -> None:
    table = changed("instruments.tagger.channels", [0, 1])
    instrument = check_node(table, "alice.toml", HERE).instruments["tagger"]
    assert instrument.table() == table["instruments"]["tagger"]


@pytest.mark.parametrize(
    ("path", "value", "key", "words"),
    [
        ("node.nmae", "alice", "node.nmae", "did you mean name?"),
        ("node.name", None, "node.name", "is missing; add it"),
        ("node.name", "a/b", "node.name", "letters, digits, - and _ (found 'a/b'); choose a short name"),
        ("node.simulation", "yes", "node.simulation", "must be true or false, without quotes (found 'yes')"),
        ("node.simulation", 1, "node.simulation", "must be true or false"),
        ("node.run_dir", "x" * 120, "node", "a socket's path at most 107; choose a shorter one"),
        ("node.state_dir", 3, "node.state_dir", "must be a path in quotes (found 3)"),
        ("instrument", {}, "instrument", "did you mean instruments?"),
        ("instruments.laser", {}, "instruments.laser.driver", "is missing"),
        ("instruments.laser.driver", 3, "instruments.laser.driver", "a text in quotes (found 3)"),
        ("instruments.laser", "sim", "instruments.laser", "must be a table (found 'sim')"),
        ("operate.laser_power_dbm", "0", "operate.laser_power_dbm", "must be a number without quotes (found '0')"),
        ("operate.laser_power_dbm", 3.5, "operate", "laser_power_dbm = 3.5 is above max_power_dbm = 3; lower"),
        ("operate.max_power_dbm", None, "operate", "needs max_power_dbm beside it; add"),
        ("operate.max_power_dbm", 300, "operate.max_power_dbm", "must be at most 40.0 (found 300)"),
        ("operate.max_power_dbm", float("nan"), "operate.max_power_dbm", "(found nan)"),
        ("operate.positions.key", [0, "a", 0], "operate.positions.key.1", "a number without quotes (found 'a')"),
        ("operate.positions.chsh", [90, 45], "operate", "key has 3, chsh has 2; give one angle per element"),
        ("operate.positions.key", None, "file", "needs operate.positions.key; give the degrees"),
        ("receiver", None, "file", "links need a [receiver] table; say which input"),
        ("receiver.H", "one", "receiver.H", "must be a whole number without quotes (found 'one')"),
        ("receiver.X", 4, "receiver", "'X' is no detector name"),
        ("links.alice", alice()["links"]["bob"], "file", "links.alice is named like this node; name a link after"),
        ("links.carol", alice()["links"]["bob"], "file", "2 links (bob, carol) share this receiver's clicks"),
        (
            "links.bob.role",
            "alise",
            "links.bob.role",
            "must be 'alice' or 'bob' (found 'alise'); did you mean 'alice'?",
        ),
        ("links.bob.listen", None, "links.bob", "needs exactly one of listen and connect; one end"),
        ("links.bob.connect", "tcp://h:1", "links.bob", "needs exactly one of listen and connect; one end"),
        ("links.bob.listen", "127.0.0.1:7401", "links.bob.listen", "is no address (found '127.0.0.1:7401'); write"),
        ("links.bob.listen", "tcp://h:70000", "links.bob.listen", "is no address (found 'tcp://h:70000'); write"),
        ("links.bob.secret_key", None, "links.bob.secret_key", "is missing"),
        ("links.bob.peer_detectors", ["H", "Q"], "links.bob", "'Q' is no detector name; use H, V"),
        ("links.bob.terms.windw_ps", 900, "links.bob.terms.windw_ps", "(found 900); did you mean window_ps?"),
        ("links.bob.terms.window_ps", 0, "links.bob.terms.window_ps", "must be more than 0 (found 0)"),
        ("links.bob.terms.window_ps", 10.5, "links.bob.terms.window_ps", "must be a whole number without quotes"),
        ("links.bob.terms.test_share", 1.0, "links.bob.terms.test_share", "must be less than 1.0 (found 1.0)"),
        ("links.bob.terms.multi_click", "randm", "links.bob.terms.multi_click", "did you mean 'random'?"),
        ("links.bob.terms.multi_click", "discard", "file", "multi_click = 'discard' makes no secret key"),
        ("links.bob.terms.chsh_every_epochs", 12, "links.bob.terms", "an interlude takes 12 epochs with its settling"),
        ("links.bob.terms.chsh_side", "alice", "file", "operate.positions.chsh; add them or set chsh_side"),
        ("links.bob.terms.eps_sec", 0, "links.bob.terms.eps_sec", "must be at least 1e-30 (found 0)"),
        ("links.bob.terms.qber_limit", 0.5, "links.bob.terms.qber_limit", "must be less than 0.5 (found 0.5)"),
        ("links.bob.terms.reconciliation", "casacde", "links.bob.terms.reconciliation", "did you mean 'cascade'?"),
        ("keys", None, "file", "delivery needs a [keys] table"),
        ("delivery.remote.sae-bob.link", "bbo", "file", "delivery.remote.sae-bob.link = 'bbo' is no link of this node"),
        ("links.bob.terms.simulation", True, "links.bob.terms.simulation", "there is no such key (found true)"),
    ],
)
def test_a_mistake_names_file_key_value_and_remedy(path: str, value: object, key: str, words: str) -> None:
    error = only_error(changed(path, value))
    assert error.key == key
    assert words in str(error)
    assert str(error).startswith("alice.toml: ")
    assert error.remedy


def test_a_misspelt_required_key_is_one_mistake_not_two() -> None:
    table = changed("links.bob.secret_kye", "k")
    del table["links"]["bob"]["secret_key"]
    error = only_error(table)
    assert (error.key, error.remedy) == ("links.bob.secret_kye", "did you mean secret_key?")


def test_all_mistakes_are_found_at_once_and_counted(tmp_path: Path) -> None:
    table = changed("node.simulaton", True)
    table["links"]["bob"]["terms"] = {"window_ps": -1, "test_share": 2.0}
    _, errors = node_errors(table, "alice.toml", HERE)
    assert [error.key for error in errors] == [
        "node.simulaton",
        "links.bob.terms.window_ps",
        "links.bob.terms.test_share",
    ]
    file = tmp_path / "alice.toml"
    file.write_text(tomli_w.dumps(table))
    with pytest.raises(ConfigError, match=r"did you mean simulation\? \(and 2 more: qnoded check .*alice.toml\)"):
        load_node(file)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\xff\xfe", "TOML"),
        (b"[node", "TOML"),
        (b"a = " + b"[" * 100_000, "TOML"),
        (b"#" * (1 << 21), "larger than 1048576 bytes"),
    ],
)
def test_a_file_that_is_no_settings_file_is_named(tmp_path: Path, content: bytes, words: str) -> None:
    file = tmp_path / "node.toml"
    file.write_bytes(content)
    with pytest.raises(ConfigError, match=words) as caught:
        load_node(file)
    assert caught.value.where == str(file)


def test_a_missing_file_is_named() -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.toml: file: No such file"):
        load_node(Path("nowhere.toml"))


plain = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.dates()
value = st.recursive(
    plain, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner), max_leaves=6
)


def places(table: dict[str, Any], above: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found = []
    for key, inner in table.items():
        found.append((*above, key))
        if isinstance(inner, dict):
            found += places(inner, (*above, key))
    return found


@given(st.sampled_from(places(alice())), value, st.text(string.printable, max_size=12))
def test_no_value_and_no_key_ever_gives_more_than_named_errors(place: tuple[str, ...], wrong: Any, key: str) -> None:
    table = alice()
    at = table
    for part in place[:-1]:
        at = at[part]
    at[place[-1]] = wrong
    at[key] = wrong
    settings, errors = node_errors(table, "alice.toml", HERE)
    assert (settings is None) == bool(errors)
    for error in errors:
        assert error.key
        assert error.remedy
        assert len(error.problem) < 500


@given(st.integers(0, 2000), st.integers(1, 40), st.binary(max_size=20))
def test_a_damaged_file_gives_settings_or_a_named_error(place: int, length: int, noise: bytes) -> None:
    content = (CONFIG / "sim" / "alice.toml").read_bytes()
    damaged = content[:place] + noise + content[place + length :]
    try:
        table = tomllib.loads(damaged.decode(errors="replace"))
    except tomllib.TOMLDecodeError:
        return
    settings, errors = node_errors(table, "alice.toml", HERE)
    assert isinstance(settings, NodeSettings) != bool(errors)
