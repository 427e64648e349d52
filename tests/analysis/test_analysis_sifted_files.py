"""Files of sifted bits: complete or not there, for their owner alone, and of recordings in the right order."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from qnoded.analysis.options import AnalysisOptions, ClockOptions
from qnoded.analysis.run import analyze, silent
from qnoded.cli.simulate import record
from qnoded.errors import UsageError
from qnoded.settings import check_channel_map
from qnoded.sim import World
from qnoded.sim.changes import load_world

FILES = ("alice.txt", "bob.txt", "sifted.json")


@pytest.fixture(scope="module")
def link(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    files, _ = record(World(load_world(None, []), 1), 0.5, tmp_path_factory.mktemp("link"), "npz", silent)
    return Path(files["alice"]), Path(files["bob"])


@pytest.fixture(scope="module")
def other_bob(tmp_path_factory: pytest.TempPathFactory) -> Path:
    files, _ = record(World(load_world(None, []), 2), 0.5, tmp_path_factory.mktemp("other"), "npz", silent)
    return Path(files["bob"])


def test_only_the_owner_may_read_them(link: tuple[Path, Path], tmp_path: Path) -> None:
    for name in FILES:
        # Left by somebody who did not mind who reads them.
        (tmp_path / name).touch(0o644)
    analyze(*link, AnalysisOptions(sifted=tmp_path))
    assert {path.name for path in tmp_path.iterdir()} == set(FILES)
    assert {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in FILES} == {0o600}


def test_the_facts_are_there_before_the_bits(
    link: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    appeared: list[str] = []
    rename = Path.replace

    def watched(path: Path, target: Path) -> Path:
        assert json.loads((tmp_path / "sifted.json.part").read_text()) if target.name == "sifted.json" else True
        appeared.append(target.name)
        return rename(path, target)

    monkeypatch.setattr(Path, "replace", watched)
    analyze(*link, AnalysisOptions(sifted=tmp_path))
    assert appeared == ["sifted.json", "alice.txt", "bob.txt"]


def test_a_run_without_a_lock_leaves_earlier_bits_alone(
    link: tuple[Path, Path], other_bob: Path, tmp_path: Path
) -> None:
    analyze(*link, AnalysisOptions(sifted=tmp_path))
    before = {name: (tmp_path / name).read_bytes() for name in FILES}
    near = ClockOptions(offset_ps=300_000_000_000, offset_range_ps=10**9, frequency_range=1e-6)
    analysis = analyze(link[0], other_bob, AnalysisOptions(sifted=tmp_path, clock=near))
    assert not analysis.stands
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("mapped", [False, True])
def test_exchanged_recordings_that_name_their_sides_are_refused(link: tuple[Path, Path], mapped: bool) -> None:
    channels = {"H": 0, "V": 1, "D": 2, "A": 3}
    given = check_channel_map({"alice": channels, "bob": channels}, "test") if mapped else None
    with pytest.raises(UsageError, match=r"bob\.npz was given as alice's recording.*exchange them"):
        analyze(link[1], link[0], AnalysisOptions(channels=given))
