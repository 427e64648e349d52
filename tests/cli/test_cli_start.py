"""What a start costs: help imports nothing heavy, and a second analysis compiles nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from qnoded.cli import main

HEAVY = ("numpy", "numba", "scipy", "matplotlib", "pydantic", "pyarrow", "rich", "ptufile")


def test_help_imports_nothing_heavy() -> None:
    code = "import sys; from qnoded.cli import build_parser; build_parser(); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    assert not set(HEAVY) & set(loaded)


def test_a_second_start_of_analyze_compiles_nothing(tmp_path: Path) -> None:
    assert main(["simulate", "--seconds", "0.2", "--out", str(tmp_path), "--json"]) == 0
    command = [
        sys.executable,
        "-c",
        "import sys; from qnoded.cli import main; sys.exit(main(sys.argv[1:]))",
        "analyze",
        str(tmp_path / "alice.npz"),
        str(tmp_path / "bob.npz"),
    ]
    environment = os.environ | {"NUMBA_DEBUG_CACHE": "1"}
    outputs = [
        subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout for _ in range(2)
    ]
    assert "[cache] data loaded" in outputs[1]
    assert "[cache] data saved" not in outputs[1]


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith("qnoded 0.")


def test_no_command_is_wrong_use(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([])
    assert ended.value.code == 2
    assert "COMMAND" in capsys.readouterr().err
