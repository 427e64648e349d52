"""``qnoded doctor`` and ``qnoded udev``: lines, one JSON document, exit codes, and nothing written."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from qnoded.cli import main

CONFIG = Path(__file__).parents[2] / "config"


def test_without_a_node_the_machine_alone_is_looked_at(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) in (0, 1)
    *lines, last = capsys.readouterr().out.splitlines()
    assert {line.split()[0] for line in lines} <= {"ok", "warn", "ACTION"}
    assert [line.split()[1] for line in lines][:3] == ["python:", "kernels:", "clock:"]
    assert last.endswith("ACTION")


def test_a_node_is_looked_at_and_nothing_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "alice.toml"
    file.write_text((CONFIG / "sim" / "alice.toml").read_text())
    # Its keys are not made yet.
    assert main(["doctor", "--config", str(file), "--json"]) == 1
    said = capsys.readouterr()
    assert said.err == ""
    document = json.loads(said.out)
    found = {one["subject"]: one for one in document["findings"]}
    assert found["keys.kek"]["level"] == "ACTION"
    assert found["instruments.laser"]["said"].startswith("sim-laser")
    assert {"links.bob.listen", "delivery.listen", "delivery.certificate", "disk"} <= found.keys()
    assert all((one["level"] == "ok") == (one["remedy"] == "") for one in document["findings"])
    assert sum(document["counts"].values()) == len(document["findings"])
    assert list(tmp_path.iterdir()) == [file]


def test_no_kernel_is_imported_since_that_could_compile_it_for_a_minute() -> None:
    code = "import sys; from qnoded.cli import main; main(sys.argv[1:])\nprint('numba' in sys.modules, file=sys.stderr)"
    words = ["doctor", "--config", str(CONFIG / "sim" / "alice.toml")]
    ended = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=True)
    assert ended.stderr == "False\n"


@pytest.mark.parametrize("command", ["doctor", "udev"])
def test_a_file_that_cannot_be_used_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    file = tmp_path / "alice.toml"
    file.write_text("[node]\nnmae = 'a'\n")
    assert main([command, "--config", str(file)]) == 2
    said = capsys.readouterr()
    assert (said.out, said.err.count("\n")) == ("", 1)
    assert "did you mean name?" in said.err


def test_rules_are_printed_and_what_is_not_there_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["udev", "--config", str(CONFIG / "alice.toml"), "--group", "dialout"]) == 0
    said = capsys.readouterr()
    assert 'SYMLINK+="qnoded/polarization", GROUP="dialout"' in said.out
    assert said.err == ""
    file = tmp_path / "alice.toml"
    file.write_text((CONFIG / "alice.toml").read_text().replace("/dev/serial/by-id/usb-FTDI", "/dev/ttyUSB99-"))
    assert main(["udev", "--config", str(file)]) == 3
    assert "no rule for polarization" in capsys.readouterr().err
    assert main(["udev", "--config", str(file), "--group", 'a", RUN+="b']) == 2
