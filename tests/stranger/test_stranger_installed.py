"""A driver that comes in a package of its own is found, checked, tested and run, and nothing of qnoded names it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest
import tomli_w

from qnoded.cli import main
from qnoded.instruments.registry import GROUP

HERE = Path(__file__).parent
ENDED_S = 20.0


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the package as an installer leaves it: its modules, and what its pyproject.toml announces."""
    target = tmp_path_factory.mktemp("site")
    project = tomllib.loads((HERE / "pyproject.toml").read_text())["project"]
    shutil.copytree(HERE / "stranger_lab", target / "stranger_lab", ignore=shutil.ignore_patterns("__pycache__"))
    facts = target / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    facts.mkdir()
    name, version = project["name"], project["version"]
    (facts / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    groups = project["entry-points"].items()
    lines = [f"[{group}]\n" + "".join(f"{key} = {value}\n" for key, value in one.items()) for group, one in groups]
    (facts / "entry_points.txt").write_text("\n".join(lines))
    return target


def environment(installed: Path) -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(installed), "PYTHONUNBUFFERED": "1"}


@contextmanager
def background(installed: Path, *words: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A command that runs until it is told to end, and the line in which it says that it is ready."""
    command = [sys.executable, "-m", "qnoded", *words]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment(installed)
    ) as process:
        assert process.stdout is not None
        try:
            yield process, next((line.strip() for line in process.stdout if "ready " in line), "")
        finally:
            process.terminate()
            process.wait(ENDED_S)


def test_it_is_unknown_where_it_is_not_installed() -> None:
    assert "stranger-voa" not in {one.name for one in entry_points(group=GROUP)}


def test_it_is_listed_with_its_card_and_what_it_lacks(
    installed: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(installed)
    assert main(["drivers", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)["drivers"]
    (found,) = (one for one in listed if one["name"] == "stranger-voa")
    assert (found["package"], found["kind"], found["simulated"]) == ("stranger-lab 0.3", "attenuator", False)
    assert found["card"]["models"] == ["Stranger VOA-60"]
    assert found["problem"] is None
    assert found["lacks"] == ["stranger_sdk is missing for addresses that begin with USB: pip install stranger-sdk"]


def node_with(file: Path, **settings: Any) -> Path:
    table = {
        "node": {"name": "carol", "state_dir": "state", "run_dir": "run", "simulation": True},
        "instruments": {"attenuator": {"driver": "stranger-voa"} | settings},
    }
    file.write_text(tomli_w.dumps(table))
    return file


def test_its_own_settings_are_checked(
    installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(installed)
    assert main(["check", str(node_with(tmp_path / "good.toml", address="tcp://127.0.0.1:9"))]) == 0
    capsys.readouterr()
    bad = node_with(tmp_path / "bad.toml", address="tcp://127.0.0.1:9", min_bd=3.0)
    assert main(["check", str(bad)]) == 2
    words = "instruments.attenuator.min_bd: there is no such key (found 3.0); did you mean min_db?"
    assert capsys.readouterr().err == f"{bad}: {words}\n"


@pytest.mark.slow
def test_it_is_tested_by_one_command_and_run_by_a_daemon(installed: Path, tmp_path: Path) -> None:
    with background(installed, "emulate", "stranger-voa", "--tcp", "127.0.0.1:0") as (_, ready):
        address = ready.removeprefix("ready ")
        assert address, "the emulator ended"
        settings = tmp_path / "voa.toml"
        settings.write_text(f'address = "{address}"\n')
        command = [sys.executable, "-m", "qnoded.testing.contract", "stranger-voa", "--settings", settings, "--json"]
        tested = subprocess.run(command, capture_output=True, text=True, check=False, env=environment(installed))
        assert tested.returncode == 0, tested.stdout
        assert json.loads(tested.stdout)["broken"] == 0
        file = node_with(tmp_path / "node.toml", address=address, min_db=3.0)
        with background(installed, "run", "--config", str(file)) as (daemon, started):
            assert started, "the daemon ended"
            ctl = [Path(sys.executable).with_name("qnodectl"), "devices", "--config", file, "--json"]
            asked = subprocess.run(ctl, capture_output=True, text=True, check=False)
            assert '"READY"' in asked.stdout, asked.stdout + asked.stderr
        assert daemon.returncode == 0
