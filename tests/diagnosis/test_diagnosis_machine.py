"""What ``qnoded doctor`` says of a machine: levels, numbers and remedies, on machines that are made of files."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tomllib
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from machines_made import machine_made, write

from qnoded.diagnosis import compiled, key_files, machine, network, service, storage
from qnoded.diagnosis.finding import Finding, Level, action, exit_code, ok, warn
from qnoded.diagnosis.machine import HostClock
from qnoded.node.delivery import demo_pki
from qnoded.node_settings import NodeSettings, check_node

CONFIG = Path(__file__).parents[2] / "config"


def node(tmp_path: Path, file: str = "sim/alice.toml", **link: str) -> NodeSettings:
    """An example node whose files would lie below the test's folder; ``listen`` or ``connect`` may be replaced."""
    table = tomllib.loads((CONFIG / file).read_text())
    if link:
        table["links"]["bob"].pop("listen")
        table["links"]["bob"] |= link
    return check_node(table, file, tmp_path)


@pytest.mark.parametrize(
    ("findings", "code"),
    [
        ([], 0),
        ([ok("a", "b"), warn("a", "b", "c")], 0),
        ([action("a", "b", "c")], 1),
        ([action("a", "b", "c", absent=True)], 3),
        ([action("a", "b", "c", absent=True), action("a", "b", "c")], 1),
    ],
)
def test_the_exit_code_tells_whether_somebody_must_act_and_where(findings: list[Finding], code: int) -> None:
    assert exit_code(findings) == code


@pytest.mark.parametrize(
    ("clock", "level", "words"),
    [
        (HostClock(True, 0.02), Level.OK, "synchronized, at most 0.02 s off; links search 0.5 s around it"),
        (HostClock(True, 0.7), Level.WARN, "at most 0.7 s off"),
        (HostClock(False, 16.0), Level.ACTION, "not synchronized, at most 16 s off"),
        (None, Level.WARN, "does not say"),
    ],
)
def test_the_host_clock_is_held_against_what_links_search(
    tmp_path: Path, clock: HostClock | None, level: Level, words: str
) -> None:
    found = machine.clock(clock, node(tmp_path, "alice.toml"))
    assert found.level is level
    assert words in found.said


def test_in_simulation_a_free_clock_is_no_reason_to_act(tmp_path: Path) -> None:
    assert machine.clock(HostClock(False, 16.0), node(tmp_path)).level is Level.WARN
    assert machine.clock(HostClock(False, 16.0), None).level is Level.WARN


def test_the_kernel_is_asked_for_its_clock() -> None:
    clock = machine.host_clock()
    # Containers may forbid the call; whoever answers gives an error between none and the kernel's largest, 16 s.
    assert clock is None or 0.0 <= clock.largest_error_s <= 17.0


@pytest.mark.parametrize(
    ("available_mib", "level"), [(799, Level.ACTION), (800, Level.WARN), (1823, Level.WARN), (1824, Level.OK)]
)
def test_memory_is_held_against_what_a_node_takes(tmp_path: Path, available_mib: int, level: Level) -> None:
    found = machine.memory(machine_made(tmp_path, available_kib=available_mib << 10))
    assert found.level is level
    assert f"{available_mib} MiB" in found.said


@pytest.mark.parametrize(
    ("swaps", "level"), [((), Level.OK), (("/dev/zram0",), Level.OK), (("/dev/zram0", "/swapfile"), Level.WARN)]
)
def test_swap_on_a_disk_is_told(tmp_path: Path, swaps: tuple[str, ...], level: Level) -> None:
    found = machine.swap(machine_made(tmp_path, swaps=swaps))
    assert found.level is level
    assert ("/swapfile" in found.said) == (level is Level.WARN)


def test_a_governor_that_saves_power_is_told(tmp_path: Path) -> None:
    root = machine_made(tmp_path)
    assert [one.said for one in machine.processor(root) if one.subject == "governor"] == ["performance"]
    write(root / "sys/devices/system/cpu/cpu1/cpufreq/scaling_governor", "powersave\n")
    (governor,) = (one for one in machine.processor(root) if one.subject == "governor")
    assert (governor.level, governor.said) == (Level.WARN, "performance, powersave")


def without_unit(root: Path) -> None:
    (root / "etc/systemd/system/qnoded@.service").unlink()


def without_systemd(root: Path) -> None:
    (root / "run/systemd/system").rmdir()


def without_program(root: Path) -> None:
    (root / "opt/qnoded/bin/qnoded").unlink()


def unwatched(root: Path) -> None:
    write(root / "etc/systemd/system/qnoded@.service.d/late.conf", "[Service]\nWatchdogSec=0\n")


def overridden_by_the_administrator(root: Path) -> None:
    write(root / "usr/lib/systemd/system/qnoded@.service.d/a.conf", "[Service]\nWatchdogSec=0\n")
    write(root / "etc/systemd/system/qnoded@.service.d/a.conf", "[Service]\nWatchdogSec=30\n")


@pytest.mark.parametrize(
    ("change", "worst", "words"),
    [
        (lambda root: None, Level.OK, "WatchdogSec=20"),
        (without_unit, Level.WARN, "is not installed"),
        (without_systemd, Level.WARN, "systemd does not run here"),
        (without_program, Level.ACTION, "/opt/qnoded/bin/qnoded, which is not there"),
        (unwatched, Level.ACTION, "WatchdogSec of qnoded@.service is 0"),
        (overridden_by_the_administrator, Level.OK, "WatchdogSec=30"),
    ],
)
def test_the_unit_is_read_with_its_drop_ins(
    tmp_path: Path, change: Callable[[Path], None], worst: Level, words: str
) -> None:
    root = machine_made(tmp_path)
    change(root)
    found = list(service.service(root))
    assert any(words in one.said for one in found), found
    assert max(found, key=lambda one: list(Level).index(one.level)).level is worst


def test_a_state_folder_in_memory_is_told(tmp_path: Path) -> None:
    root = machine_made(tmp_path)
    settings = node(tmp_path)
    assert all(one.level is Level.OK for one in storage.storage(settings, root))
    write(root / "proc/self/mounts", f"/dev/vda / ext4 rw 0 0\ntmpfs {tmp_path} tmpfs rw 0 0\n")
    (told,) = (one for one in storage.storage(settings, root) if one.level is not Level.OK)
    assert (told.level, "is on tmpfs" in told.said) == (Level.WARN, True)
    real = node(tmp_path, "alice.toml")
    assert [one.level for one in storage.storage(real, root) if one.subject == "state"] == [Level.ACTION]
    # What is mounted later on the same folder hides what was there.
    write(root / "proc/self/mounts", f"tmpfs {tmp_path} tmpfs rw 0 0\n/dev/vdb {tmp_path} ext4 rw 0 0\n")
    assert all(one.level is Level.OK for one in storage.storage(settings, root))


def test_a_disk_that_is_nearly_full_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free = os.statvfs(tmp_path)

    def filled(_: object) -> os.statvfs_result:
        return os.statvfs_result((*free[:1], 1024, *free[2:4], (63 << 20) // 1024, *free[5:]))

    monkeypatch.setattr(os, "statvfs", filled)
    disk = next(iter(storage.storage(node(tmp_path), machine_made(tmp_path / "root"))))
    assert (disk.level, disk.said.split(" free")[0]) == (Level.ACTION, "63 MiB")


def test_a_key_that_others_may_read_is_told_and_its_content_is_not(tmp_path: Path) -> None:
    settings = node(tmp_path)
    missing = list(key_files.key_files(settings))
    assert [one.subject for one in missing] == ["links.bob.secret_key", "keys.kek", "delivery.private_key"]
    assert all("is not there" in one.said for one in missing)
    files = [settings.links["bob"].secret_key, tmp_path / "out/keys/alice.kek", tmp_path / "out/pki/kme-alice.key"]
    for file in files:
        write(file, "4711-secret")
        file.chmod(0o600)
    assert [one.level for one in key_files.key_files(settings)] == [Level.OK]
    files[1].chmod(0o640)
    (told,) = key_files.key_files(settings)
    assert (told.level, told.remedy) == (Level.ACTION, f"chmod 600 {files[1]}")
    assert "mode 0640" in told.said
    assert "4711" not in told.said


@pytest.mark.parametrize(
    ("left", "level", "words"),
    [
        (timedelta(days=31), Level.OK, "31 days from now"),
        (timedelta(days=29), Level.WARN, "29 days from now"),
        (timedelta(days=6), Level.ACTION, "6 days from now"),
        (timedelta(days=-1), Level.ACTION, "has run out on"),
        (timedelta(days=100_000), Level.ACTION, "is valid from"),
    ],
)
def test_certificates_are_told_before_they_run_out(tmp_path: Path, left: timedelta, level: Level, words: str) -> None:
    settings = node(tmp_path)
    demo_pki.make(tmp_path / "out/pki", ["kme-alice"], ["sae-alice"])
    assert settings.delivery is not None
    own = x509.load_pem_x509_certificate(settings.delivery.certificate.read_bytes())
    certificate = next(iter(key_files.certificates(settings, own.not_valid_after_utc - left)))
    assert certificate.level is level
    assert words in certificate.said


def test_ports_in_use_are_told_unless_the_daemon_itself_has_them(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        settings = node(tmp_path, listen=f"tcp://127.0.0.1:{port}")
        found = next(iter(network.listening(settings)))
        assert (found.level, found.remedy) == (Level.ACTION, f"see who has it: ss -ltnp 'sport = :{port}'")
        settings.node.run_dir.mkdir(parents=True)
        with socket.socket(socket.AF_UNIX) as control:
            control.bind(os.path.relpath(settings.node.control_socket))
            control.listen()
            assert next(iter(network.listening(settings))).said.endswith("in use by the daemon, which runs")
    assert next(iter(network.listening(settings))).said.endswith("is free")


def test_an_address_of_another_machine_cannot_be_listened_on(tmp_path: Path) -> None:
    found = next(iter(network.listening(node(tmp_path, listen="tcp://192.0.2.1:7401"))))
    assert (found.level, found.remedy) == (Level.ACTION, "give an address of this machine, or * for all")


def test_a_peer_that_answers_and_one_that_does_not(tmp_path: Path) -> None:
    with socket.socket() as peer:
        peer.bind(("127.0.0.1", 0))
        peer.listen()
        settings = node(tmp_path, connect=f"tcp://127.0.0.1:{peer.getsockname()[1]}")
        (found,) = network.peers(settings)
        assert (found.level, "answers after" in found.said) == (Level.OK, True)
    (found,) = network.peers(settings)
    assert (found.level, "nobody listens there" in found.said) == (Level.WARN, True)


def test_a_peer_whose_name_nobody_knows_is_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "create_connection", unknown)
    (found,) = network.peers(node(tmp_path, connect="tcp://bob.example:7401"))
    assert (found.level, found.absent, exit_code([found])) == (Level.ACTION, True, 3)


def test_compiled_kernels_are_known_by_the_files_of_the_cache(tmp_path: Path) -> None:
    sources, cache = tmp_path / "kernels", tmp_path / "cache"
    for name in ("tagging", "sifting", "detecting", "constants"):
        write(sources / f"{name}.py", "X = 1\n" if name == "constants" else "\n@kernel(void)\ndef it(): ...\n")
    environment = {"NUMBA_CACHE_DIR": str(cache)}
    cold = compiled.kernels(environment, tmp_path, sources)
    assert (cold.level, cold.said.split(" modules")[0]) == (Level.WARN, "0 of 2")
    tag = f"py{sys.version_info.major}{sys.version_info.minor}"
    for name in ("tagging", "sifting"):
        write(cache / "kernels_4711" / f"{name}.it-3.{tag}.nbi", "")
    assert compiled.kernels(environment, tmp_path, sources).level is Level.OK
    later_s = (cache / "kernels_4711" / f"sifting.it-3.{tag}.nbi").stat().st_mtime + 1
    os.utime(sources / "sifting.py", (later_s, later_s))
    assert compiled.kernels(environment, tmp_path, sources).said.startswith("1 of 2")


@pytest.mark.slow
def test_the_kernels_that_count_are_those_that_the_daemon_imports() -> None:
    code = (
        "import sys, qnoded.node.daemon, qnoded.node.cutting, qnoded.exchange.distilling, qnoded.exchange.identifying\n"
        "import qnoded.stages.synchronization.acquisition\n"
        "print(*(one.rpartition('.')[2] for one in sys.modules if one.startswith('qnoded.kernels.')))"
    )
    imported = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    there = {one.stem for one in compiled.KERNELS.glob("[!_]*.py")}
    assert there - set(imported) == compiled.NOT_THE_DAEMONS
