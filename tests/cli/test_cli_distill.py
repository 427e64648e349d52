"""``qnoded distill``: real and made bits to keys, packed files, secrets kept, every refusal named."""

from __future__ import annotations

import argparse
import json
import stat
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from qnoded.cli import distill, main
from qnoded.exchange.distilling import Agreement
from qnoded.stages.key_length.block import SecurityBudget, SiftedCounts, block_key_length

KEYS = {
    "equal", "bits", "errors", "qber", "efficiency", "leaked_bits", "rounds", "secret_bits", "eps_sec", "eps_cor",
    "method", "elapsed_s",
}  # fmt: skip


def call(*words: str | Path) -> int:
    parser = argparse.ArgumentParser()
    distill.add_arguments(parser)
    return distill.run(parser.parse_args([str(word) for word in words]))


def bits_of(n: int, rate: float, seed: int = 1) -> tuple[np.ndarray, np.ndarray, int]:
    rng = np.random.default_rng(seed)
    alice = rng.integers(0, 2, n, np.uint8)
    wrong = (rng.random(n) < rate).astype(np.uint8)
    return alice, alice ^ wrong, int(wrong.sum())


def written(folder: Path, n: int, rate: float) -> tuple[Path, Path, int]:
    """Write both ends' bits as text, one a line at alice and 60 a line at bob."""
    alice, bob, errors = bits_of(n, rate)
    text = "".join(map(str, bob))
    (folder / "alice.txt").write_text("\n".join(map(str, alice)) + "\n", encoding="ascii")
    (folder / "bob.txt").write_text("\r\n".join(text[i : i + 60] for i in range(0, n, 60)), encoding="ascii")
    return folder / "alice.txt", folder / "bob.txt", errors


def document(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(capsys.readouterr().out)
    return told


@pytest.mark.parametrize("leak", ["alice", "transcript"])
def test_recorded_link(recordings: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path, leak: str) -> None:
    """Two real ends, 74,800 bits, 2,279 errors: equal keys as long as the bound says, f below 1.10."""
    folder = recordings / "jku_sifted_keys"
    assert call(folder / "alice.txt", folder / "bob.txt", "--json", "--leak", leak, "--out", tmp_path / "keys") == 0
    told = document(capsys)
    assert set(told) >= KEYS
    assert told["equal"] is True
    assert (told["bits"], told["errors"]) == (74_800, 2_279)
    assert told["qber"] == pytest.approx(0.030468, abs=1e-6)
    assert told["efficiency"] < (1.10 if leak == "alice" else 2.20)
    assert told["test_bits"] + told["corrected_bits"] == 74_800
    counts = SiftedCounts(told["corrected_bits"], told["test_bits"], told["test_errors"], told["leaked_bits"])
    budget = Agreement(1, budget=SecurityBudget(told["eps_sec"], told["eps_cor"])).at_length(counts.n_key).budget
    assert told["secret_bits"] == block_key_length(counts, budget, tolerance=None).bits
    assert told["secret_bits"] > (23_000 if leak == "alice" else 10_000)
    keys = [(tmp_path / "keys" / f"{side}.key").read_bytes() for side in ("alice", "bob")]
    assert keys[0] == keys[1]
    assert len(keys[0]) == -(-told["secret_bits"] // 8)


def test_small_block_has_a_key(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """10,000 sifted bits at 2 %, eps 1e-10: a positive key, printed for a person and never itself printed."""
    alice, bob, errors = written(tmp_path, 10_000, 0.02)
    assert call(alice, bob, "--planned-qber", "0.02", "--out", tmp_path / "keys") == 0
    report = capsys.readouterr().out
    assert f"{errors:,} errors" in report
    assert "This rests on:" in report
    assert "SIMULATED" not in report
    key = tmp_path / "keys" / "alice.key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    content = key.read_bytes()
    assert len(content) > 150
    assert content.hex() not in report
    assert json.loads((tmp_path / "keys" / "key.json").read_text(encoding="utf-8"))["simulated"] is False


def test_a_key_is_never_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    alice, bob, _ = written(tmp_path, 10_000, 0.01)
    assert main(["distill", str(alice), str(bob), "--out", str(tmp_path)]) == 0
    before = (tmp_path / "alice.key").read_bytes()
    assert main(["distill", str(alice), str(bob), "--out", str(tmp_path)]) == 2
    assert "never overwritten" in capsys.readouterr().err
    assert (tmp_path / "alice.key").read_bytes() == before


def test_simulated_bits_stay_simulated(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    alice, bob, _ = written(tmp_path, 10_000, 0.01)
    (tmp_path / "sifted.json").write_text('{"simulated": true}', encoding="utf-8")
    assert call(alice, bob, "--out", tmp_path / "keys") == 0
    assert "SIMULATED" in capsys.readouterr().out
    assert json.loads((tmp_path / "keys" / "key.json").read_text(encoding="utf-8"))["simulated"] is True
    (tmp_path / "sifted.json").write_text("[]", encoding="utf-8")
    assert main(["distill", str(alice), str(bob)]) == 2


@pytest.mark.parametrize("suffix", ["bin", "npy"])
def test_packed_files(tmp_path: Path, capsys: pytest.CaptureFixture[str], suffix: str) -> None:
    paths = []
    alice, bob, errors = bits_of(10_003, 0.01)
    for side, bits in (("alice", alice), ("bob", bob)):
        paths.append(tmp_path / f"{side}.{suffix}")
        if suffix == "npy":
            np.save(paths[-1], np.packbits(bits))
        else:
            paths[-1].write_bytes(np.packbits(bits).tobytes())
    assert call(*paths, "--bits", "10003", "--json") == 0
    told = document(capsys)
    assert (told["bits"], told["errors"]) == (10_003, errors)
    for wrong in ([], ["--bits", "0"], ["--bits", "10002"], ["--bits", "10009"], ["--bits", "5000"]):
        assert main(["distill", *map(str, paths), *wrong]) == 2
    assert "packed" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("bits", "rate", "words"),
    [(2_000, 0.03, "more sifted bits"), (20_000, 0.115, "no block holds a key"), (4_000, 0.5, "test bits are wrong")],
)
def test_no_key_is_a_result(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], bits: int, rate: float, words: str
) -> None:
    alice, bob, _ = written(tmp_path, bits, rate)
    assert call(alice, bob, "--json", "--out", tmp_path / "keys") == 1
    told = document(capsys)
    assert told["secret_bits"] == 0
    assert words in told["advice"]
    assert told["reason"]
    assert not (tmp_path / "keys").exists()
    assert call(alice, bob) == 1
    assert f"no key: {told['reason']}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("alice", "bob", "words"),
    [
        (b"0101\n" * 50, b"0101\n" * 51, "200 sifted bits, bob 204"),
        (b"0101\n" * 50, b"0121\n" * 50, "byte 2"),
        (b"", b"0101", "holds no bit"),
        (b" \n ", b"0101", "holds no bit"),
        (b"0101", b"0101", "4 sifted bits are too few"),
        (b"\xff\xfe\x00", b"0101", "neither 0, 1 nor white space"),
    ],
)
def test_files_that_cannot_be_used(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], alice: bytes, bob: bytes, words: str
) -> None:
    (tmp_path / "a").write_bytes(alice)
    (tmp_path / "b").write_bytes(bob)
    assert main(["distill", str(tmp_path / "a"), str(tmp_path / "b")]) == 2
    assert words in capsys.readouterr().err


def test_words_that_cannot_be_used(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    alice, bob, _ = written(tmp_path, 1_000, 0.01)
    for words, said in [
        (["--method", "magic"], "magic"),
        (["--eps-sec", "2"], "eps_sec"),
        (["--eps-cor", "1e-60"], "digest"),
        (["--planned-qber", "0.7"], "0.7"),
        (["--bits", "999"], "999"),
    ]:
        assert main(["distill", str(alice), str(bob), *words]) == 2
        assert said in capsys.readouterr().err
    assert main(["distill", str(tmp_path / "nothing"), str(bob)]) == 2
    capsys.readouterr()
    assert main(["distill", str(alice), str(alice)]) == 2
    assert "alice.txt was given for both alice and bob; give what alice and what bob" in capsys.readouterr().err
    assert main(["distill", str(tmp_path), str(bob)]) == 2
    (tmp_path / "a.npy").write_bytes(b"\x93NUMPY broken")
    assert main(["distill", str(tmp_path / "a.npy"), str(bob), "--bits", "1000"]) == 2
    assert "npy" in capsys.readouterr().err
