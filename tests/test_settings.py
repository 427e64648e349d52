"""Channel maps: what is accepted, and what an error says."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

from qnoded.errors import ConfigError
from qnoded.settings import load_channel_map

SIDES = "[alice]\nH = 0\nV = 1\n[bob]\nH = 4\nV = 5\n"


def written(folder: Path, text: str) -> Path:
    path = folder / "map.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_example_in_config_is_valid() -> None:
    found = load_channel_map(Path(__file__).parents[1] / "config" / "channels.toml")
    assert found.alice.channels == {"H": 0, "V": 1, "D": 2, "A": 3}
    assert found.bob is not None
    assert found.bob.channels == {"H": 4, "V": 5, "D": 6, "A": 7}


def test_tick_and_window_are_exact(tmp_path: Path) -> None:
    found = load_channel_map(written(tmp_path, 'tick_ps = "625/8"\nwindow_ps = 1500\n' + SIDES))
    assert found.tick_ps == Fraction(625, 8)
    assert found.window_ps == 1500


def test_basis_bit_and_angle_follow_from_the_name(tmp_path: Path) -> None:
    found = load_channel_map(written(tmp_path, "[alice]\nA = 7\nR = 2\n[bob]\nH = 1\n[bob.angles_deg]\nH = 22.5\n"))
    one, other = found.alice.receiver("alice").detectors
    assert (one.name, one.channel, one.basis, one.bit, one.angle_deg) == ("A", 7, "DA", 1, -45.0)
    assert (other.basis, other.bit, other.angle_deg) == ("RL", 0, None)
    assert found.bob is not None
    assert found.bob.receiver("bob").detectors[0].angle_deg == 22.5


@pytest.mark.parametrize(
    ("text", "key", "words"),
    [
        ("windw_ps = 3\n" + SIDES, "windw_ps", "no such key (found 3); did you mean window_ps?"),
        ("window_ps = 0\n" + SIDES, "window_ps", "must be more than 0 (found 0)"),
        ("window_ps = 2.5\n" + SIDES, "window_ps", "must be a whole number without quotes (found 2.5)"),
        ("tick_ps = 78.125\n" + SIDES, "tick_ps", "not exact (found 78.125); write it as a whole number or in quotes"),
        ('tick_ps = "625/0"\n' + SIDES, "tick_ps", "cannot be read"),
        ('tick_ps = "-1"\n' + SIDES, "tick_ps", "cannot be read"),
        ("[bob]\nH = 1\n", "alice", "is missing; add it"),
        ("[alice]\n", "alice", "names no detector; give each its input"),
        ("[alice]\nX = 1\n", "alice", "'X' is no detector name; use H, V, D, A, R, L"),
        ("[alice]\nH = 256\n", "alice.H", "must be at most 255 (found 256)"),
        ("[alice]\nH = -1\n", "alice.H", "must be at least 0 (found -1)"),
        ('[alice]\nH = "one"\n', "alice.H", "must be a whole number without quotes (found 'one')"),
        ("[alice]\nH = 1\nV = 1\n", "alice", "share one channel (H = 1, V = 1); give each its own"),
        ("[alice]\nH = 1\n[alice.delays_ps]\nV = 3\n", "alice", "no channel on this side; name its input above"),
        ("[alice]\nH = 1\nV = 2\n[alice.delays_ps]\nV = 3\n", "alice", "all detectors of the side or none"),
        ("[alice]\nH = 1\n[alice.dead_times_ps]\nH = 3\n", "alice.dead_times_ps", "did you mean dead_time_ps?"),
        ("[alice]\nH = 1\n[alice.dead_time_ps]\nH = -3\n", "alice.dead_time_ps.H", "must be at least 0 (found -3)"),
        ("[alice]\nH = 1\n[alice.angles_deg]\nH = nan\n", "alice.angles_deg.H", "(found nan)"),
        ("alice = 3\n", "alice", "must be a table (found 3)"),
        ("[alice\n", "TOML", "line 1"),
    ],
)
def test_a_wrong_map_names_file_key_and_remedy(tmp_path: Path, text: str, key: str, words: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        load_channel_map(path)
    assert caught.value.where == str(path)
    assert caught.value.key == key
    assert words in str(caught.value)
    assert caught.value.remedy
    # Our words, not those of the library that checks.
    assert not {"input", "validation", "dictionary", "extra"} & set(caught.value.problem.lower().split())


def test_a_missing_or_unreadable_map_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nowhere"):
        load_channel_map(tmp_path / "nowhere.toml")
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="TOML"):
        load_channel_map(binary)
