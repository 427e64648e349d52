"""``qnoded world`` as a process: it says when it listens, ends on a signal, and tells the truth."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from qnoded.cli import main
from qnoded.sim.changes import load_world
from qnoded.sim.watching import truth

CONFIG = Path(__file__).parents[2] / "config" / "sim" / "world.toml"


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT])
def test_world_listens_and_tells_the_truth_at_the_end(ending: signal.Signals, tmp_path: Path) -> None:
    script = tmp_path / "script.toml"
    script.write_text('[[event]]\nwhat = "fibre_cut"\nat_s = 0.05\nside = "bob"\n')
    told = tmp_path / "truth.json"
    arguments = ["--config", str(CONFIG), "--script", str(script), "--truth", str(told), "--seed", "7"]
    command = [sys.executable, "-c", "import sys; from qnoded.cli import main; sys.exit(main())", "world", *arguments]
    with subprocess.Popen([*command, "--listen", "tcp://127.0.0.1:0"], stdout=subprocess.PIPE, text=True) as world:
        ready, _, address = world.stdout.readline().strip().partition(" ")
        assert ready == "ready"

        async def until_cut() -> None:
            while not (await truth(address))["events"]:
                pass

        asyncio.run(until_cut())
        world.send_signal(ending)
        assert world.wait(20) == 0
    document = json.loads(told.read_text())
    assert document["seed"] == 7
    assert document["simulated"] is True
    assert document["events"][0]["label"] == "fibre_cut"
    assert document["lasers"] == []
    assert document["time"]["mode"] == "paced"


def test_example_world_is_valid_and_bright_enough() -> None:
    settings = load_world(CONFIG)
    assert settings.bob.clock.offset_ps == 300_000_000_000
    assert tomllib.loads(CONFIG.read_text())["source"]["pair_rate_hz"] == settings.source.pair_rate_hz


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--listen", "here"], "is no address; write tcp://127.0.0.1:7400"),
        (["--pace", "0"], "--pace 0 is not possible; use 0.001 to 1000"),
        (["--pace", "nan"], "--pace nan is not possible"),
        (["--lockstep", "0"], "--lockstep 0 waits for no tagger"),
        (["--seed", "-1"], "--seed -1 is negative"),
        (["--script", "/nowhere/script.toml"], "/nowhere/script.toml: file: No such file"),
        (["--config", "/nowhere/world.toml"], "/nowhere/world.toml: file: No such file"),
        (["--listen", "unix:///nowhere/w"], "choose another --listen"),
    ],
)
def test_wrong_use_is_one_clear_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:  # fmt: skip
    assert main(["world", *arguments]) == 2
    said = capsys.readouterr().err
    assert said.startswith("qnoded world: ")
    assert message in said
    assert said.count("\n") == 1
