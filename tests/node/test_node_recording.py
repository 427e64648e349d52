"""Sifted bits on disk: only of simulated nodes, for nobody else's eyes, complete, and never in the way."""

from __future__ import annotations

import asyncio
import base64
import errno
import json
import threading
from dataclasses import replace
from io import FileIO
from pathlib import Path

import numpy as np
import pytest

from qnoded.errors import ConfigError
from qnoded.exchange import reports
from qnoded.exchange.reports import BlockSifted, EpochSifted
from qnoded.node import recording
from qnoded.node.disk import Disk
from qnoded.node.pool import Pool
from qnoded.node.recording import INDEX, MOST_WAITING, SiftedRecorder
from qnoded.node.tasks import background
from qnoded.records import SiftedEpoch
from qnoded.testing import virtual_time


def ignored(_level: str, _text: str) -> None: ...


BITS, BASIS = np.array([1, 0, 1, 1, 0, 0, 0, 1, 1], np.uint8), np.array([0, 1, 1, 0, 1, 0, 0, 0, 1], np.uint8)
TESTS = (reports.Tests("HV", 1, 20), reports.Tests("DA", 0, 18))
EPOCH = EpochSifted(7, SiftedEpoch(BITS, BASIS, "alice"), TESTS, (400, 300), 47, 0.5, bytes(32))
BLOCK = BlockSifted(3, (6, 7), SiftedEpoch(BITS, BASIS, "alice"), TESTS, b"\xab" * 32)


def test_epochs_and_blocks_can_be_read_back(tmp_path: Path) -> None:
    async def record() -> None:
        pool = Pool(1)
        recorder = SiftedRecorder(tmp_path / "made", Disk(pool, ignored), simulation=True)
        async with background(recorder.run()):
            recorder.add("something else")
            recorder.add(EPOCH)
            await asyncio.sleep(1)
        recorder.add(BLOCK)
        await recorder.finish()
        pool.close()

    virtual_time.run(record())
    epoch, block = (json.loads(line) for line in (tmp_path / "made" / INDEX).read_text().splitlines())
    packed = np.frombuffer(base64.b64decode(epoch["packed"]), np.uint8)
    np.testing.assert_array_equal(np.unpackbits(packed, count=epoch["bits"]), BITS)
    assert base64.b64decode(epoch["basis"]) == BASIS.tobytes()
    assert (epoch["epoch"], epoch["tests"]) == (7, [["HV", 1, 20], ["DA", 0, 18]])
    assert (block["block"], block["epochs"], block["public_digest"]) == (3, [6, 7], "ab" * 32)
    with np.load(tmp_path / "made" / block["file"]) as held:
        np.testing.assert_array_equal(held["bits"], BITS)
        np.testing.assert_array_equal(held["epochs"], [6, 7])
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "made").iterdir()} == {0o600}


def test_blocks_of_one_number_are_kept_apart(tmp_path: Path) -> None:
    async def restart() -> None:
        pool = Pool(1)
        recorder = SiftedRecorder(tmp_path, Disk(pool, ignored), simulation=True)
        recorder.add(BLOCK)
        recorder.add(replace(BLOCK, public_digest=b"\xcd" * 32))
        await recorder.finish()
        pool.close()

    virtual_time.run(restart())
    assert len(list(tmp_path.glob("block-*.npz"))) == 2


def test_a_node_that_makes_real_key_refuses(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--record-sifted: sifted bits of real instruments are never written"):
        SiftedRecorder(tmp_path / "made", Disk(Pool(1), ignored), simulation=False)
    assert not (tmp_path / "made").exists()


def test_a_folder_that_cannot_be_made_is_a_config_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="give a folder that this user may write"):
        SiftedRecorder(tmp_path / "file" / "made", Disk(Pool(1), ignored), simulation=True)


def test_a_disk_that_hangs_leaves_records_out_and_says_so_once(tmp_path: Path) -> None:
    released, told = threading.Event(), list[str]()

    async def record() -> int:
        pool = Pool(1)
        recorder = SiftedRecorder(tmp_path, Disk(pool, lambda _level, text: told.append(text)), simulation=True)
        holding = asyncio.ensure_future(pool.write(released.wait))
        for _ in range(MOST_WAITING + 5):
            recorder.add(EPOCH)
        released.set()
        await holding
        await recorder.finish()
        pool.close()
        return recorder.left_out

    assert virtual_time.run(record()) == 5
    assert told[0].startswith("the disk is too slow for --record-sifted")
    assert told[1:] == ["sifted bits for --record-sifted can be written again"]
    assert len((tmp_path / INDEX).read_text().splitlines()) == MOST_WAITING


def test_a_full_disk_leaves_no_half_line_and_no_half_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk takes half of what it is given, then nothing; once there is room again, the record goes on."""
    told: list[str] = []

    def half(file: FileIO, content: bytes) -> None:
        file.write(content[: len(content) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")

    def no_room(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    async def record() -> None:
        pool = Pool(1)
        recorder = SiftedRecorder(tmp_path, Disk(pool, lambda _level, text: told.append(text)), simulation=True)
        recorder.add(EPOCH)
        await recorder.finish()
        with monkeypatch.context() as full:
            full.setattr(recording, "write_all", half)
            full.setattr(np, "savez", no_room)
            for report in (EPOCH, BLOCK, EPOCH):
                recorder.add(report)
            await recorder.finish()
        assert recorder.left_out == 3
        recorder.add(BLOCK)
        await recorder.finish()
        pool.close()

    virtual_time.run(record())
    lines = [json.loads(line) for line in (tmp_path / INDEX).read_text().splitlines()]
    assert [line.get("epoch", line.get("block")) for line in lines] == [7, 3]
    assert len(list(tmp_path.glob("block-*"))) == 1
    first, second = told
    assert first.endswith("No space left on device: make room on it; they are left out of the record")
    assert second == "sifted bits for --record-sifted can be written again"
