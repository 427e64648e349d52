"""``qnoded hil`` as a person uses it: check, run, arm, safe, guard, record; on a bench of emulated instruments."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from io import StringIO
from pathlib import Path
from unittest.mock import patch
from xml.etree import ElementTree

import pytest
from qnoded_drivers.thorlabs_pm100d.emulator import EmulatedPm100d
from qnoded_drivers.toptica_dlc_pro.codec import ENABLED, order
from qnoded_drivers.toptica_dlc_pro.emulator import EmulatedDlcPro
from rigs_made import table, written

from qnoded.cli import main
from qnoded.hil.guarding import Process, read_ledger
from qnoded.testing.emulation import Emulation, on_tcp

DRIVER = "toptica-dlc-pro"
SERIAL = "DLC_PRO_01234"
LIT_W, DARK_W = 1e-3, 1e-12
LOOK_S = 0.005


@asynccontextmanager
async def bench(folder: Path, *, serial: str = SERIAL) -> AsyncIterator[tuple[Path, Emulation]]:
    """A laboratory of its own: a laser, a power meter that sees it, and the rig file of both."""
    laser, meter = Emulation(EmulatedDlcPro(SERIAL)), Emulation(EmulatedPm100d(power_w=DARK_W))

    async def shine() -> None:
        assert isinstance(laser.device, EmulatedDlcPro)
        assert isinstance(meter.device, EmulatedPm100d)
        while True:
            meter.device.power_w = LIT_W if laser.device.emits(laser.now_s) else DARK_W
            await asyncio.sleep(LOOK_S)

    async with AsyncExitStack() as stack:
        ports = [await stack.enter_async_context(on_tcp(one)) for one in (laser, meter)]
        document = table(DRIVER, address=f"tcp://127.0.0.1:{ports[0]}")
        document["devices"][DRIVER]["serial"] = serial
        document["witness"] = {
            "driver": "thorlabs-pm100d",
            "dark_below_dbm": -45.0,
            "settings": {"address": f"tcp://127.0.0.1:{ports[1]}", "wavelength_nm": 1550.0, "averages": 1},
        }
        document["guard"] = {"patience_s": 2.0}
        shining = asyncio.create_task(shine())
        try:
            yield written(folder, document), laser
        finally:
            shining.cancel()
            with suppress(asyncio.CancelledError):
                await shining


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let leave and quarantine be those of this test alone."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)


async def hil(*words: str, said: str = "") -> int:
    """Run a command beside the laboratory, with a person who types; return its exit code."""
    with patch("sys.stdin", StringIO(said)):
        return await asyncio.to_thread(main, ["hil", *words])


async def run(*words: str, folder: Path) -> tuple[int, str]:
    """Run tests in a process of their own; return its exit code and everything that it says."""
    program = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "qnoded",
        "hil",
        "run",
        *words,
        cwd=folder,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    out, _ = await program.communicate()
    assert program.returncode is not None
    return program.returncode, out.decode()


def results(folder: Path) -> dict[str, dict[str, object]]:
    lines = [json.loads(line) for line in (folder / "out" / "hil" / "results.jsonl").read_text().splitlines()]
    return {one["test"]: one for one in lines if "verdict" in one}


def test_check_shows_what_the_file_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = written(tmp_path, table(DRIVER))
    assert main(["hil", "check", str(file)]) == 0
    assert "level 3, guard: tcp://192.0.2.17:1998" in capsys.readouterr().out
    assert main(["hil", "check", str(tmp_path / "no-such-file.toml")]) == 2


def test_a_run_on_emulators_leaves_its_reports(tmp_path: Path) -> None:
    file = written(tmp_path, table(DRIVER, "itla-msa"))
    code, said = asyncio.run(run(str(file), "--only", "identity and not session", folder=tmp_path))
    assert code == 0, said
    report = tmp_path / "out" / "hil"
    assert {one["verdict"] for one in results(tmp_path).values()} == {"passed"}
    assert len(results(tmp_path)) == 2
    assert ElementTree.parse(report / "junit.xml").getroot().find("testsuite").get("tests") == "2"  # type: ignore[union-attr] # there
    page = (report / "report.html").read_text(encoding="utf-8")
    assert "2 passed, 0 failed, 0 skipped" in page
    assert "http" not in page.lower().replace("https://", "")


def test_a_rig_file_with_a_mistake(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "rig.toml").write_text("[station]\n", encoding="utf-8")
    assert main(["hil", "check", str(tmp_path / "rig.toml")]) == 2
    assert "station.name: is missing" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["run", "none.toml"], "none.toml: file: No such file"),
        (["run", "rig.toml", "--backend", "replay"], "--recordings is missing; give the folder"),
        (["run", "rig.toml", "--backend", "replay", "--recordings", "none"], "--recordings none is no folder; give"),
        (["acknowledge", "rig.toml", "none"], f"the rig has no device 'none'; it has {DRIVER}"),
    ],
)
def test_what_would_fail_everywhere_alike_is_told_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    written(tmp_path, table(DRIVER))
    assert main(["hil", *words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("qnoded hil: ")
    assert said in line


@pytest.mark.slow
def test_the_real_bench_needs_a_level_and_a_person(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async def scenario() -> None:
        async with bench(tmp_path) as (file, laser):
            words = (str(file), "--backend", "real", "--only", "test_limit or SIGKILL")
            (code, said), (_, said_at_level) = await asyncio.gather(
                run(*words, folder=tmp_path), run(*words, "--level", "3", "--report", "out/level", folder=tmp_path)
            )
            assert code == 0, said
            assert "needs hazard level 3, this run may go to 1" in said
            assert "needs a person at the bench: qnoded hil arm" in said_at_level
            assert await hil("arm", str(file), "--level", "3", said="another-bench\n") == 2
            assert "nothing is armed" in capsys.readouterr().err
            assert await hil("arm", str(file), "--level", "3", said="test-bench\n") == 0
            code, said = await run(*words, "--level", "3", folder=tmp_path)
            assert code == 0, said
            assert {name: one["verdict"] for name, one in results(tmp_path).items()} == {
                f"test_limit[{DRIVER}]": "passed",
                f"test_safe_state[{DRIVER}-SIGKILL of the daemon]": "skipped",
            }
            assert not laser.device.emits(laser.now_s)  # type: ignore[attr-defined] # a laser

    asyncio.run(scenario())


@pytest.mark.slow
def test_a_twin_follows_the_instrument_and_fails_nothing(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with bench(tmp_path) as (file, laser):
            laser.device.parameters["laser1:dl:tc:temp-act"] = 30.0  # type: ignore[attr-defined] # a laser
            assert await hil("arm", str(file), "--level", "3", said="test-bench\n") == 0
            words = ("--backend", "shadow", "--level", "3", "--only", "test_session or lapsed or test_limit")
            code, said = await run(str(file), *words, folder=tmp_path)
            assert code == 0, said
            assert "the twin differs: read.temperature_c is 30, the twin says 22.013  test_session" in said
            assert "answers compared" in said
            page = (tmp_path / "out" / "hil" / "report.html").read_text(encoding="utf-8")
            assert "<h2>The twin differs</h2>" in page
            assert not laser.device.emits(laser.now_s)  # type: ignore[attr-defined] # a laser

    asyncio.run(scenario())


@pytest.mark.slow
def test_the_guides_own_test_runs(tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "docs" / "hil.md").read_text(encoding="utf-8")
    code = text.partition("```python\n")[2].partition("```")[0]
    (tmp_path / "test_own.py").write_text(code, encoding="utf-8")
    file = written(tmp_path, table(DRIVER))
    exit_code, said = asyncio.run(run(str(file), "test_own.py", folder=tmp_path))
    assert exit_code == 0, said
    assert list(results(tmp_path)) == [f"test_temperature[{DRIVER}]"]


@pytest.mark.slow
def test_another_serial_number_is_found_out(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with bench(tmp_path, serial="DLC_PRO_99999") as (file, _):
            words = (
                str(file),
                "--backend",
                "real",
                "--level",
                "2",
                "--only",
                "test_identity.py",
                "--report",
                "out/hil",
            )
            none = (str(file), "--only", "nothing_of_that_name", "--report", "out/none")
            (code, said), (code_of_none, _) = await asyncio.gather(
                run(*words, folder=tmp_path), run(*none, folder=tmp_path)
            )
            assert (code, code_of_none) == (1, 1)
            assert {name: one["verdict"] for name, one in results(tmp_path).items()} == {
                f"test_identity[{DRIVER}]": "failed",
                f"test_session[{DRIVER}]": "failed",
            }
            assert f"serial is {SERIAL}, the rig file says DLC_PRO_99999" in said

    asyncio.run(scenario())


@pytest.mark.slow
def test_the_witness_sees_that_it_is_dark(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with bench(tmp_path) as (file, _):
            assert await hil("arm", str(file), "--level", "4", said="test-bench\n") == 0
            words = (str(file), "--backend", "real", "--level", "4", "--only", "SIGKILL or interlock")
            code, said = await run(*words, folder=tmp_path)
            assert code == 0, said
            assert "1 s from the signal" in said
            assert "it has no interlock that can be opened here" in said

    asyncio.run(scenario())


@pytest.mark.slow
def test_quarantine_fails_what_would_touch_the_device(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with bench(tmp_path) as (file, _):
            state = tmp_path / ".local" / "state" / "qnoded" / "hil" / "test-bench"
            state.mkdir(parents=True)
            (state / "quarantine.json").write_text(json.dumps({DRIVER: "still lit"}), encoding="utf-8")
            words = (str(file), "--backend", "real", "--only", "identity")
            code, said = await run(*words, folder=tmp_path)
            assert code == 1
            assert "is in quarantine (still lit)" in said
            assert await hil("acknowledge", str(file), DRIVER) == 0
            code, said = await run(*words, folder=tmp_path)
            assert code == 0, said

    asyncio.run(scenario())


@pytest.mark.slow
def test_what_was_recorded_passes_on_replay(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with bench(tmp_path) as (file, _):
            assert await hil("record", str(file), DRIVER, "--out", "tapes") == 0
        words = (str(file), "--backend", "replay", "--recordings", "tapes", "--only", "identity or test_limit")
        code, said = await run(*words, folder=tmp_path)
        assert code == 0, said
        assert {name: one["verdict"] for name, one in results(tmp_path).items()} == {
            f"test_identity[{DRIVER}]": "passed",
            f"test_session[{DRIVER}]": "passed",
            f"test_limit[{DRIVER}]": "skipped",
        }

    asyncio.run(scenario())


def test_safe_makes_dark_without_a_driver(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async def scenario() -> None:
        async with bench(tmp_path) as (file, laser):
            laser.device.hear(order(ENABLED, value=True), laser.now_s)
            assert await hil("safe", str(file)) == 0
            assert capsys.readouterr().out.startswith(f"{DRIVER}: safe after")
            assert not laser.device.parameters[ENABLED]  # type: ignore[attr-defined] # a laser
            laser.hung = True
            assert await hil("safe", str(file)) == 3
            assert capsys.readouterr().out.startswith(f"{DRIVER}: NOT CONFIRMED SAFE")

    asyncio.run(scenario())


def test_a_command_under_guard_ends_dark(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with bench(tmp_path) as (file, laser):
            laser.device.hear(order(ENABLED, value=True), laser.now_s)
            assert await hil("guard", str(file), "--", "true") == 0
            assert [one["what"] for one in read_ledger(tmp_path / "ledger.jsonl")] == ["watching", "ended", "safe"]
            assert not laser.device.parameters[ENABLED]  # type: ignore[attr-defined] # a laser

    asyncio.run(scenario())


DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)"


async def killed(ledger: Path) -> None:
    """Kill the guard of this command as nothing in order would, as soon as it watches."""
    while not (watching := read_ledger(ledger)):  # noqa: ASYNC110 - another process writes it
        await asyncio.sleep(LOOK_S)
    (guard,) = children(os.getpid())
    assert children(guard) == [watching[0]["pid"]]
    os.kill(guard, signal.SIGKILL)


def children(pid: int) -> list[int]:
    lists = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(one) for children in lists for one in children.read_text(encoding="ascii").split()]


def test_a_killed_guard_is_stood_in_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async def scenario() -> None:
        async with bench(tmp_path) as (file, laser), asyncio.timeout(20.0):
            laser.device.hear(order(ENABLED, value=True), laser.now_s)
            words = ("guard", str(file), "--", sys.executable, "-c", DEAF)
            code, _ = await asyncio.gather(hil(*words), killed(tmp_path / "ledger.jsonl"))
            assert code == 3
            assert "the guard was killed; its work was done in its place" in capsys.readouterr().err
            watching, safe = read_ledger(tmp_path / "ledger.jsonl")
            assert (safe["what"], safe["by"]) == ("safe", "runner")
            assert not laser.device.parameters[ENABLED]  # type: ignore[attr-defined] # a laser
            assert Process(watching["pid"]).gone(0.0)

    with patch("qnoded.hil.guarding.STOPPING_S", 0.3):
        asyncio.run(scenario())


def test_what_a_guarded_command_leaves_unconfirmed_is_in_quarantine(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def scenario() -> None:
        async with bench(tmp_path) as (file, laser):
            laser.hung = True
            assert await hil("guard", str(file), "--", "true") == 3
            assert f"{DRIVER}: NOT CONFIRMED SAFE, see ledger.jsonl; it is in quarantine" in capsys.readouterr().err
            assert await hil("check", str(file)) == 0
            assert "QUARANTINE: guard: tcp://" in capsys.readouterr().out

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "words",
    [
        ["RIG", "--ledger", "own.jsonl", "--", "sh", "-c", "exit $#", "--", "--ledger"],
        ["--ledger", "own.jsonl", "RIG", "--", "sh", "-c", "exit $#", "--", "--ledger"],
        ["--ledger", "own.jsonl", "RIG", "sh", "-c", "exit $#", "--", "--ledger"],
    ],
)
def test_options_of_the_guard_and_words_of_the_command(words: list[str], tmp_path: Path) -> None:
    file = table_without_targets(tmp_path)
    assert main(["hil", "guard", *(str(file) if one == "RIG" else one for one in words)]) == 0
    ended = [one["why"] for one in read_ledger(tmp_path / "own.jsonl") if one["what"] == "ended"]
    # The shell counts what follows its name, which is the second "--".
    assert ended == ["the daemon ended: exit code 1"]


def test_a_guard_of_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["hil", "guard", str(table_without_targets(tmp_path))])
    assert "the following arguments are required: -- COMMAND" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["RIG", "--", "no-such-command"], "no-such-command cannot be started"),
        (["RIG", "--ledger", "no/such/folder", "--", "true"], "--ledger no/such/folder: No such file or directory"),
    ],
)
def test_a_mistake_in_the_words_for_the_guard(
    words: list[str], says: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file = table_without_targets(tmp_path)
    assert main(["hil", "guard", *(str(file) if one == "RIG" else one for one in words)]) == 2
    assert says in capfd.readouterr().err


def table_without_targets(folder: Path) -> Path:
    document = table(DRIVER)
    document["devices"] = {"paddles": {"driver": "thorlabs-mpc320", "settings": {"address": "/dev/ttyUSB0"}}}
    return written(folder, document)
