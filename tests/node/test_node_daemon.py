"""Two daemons, real ZeroMQ and the simulated world in one process: they sift the same, come back, and end dark."""

from __future__ import annotations

import asyncio
import json
import os
import threading
from pathlib import Path

import pytest
from nodes_made import free_address, link_of, node, settings_of, until, world

from qnoded.errors import ConfigError, UsageError
from qnoded.node import advice, lock_file, turning
from qnoded.node.daemon import Daemon
from qnoded.node.devices import Devices
from qnoded.node.doubt_file import EMITS, NAME
from qnoded.node.keys.secret_files import SEALING_KEY_BYTES, new_secret
from qnoded.node.occupancy import occupied
from qnoded.node.recording import INDEX
from qnoded.node.status import InstrumentStatus
from qnoded.node_settings import KeysSettings, NodeSettings
from qnoded.sim.events import Unplug


def sifted(daemon: Daemon, epochs: int = 1) -> bool:
    link = link_of(daemon)
    return link is not None and link.state == "SIFTING" and link.epochs >= epochs


def laser(daemon: Daemon) -> InstrumentStatus:
    return daemon.snapshot().instruments["laser"]


def emits(daemon: Daemon) -> bool:
    return laser(daemon).problem is None and bool((laser(daemon).reading or {}).get("emitting"))


def records(folder: Path) -> dict[int | str, dict[str, object]]:
    """Return the lines of an index by epoch, and by digest for blocks."""
    lines = [json.loads(line) for line in (folder / INDEX).read_text().splitlines()]
    return {line.get("epoch", line.get("public_digest")): line for line in lines}


def test_both_ends_sift_the_same_and_a_restarted_one_is_soon_back(tmp_path: Path) -> None:
    async def day() -> None:
        async with world() as (server, place):
            address = free_address()
            alices, bobs = (settings_of(name, tmp_path, place, address) for name in ("alice", "bob"))
            async with node(alices, tmp_path / "a") as alice:
                async with node(bobs, tmp_path / "b") as bob:
                    await until(lambda: sifted(alice, 4) and sifted(bob, 4))
                    link = link_of(alice)
                    assert link is not None
                    assert link.clock.offset_ps is not None
                    assert link.qber["total"].low < 0.02
                    await until(lambda: all(link_of(one).blocks for one in (alice, bob)))
                await until(lambda: link_of(alice).state == "ABSENT")
                assert link_of(alice).reason == "the peer said goodbye: the node stops"
                async with node(bobs, tmp_path / "b") as bob:
                    await until(lambda: sifted(bob, 2))
            # True time goes on in steps of ten milliseconds.
            await until(lambda: server.truth["lasers"][-1]["stop_s"] is not None)
            assert [one["side"] for one in server.truth["lasers"]] == ["alice"]

    asyncio.run(day())
    alice, bob = records(tmp_path / "a"), records(tmp_path / "b")
    common = alice.keys() & bob.keys()
    assert len(common) >= 6
    # What was in flight when an end stopped may be known to one end alone.
    assert len(alice.keys() ^ bob.keys()) <= 6
    for key in common:
        for name in ("bits", "basis", "tests", "clicks", "coincidences", "epochs", "public_digest"):
            assert alice[key].get(name) == bob[key].get(name), (key, name)
    assert (tmp_path / "alice" / "state" / "bob" / "lock.json").exists()
    assert not (tmp_path / "alice" / "run" / "control.sock").exists()


def test_terms_that_differ_are_named_and_nothing_is_sifted(tmp_path: Path) -> None:
    async def differ() -> None:
        async with world() as (_, place):
            address = free_address()
            alices = settings_of("alice", tmp_path, place, address)
            bobs = settings_of("bob", tmp_path, place, address, test_share=0.1)
            async with node(alices) as alice, node(bobs) as bob:
                await until(lambda: all(link_of(one) and link_of(one).state == "MISMATCH" for one in (alice, bob)))
                for one in (alice, bob):
                    assert "the link's terms differ in test_share" in link_of(one).reason
                    assert link_of(one).epochs == 0

    asyncio.run(differ())


def test_a_disk_that_hangs_does_not_hold_the_photons(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    released, held = threading.Event(), threading.Event()

    def hang(*_: object) -> None:
        held.set()
        released.wait()

    monkeypatch.setattr(lock_file, "replace_file", hang)

    async def go_on() -> None:
        async with world() as (_, place):
            address = free_address()
            alices, bobs = (settings_of(name, tmp_path, place, address) for name in ("alice", "bob"))
            async with node(alices) as alice, node(bobs):
                await until(held.is_set)
                before = link_of(alice).epochs
                await until(lambda: sifted(alice, before + 4))
                released.set()

    asyncio.run(go_on())


def test_a_node_starts_without_its_instruments_says_so_and_ends(tmp_path: Path) -> None:
    async def alone() -> None:
        settings = settings_of("alice", tmp_path, "tcp://127.0.0.1:9", free_address())
        async with node(settings) as daemon:
            await until(lambda: daemon.snapshot().node.state == "running")
            status = daemon.snapshot()
            assert {one.state for one in status.instruments.values()} <= {"ABSENT", "CONNECTING"}
            assert all(one.problem for one in status.instruments.values())
            assert link_of(daemon).state == "ABSENT"

    asyncio.run(alone())


def test_a_laser_that_is_to_stay_dark_does_so_over_a_restart_until_a_person_decides(tmp_path: Path) -> None:
    async def nights() -> None:
        async with world() as (_, place):
            settings = settings_of("alice", tmp_path, place, free_address())
            async with node(settings) as daemon:
                with pytest.raises(UsageError, match="gives no light"):
                    await daemon.light(on=True)
                await until(lambda: emits(daemon))
                await daemon.light(on=False)
                await until(lambda: "switched off" in (laser(daemon).problem or ""))
            async with node(settings) as daemon:
                await until(lambda: daemon.snapshot().node.state == "running")
                assert "switched off by the operator" in str(laser(daemon).problem)
                await daemon.resume("bob")
                assert not emits(daemon)
                await daemon.light(on=True)
                await until(lambda: emits(daemon))
            async with node(settings) as daemon:
                await until(lambda: emits(daemon))

    asyncio.run(nights())


def test_a_node_that_stops_while_its_laser_cannot_be_reached_starts_dark(tmp_path: Path) -> None:
    cable = Unplug(what="unplug", at_s=0.0, side="alice", device="laser")

    async def nights() -> None:
        async with world() as (server, place):
            settings = settings_of("alice", tmp_path, place, free_address())
            async with node(settings) as daemon:
                await until(lambda: emits(daemon))
                # It stops in the same turn of the loop: nobody has noticed.
                server.unplug(cable)
            server.plug(cable)
            async with node(settings) as daemon:
                await until(lambda: daemon.snapshot().node.state == "running" and laser(daemon).state == "READY")
                assert "not seen dark" in str(laser(daemon).problem)
                await daemon.light(on=True)
                await until(lambda: emits(daemon))

    asyncio.run(nights())


def test_killed_while_it_emitted_it_gives_light_again_only_if_the_laser_is_there_at_the_start(tmp_path: Path) -> None:
    line = tmp_path / "alice" / "state" / NAME
    cable = Unplug(what="unplug", at_s=0.0, side="alice", device="laser")

    async def nights() -> None:
        async with world() as (server, place):
            settings = settings_of("alice", tmp_path, place, free_address())
            async with node(settings) as daemon:
                await until(lambda: emits(daemon))
                assert line.read_text() == f"{EMITS}\n"
            assert not line.exists()
            # As a daemon leaves it that is killed.
            line.write_text(f"{EMITS}\n")
            async with node(settings) as daemon:
                await until(lambda: emits(daemon))
            line.write_text(f"{EMITS}\n")
            server.unplug(cable)
            async with node(settings) as daemon:
                await until(lambda: daemon.snapshot().node.state == "running")
                server.plug(cable)
                await until(lambda: laser(daemon).state == "READY")
                assert "was ended while its laser emitted" in str(laser(daemon).problem)
                assert not emits(daemon)
            # Now it is a doubt, which no laser that is there takes away.
            async with node(settings) as daemon:
                await until(lambda: daemon.snapshot().node.state == "running" and laser(daemon).state == "READY")
                assert "was ended while its laser emitted" in str(laser(daemon).problem)
                await daemon.light(on=True)
                await until(lambda: emits(daemon))

    asyncio.run(nights())


def test_a_controller_that_stays_short_of_its_position_gets_no_light_and_nothing_is_sifted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def stay_short() -> None:
        async with world() as (_, place):
            address = free_address()
            alices, bobs = (settings_of(name, tmp_path, place, address) for name in ("alice", "bob"))
            monkeypatch.setattr(turning, "TOLERANCE_DEG", -1.0)
            async with node(alices) as alice, node(bobs) as bob:
                await until(lambda: any("'key' is 0.00 deg" in event.text for event in alice.events(0)))
                assert not advice.is_well(alice.snapshot())
                assert "'key' is 0.00 deg" in str(alice.snapshot().instruments["polarization"].problem)
                assert not emits(alice)
                monkeypatch.setattr(turning, "TOLERANCE_DEG", 2.0)
                await until(lambda: emits(alice) and sifted(alice) and sifted(bob))
                assert alice.snapshot().instruments["polarization"].problem is None

    asyncio.run(stay_short())


def test_a_missing_key_is_a_config_error(tmp_path: Path) -> None:
    settings = settings_of("alice", tmp_path, "tcp://127.0.0.1:9", "tcp://127.0.0.1:9")
    (tmp_path / "keys" / "bob.key").unlink()
    with pytest.raises(ConfigError, match=r"bob\.key: peer_key"):
        asyncio.run(Daemon(settings, Path("alice.toml"), {}).run())


def test_a_daemon_that_may_not_run_touches_no_instrument(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A copied file with another run_dir; then a key file, and a key store, that cannot be used."""
    supervised: list[Devices] = []

    async def remember(devices: Devices) -> None:
        supervised.append(devices)

    monkeypatch.setattr(Devices, "run", remember)

    def refused(settings: NodeSettings, words: str) -> None:
        with pytest.raises(ConfigError, match=words):
            asyncio.run(Daemon(settings, Path("alice.toml"), {}).run())
        assert supervised == []

    settings = settings_of("alice", tmp_path, "tcp://127.0.0.1:9", free_address())
    with occupied(settings.node.state_dir):
        elsewhere = settings.node.model_copy(update={"run_dir": tmp_path / "copied"})
        copied = settings.model_copy(update={"node": elsewhere})
        refused(copied, rf"node\.state_dir: is in use by process {os.getpid()}; stop that daemon, or give this node a")
    new_secret(tmp_path / "kek", SEALING_KEY_BYTES)
    keeping = settings.model_copy(update={"keys": KeysSettings(kek=tmp_path / "kek")})
    (settings.node.state_dir / "keys.sqlite").write_bytes(b"a page of another book" * 100)
    (settings.node.state_dir / "keys.sqlite").chmod(0o600)
    refused(keeping, r"keys\.sqlite: key store: ")
    settings.links["bob"].secret_key.chmod(0o644)
    refused(settings, r"alice\.key_secret: secret_key: its mode is 0644")


def test_links_need_a_tagger(tmp_path: Path) -> None:
    settings = settings_of("alice", tmp_path, "tcp://127.0.0.1:9", free_address())
    without = settings.model_copy(update={"instruments": {}})
    with pytest.raises(ConfigError, match=r"alice\.toml: instruments\.tagger: is missing"):
        Daemon(without, Path("alice.toml"), {})
