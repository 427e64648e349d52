"""Settings of the world: defaults, presets, dotted changes, and wrong words answered with the right ones."""

from __future__ import annotations

import contextlib
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qnoded.errors import ConfigError
from qnoded.sim import WorldSettings
from qnoded.sim.changes import known_keys, load_world, world_errors


def test_defaults() -> None:
    world = load_world()
    assert world == WorldSettings()
    assert world.source.pair_rate_hz == 1e6
    assert world.alice.fibre.delay_ps == 0
    assert world.bob.fibre.delay_ps == 48_970_000
    assert world.alice.clock.frequency_error == -2e-8
    assert world.bob.clock.frequency_error == 2e-8
    assert world.bob.clock.offset_ps == 300_000_000_000
    assert [detector.skew_ps for detector in world.alice.detectors] == [0, 1830, -2410, 3270]
    assert world.source.visibilities == pytest.approx((0.99, 0.98, 0.9702))


@pytest.mark.parametrize(
    "changes", [[], ["bob.clock.preset=tcxo", "alice.detectors.preset=si", "bob.tagger.bin_ps=625/8"]]
)
def test_settings_survive_json(changes: list[str]) -> None:
    world = load_world(None, changes)
    assert WorldSettings.model_validate_json(world.model_dump_json()) == world


def test_changes() -> None:
    world = load_world(
        None,
        [
            "source.pair_rate_hz=2e6",
            "source.state=Psi-",
            "bob.clock.preset=tcxo",
            "bob.clock.frequency_error=6.5e-6",
            "alice.clock.preset=tcxo",
            "bob.detectors.preset=ingaas",
            "bob.detectors.dark_hz=500",
            "bob.detectors.V.dark_hz=900",
            "alice.detectors.H.skew_ps=1200",
            "alice.tagger.bin_ps=78.125",
            "bob.fibre.rotation_axis=[1, 0, 0]",
            "bob.detectors.A.paralysable = true",
        ],
    )
    assert world.source.pair_rate_hz == 2e6
    assert world.source.state == "Psi-"
    assert world.bob.clock.frequency_error == 6.5e-6
    assert world.bob.clock.sigma_y_1s == 1e-9
    assert world.alice.clock.frequency_error == -1e-6
    assert [detector.dark_hz for detector in world.bob.detectors] == [500, 900, 500, 500]
    assert all(detector.efficiency == 0.2 for detector in world.bob.detectors)
    assert [detector.skew_ps for detector in world.alice.detectors] == [1200, 1830, -2410, 3270]
    assert world.alice.tagger.bin_ps == Fraction(625, 8)
    assert world.bob.fibre.rotation_axis == (1.0, 0.0, 0.0)
    assert world.bob.detectors.A.paralysable
    assert not world.bob.detectors.H.paralysable


def test_order_of_preset_and_value_does_not_matter() -> None:
    first = load_world(None, ["bob.clock.frequency_error=3e-6", "bob.clock.preset=tcxo"])
    assert first == load_world(None, ["bob.clock.preset=tcxo", "bob.clock.frequency_error=3e-6"])


def test_last_change_for_all_four_detectors_wins() -> None:
    world = load_world(None, ["bob.detectors.V.dark_hz=900", "bob.detectors.dark_hz=500"])
    assert {detector.dark_hz for detector in world.bob.detectors} == {500.0}


def test_file_and_changes(tmp_path: Path) -> None:
    file = tmp_path / "world.toml"
    file.write_text(
        '[source]\npair_rate_hz = 5e5\n[bob.clock]\npreset = "rb"\n'
        "[bob.detectors]\ndark_hz = 7\n[bob.detectors.H]\ndark_hz = 8\n"
    )
    world = load_world(file, ["source.pair_rate_hz=6e5"])
    assert world.source.pair_rate_hz == 6e5
    assert world.bob.clock.sigma_y_1s == 2e-11
    assert [detector.dark_hz for detector in world.bob.detectors] == [8, 7, 7, 7]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("source.pair_rat=2", ["--set: source.pair_rat:", "no such key", "'2'", "source.pair_rate_hz"]),
        ("bob.detector.dark_hz=5", ["bob.detector.dark_hz", "bob.detectors.dark_hz"]),
        ("dark_hz=5", ["dark_hz", "detectors.dark_hz"]),
        ("zzz=5", ["zzz", "docs/simulator.md"]),
        ("bob.detectors.X.dark_hz=5", ["bob.detectors.X.dark_hz", "bob.detectors.H.dark_hz"]),
        ("bob=5", ["bob", "names a table", "bob.heralding"]),
        ("source.pair_rate_hz.x=5", ["no such key", "source.pair_rate_hz"]),
        ("source", ["source", "no key=value"]),
        ("=5", ["no key=value"]),
        ("source.pair_rate_hz=", ["source.pair_rate_hz", "number"]),
        ("source.pair_rate_hz=-1", ["source.pair_rate_hz", "must be at least 0", "(found -1)"]),
        ("source.pair_rate_hz=nan", ["source.pair_rate_hz", "finite", "(found nan)"]),
        ("source.pair_rate_hz=many", ["source.pair_rate_hz", "must be a number without quotes (found 'many')"]),
        ("source.state=Psi", ["source.state", "'Psi+'", "'Psi'"]),
        ("source.visibility_hv=1.2", ["source.visibility_hv", "1.2"]),
        ("source.visibility_rl=0.1", ["no quantum state", "0.97 to 0.99"]),
        ("bob.clock.preset=tcx", ["bob.clock.preset", "'tcxo'", "'tcx'"]),
        ("bob.detectors.preset=apd", ["preset", "'ingaas'", "'apd'"]),
        ("bob.detectors.H.dead_time_ps=1.5", ["bob.detectors.H.dead_time_ps", "1.5"]),
        ("bob.detectors.afterpulse_probability=0.6", ["afterpulse_probability", "0.6"]),
        ("bob.detectors.double_firing_to_ps=3", ["16000 to 3 ps", "backwards"]),
        ("bob.tagger.bin_ps=0", ["bob.tagger.bin_ps", "'0'"]),
        ("bob.tagger.bin_ps=1/9999999", ["bob.tagger.bin_ps", "simpler ratio"]),
        ("bob.fibre.rotation_axis=[0, 0, 0]", ["rotation_axis", "direction"]),
        ("bob.clock.offset_ps=1e30", ["bob.clock.offset_ps"]),
    ],
)  # fmt: skip
def test_wrong_change_is_named_with_a_remedy(change: str, words: list[str]) -> None:
    with pytest.raises(ConfigError) as raised:
        load_world(None, [change])
    assert all(word in str(raised.value) for word in words), str(raised.value)


def test_afterpulses_need_a_dead_time() -> None:
    with pytest.raises(ConfigError, match="use at least 181250 ps"):
        load_world(None, ["bob.detectors.afterpulse_probability=0.5", "bob.detectors.dead_time_ps=10"])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[source]\npair_rte_hz = 1\n", ["source.pair_rte_hz", "did you mean pair_rate_hz?"]),
        ("[bob.detector.H]\ndark_hz = 1\n", ["bob.detector: there is no such key", "did you mean detectors?"]),
        ("source = 3\n", ["source: must be a table (found 3)"]),
        ("bob = 3\n", ["bob: must be a table (found 3)"]),
        ("[bob]\ndetectors = 3\n", ["bob.detectors: must be a table (found 3)"]),
        ("[bob]\nclock = 3\n", ["bob.clock: must be a table (found 3)"]),
        ("[bob.detectors]\nH = 3\n", ["bob.detectors.H: must be a table (found 3)"]),
        ("[source\n", ["TOML", "line 1"]),
        ("\x00", ["TOML"]),
    ],
)
def test_wrong_file_is_named_with_a_remedy(tmp_path: Path, text: str, words: list[str]) -> None:
    file = tmp_path / "world.toml"
    file.write_text(text)
    with pytest.raises(ConfigError) as raised:
        load_world(file)
    assert all(word in str(raised.value) for word in [str(file), *words]), str(raised.value)


def test_what_is_said_of_all_detectors_is_wrong_once_and_further_mistakes_are_counted(tmp_path: Path) -> None:
    table = {"source": {"pair_rate_hz": "many"}, "bob": {"detectors": {"dark_hz": -1}}}
    settings, errors = world_errors(table, "world.toml")
    assert settings is None
    assert [(one.key, one.problem) for one in errors] == [
        ("source.pair_rate_hz", "must be a number without quotes (found 'many')"),
        ("bob.detectors.dark_hz", "must be at least 0.0 (found -1)"),
    ]
    file = tmp_path / "world.toml"
    file.write_text("[source]\npair_rate_hz = -1\nvisibility_hv = 2\n")
    with pytest.raises(ConfigError, match=r"\(and 1 more: qnoded check .*world.toml\)"):
        load_world(file)


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        load_world(tmp_path / "none.toml")


def test_every_known_key_can_be_set_to_its_own_value() -> None:
    world = load_world().model_dump(mode="json")
    for key in known_keys():
        value = world
        for part in key.split("."):
            value = value[part] if part in value else value["H"][part]
        if value is not None and not key.endswith(("preset", "skew_ps")):
            assert load_world(None, [f"{key}={value}"]) == WorldSettings(), key


@given(key=st.text(max_size=20), value=st.text(max_size=20))
def test_no_text_breaks_it(key: str, value: str) -> None:
    for change in (f"{key}={value}", f"source.{key}={value}", f"source.pair_rate_hz={value}"):
        with contextlib.suppress(ConfigError):
            load_world(None, [change])
