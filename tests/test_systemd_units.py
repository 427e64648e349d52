"""The service's units: systemd understands them, and what they guard is not opened by accident."""

from __future__ import annotations

import shutil
import subprocess
from configparser import RawConfigParser
from pathlib import Path

import pytest

UNITS = Path(__file__).parents[1] / "systemd"
MOST_EXPOSURE = 14
"""Tenths, as ``systemd-analyze security --threshold`` takes them: what a unit that compiles kernels can reach."""

needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """The units with a program that exists: systemd looks for it."""
    for unit in UNITS.glob("qnoded*"):
        (tmp_path / unit.name).write_text(
            unit.read_text().replace("/opt/qnoded/bin/qnoded", shutil.which("true") or "")
        )
    return tmp_path


def analyze(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["systemd-analyze", *words], capture_output=True, text=True, check=False)


@needs_systemd
def test_systemd_understands_every_unit_without_a_word(units: Path) -> None:
    verified = analyze("verify", "--man=no", *map(str, units.iterdir()))
    assert (verified.returncode, verified.stderr) == (0, "")


@needs_systemd
def test_the_service_exposes_little(units: Path) -> None:
    scored = analyze("security", "--offline=true", f"--threshold={MOST_EXPOSURE}", str(units / "qnoded@.service"))
    assert scored.returncode == 0, scored.stdout


@pytest.mark.skipif(shutil.which("systemd-sysusers") is None, reason="systemd-sysusers is not installed")
def test_the_user_is_declared_as_systemd_wants_it() -> None:
    words = ["systemd-sysusers", "--dry-run", str(UNITS / "sysusers.d" / "qnoded.conf")]
    declared = subprocess.run(words, capture_output=True, text=True, check=False)
    assert declared.returncode == 0, declared.stderr
    assert "ignoring" not in declared.stderr


def test_the_service_keeps_what_the_daemon_relies_on() -> None:
    text = (UNITS / "qnoded@.service").read_text()
    # Without these two the ZeroMQ library ends the process: seen in a booted systemd 252.
    assert "AF_NETLINK" in text
    assert "\nSystemCallFilter=sched_setscheduler\n" in text
    parser = RawConfigParser(strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # keys of units have capitals
    parser.read(UNITS / "qnoded@.service")
    service = parser["Service"]
    assert service["Type"] == "notify"
    assert service["RestartPreventExitStatus"] == "2"
    assert "MemoryDenyWriteExecute" not in service
    assert service["StateDirectory"] == service["RuntimeDirectory"] == "qnoded/%i"
    assert service["LimitCORE"] == "0"
    # Longer than the 5 s in which the daemon makes everything dark, shorter than anybody waits.
    assert 5 < int(service["TimeoutStopSec"]) <= 15
