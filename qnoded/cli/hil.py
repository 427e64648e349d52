"""Test a rig of instruments, emulated, recorded or real, and end dark whatever happens. See docs/hil.md.

  qnoded hil run hil/example.toml                          on emulated instruments: nothing can be harmed
  qnoded hil arm hil/bench.toml --level 4 --minutes 30     a person at the bench gives leave
  qnoded hil run hil/bench.toml --backend real --level 4
  qnoded hil safe hil/bench.toml                           everything dark now, without drivers
  qnoded hil guard hil/bench.toml -- qnoded run --config alice.toml
  qnoded hil record hil/bench.toml laser --out recordings
  qnoded hil run hil/bench.toml --backend replay --recordings recordings
  qnoded hil run hil/bench.toml --backend shadow          the real bench, its emulators compared with it

Exit codes: 0 all well, 1 a test failed or none could run, 2 wrong use, 3 an instrument is not there or not confirmed.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from qnoded.hil.rig import Rig

SUITE: Final = "qnoded.hil.suite"
LEVELS: Final = range(5)
DEFAULT_MIN: Final = 30.0
BACKENDS: Final = ("emulated", "replay", "real", "shadow")
EXIT_NO: Final = 1
EXIT_UNCONFIRMED: Final = 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``qnoded hil``."""
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    run = verbs.add_parser("run", help="run the suite, or tests of your own, on a rig")
    _rig(run)
    run.add_argument("tests", metavar="TEST", nargs="*", help="files or folders of pytest; absent: the suite of qnoded")
    run.add_argument("--backend", choices=BACKENDS, default="emulated", help="default: %(default)s")
    run.add_argument("--level", type=int, choices=LEVELS, default=1, help="hazard level on the real bench (default: 1)")
    run.add_argument("--recordings", metavar="DIR", type=Path, help="transcripts for --backend replay")
    run.add_argument("--report", metavar="DIR", type=Path, default=Path("out/hil"), help="default: %(default)s")
    run.add_argument("--only", metavar="WORDS", help="tests whose names match, as in pytest -k")
    arm = verbs.add_parser("arm", help="give leave for levels 3 and 4, at the bench")
    _rig(arm)
    arm.add_argument("--level", type=int, choices=(3, 4), required=True)
    arm.add_argument("--minutes", type=float, default=DEFAULT_MIN, help="how long (default: %(default)g)")
    _rig(verbs.add_parser("disarm", help="take leave back"))
    _rig(verbs.add_parser("check", help="check a rig file, and show what it says"))
    _rig(verbs.add_parser("safe", help="make everything safe by raw bytes, without drivers"))
    acknowledge = verbs.add_parser("acknowledge", help="let a device out of quarantine, after having looked at it")
    _rig(acknowledge)
    acknowledge.add_argument("device", metavar="DEVICE")
    guard = verbs.add_parser("guard", help="run a command that holds the rig's instruments under a guard")
    _rig(guard)
    guard.add_argument("--ledger", metavar="FILE", type=Path, default=Path("ledger.jsonl"), help="default: %(default)s")
    # The rest, but not before the command has begun: REMAINDER would take options that stand after the rig.
    guard.add_argument("words", metavar="-- COMMAND", nargs=argparse.PARSER, help="such as qnoded run --config FILE")
    record = verbs.add_parser("record", help="record a session with a real instrument, for --backend replay")
    _rig(record)
    record.add_argument("device", metavar="DEVICE")
    record.add_argument("--out", metavar="DIR", type=Path, required=True, help="gets DEVICE.jsonl")
    record.add_argument("--tcp", metavar="HOST:PORT", help="record another program's session, which connects here")


def run(args: argparse.Namespace) -> int:
    """Do what the verb says."""
    from qnoded.hil.rig import load_rig

    if args.verb == "run":
        return _run(args)
    rig = load_rig(args.rig)
    verbs = {
        "arm": _arm,
        "disarm": _disarm,
        "check": _check,
        "safe": _safe,
        "acknowledge": _acknowledge,
        "guard": _guard,
        "record": _record,
    }
    return verbs[args.verb](rig, args)


def _rig(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("rig", metavar="RIG", type=Path, help="the rig's file")


def _run(args: argparse.Namespace) -> int:
    from qnoded.cli import EXIT_INTERRUPTED
    from qnoded.errors import DependencyMissing, UsageError
    from qnoded.hil.rig import load_rig

    # What would fail in every test alike is told once, before any begins.
    load_rig(args.rig)
    if args.backend == "replay" and (args.recordings is None or not args.recordings.is_dir()):
        given = "is missing" if args.recordings is None else f"{args.recordings} is no folder"
        problem = f"--recordings {given}; give the folder of the transcripts that qnoded hil record has written"
        raise UsageError(problem)
    try:
        import pytest
    except ImportError:
        who, remedy = "qnoded hil run", "install it: pip install 'qnoded[hil]'"
        raise DependencyMissing(who, "pytest", remedy) from None
    words = ["-p", "qnoded.hil.plugin", "-p", "no:cacheprovider", "-p", "no:xdist", "--rootdir", str(Path.cwd())]
    words += ["--rig", str(args.rig), "--backend", args.backend, "--hil-level", str(args.level)]
    words += ["--hil-report", str(args.report), "--junitxml", str(args.report / "junit.xml"), "-rs"]
    words += ["--recordings", str(args.recordings)] if args.recordings else []
    words += ["-k", args.only] if args.only else []
    # Without a settings file: whatever stands in the folder where this is called is another project's.
    words += ["-c", "/dev/null", *(args.tests or ["--pyargs", SUITE])]
    code = int(pytest.main(words))
    if code == pytest.ExitCode.NO_TESTS_COLLECTED:
        return EXIT_NO
    if code == pytest.ExitCode.INTERRUPTED:
        return EXIT_INTERRUPTED
    return code if code in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED) else DependencyMissing.exit_code


def _arm(rig: Rig, args: argparse.Namespace) -> int:
    from qnoded.errors import UsageError
    from qnoded.hil.arming import LONGEST_MIN, arm

    if not 0.0 < args.minutes <= LONGEST_MIN:
        problem = f"--minutes {args.minutes:g} is not possible; use more than 0, up to {LONGEST_MIN}"
        raise UsageError(problem)
    station = rig.station
    print(f"station {station.name}; behind the lasers: {station.beam}; interlock: {station.interlock or 'none given'}")
    lasers = [one for one in rig.devices.values() if one.emits]
    for one in lasers:
        print(f"  {one.name}: {one.rig.driver}, serial {one.rig.serial}, up to {one.rig.max_power_dbm:g} dBm")
    print(
        f"level {args.level} for {args.minutes:g} min. Are you at the bench? Type the station's name: ",
        end="",
        flush=True,
    )
    try:
        typed = input()
    except EOFError:
        typed = ""
    if typed.strip() != station.name:
        problem = f"{typed.strip()!r} is not {station.name!r}: nothing is armed"
        raise UsageError(problem)
    print(f"armed: {arm(rig, args.level, args.minutes)}")
    return 0


def _disarm(rig: Rig, args: argparse.Namespace) -> int:
    from qnoded.hil.arming import disarm

    del args
    disarm(rig)
    print(f"{rig.station.name} is not armed")
    return 0


def _check(rig: Rig, args: argparse.Namespace) -> int:
    from qnoded.hil.arming import quarantined, why_not_armed

    del args
    print(f"{rig.file}: station {rig.station.name}, no mistakes")
    waiting = quarantined(rig)
    for one in rig.devices.values():
        ways = ", ".join(target.address for target in one.targets()) or "needs no guard"
        state = f"QUARANTINE: {waiting[one.name]}" if one.name in waiting else f"level {one.hazard}, guard: {ways}"
        print(f"  {one.name}: {one.rig.driver}, serial {one.rig.serial or 'any'}; {state}")
    print(f"  witness: {rig.witness.driver if rig.witness else 'none: safe states are not tested on the real bench'}")
    print(f"  armed: {why_not_armed(rig, 3) or 'yes'}")
    return 0


def _safe(rig: Rig, args: argparse.Namespace) -> int:
    from qnoded.hil.safing import make_all_safe

    del args
    targets = [target for one in rig.devices.values() for target in one.targets()]
    outcomes = make_all_safe(targets, rig.settings.guard.patience_s)
    for one in outcomes:
        print(f"{one.device}: {'safe' if one.confirmed else 'NOT CONFIRMED SAFE'} after {one.took_s:.3f} s: {one.said}")
    return 0 if all(one.confirmed for one in outcomes) else EXIT_UNCONFIRMED


def _acknowledge(rig: Rig, args: argparse.Namespace) -> int:
    from qnoded.hil.arming import acknowledge

    _demand_device(rig, args.device)
    was = acknowledge(rig, args.device)
    print(f"{args.device} {'is out of' if was else 'was not in'} quarantine")
    return 0 if was else EXIT_NO


def _guard(rig: Rig, args: argparse.Namespace) -> int:
    import sys

    from qnoded.errors import UsageError
    from qnoded.hil.arming import quarantine_unconfirmed
    from qnoded.hil.guard import Plan
    from qnoded.hil.guarding import read_ledger, run_guarded

    command = args.words[1:] if args.words[:1] == ["--"] else args.words
    ledger: Path = args.ledger.absolute()
    try:
        ledger.open("a").close()
    except OSError as error:
        problem = f"--ledger {args.ledger}: {error.strerror}; name a file that can be written"
        raise UsageError(problem) from None
    before = len(read_ledger(ledger))
    targets = tuple(target for one in rig.devices.values() for target in one.targets())
    code = run_guarded(Plan(targets, rig.settings.guard.silence_s, rig.settings.guard.patience_s, ledger), command)
    for name in quarantine_unconfirmed(rig, read_ledger(ledger)[before:], "guard"):
        print(f"{name}: NOT CONFIRMED SAFE, see {args.ledger}; it is in quarantine", file=sys.stderr)
    if code < 0:
        print(f"the guard was killed; its work was done in its place, see {args.ledger}", file=sys.stderr)
        return EXIT_UNCONFIRMED
    return code


def _record(rig: Rig, args: argparse.Namespace) -> int:
    import asyncio

    from qnoded.hil.recorder import record_session

    _demand_device(rig, args.device)
    args.out.mkdir(parents=True, exist_ok=True)
    file = args.out / f"{args.device}.jsonl"
    if args.tcp is not None:
        asyncio.run(_record_others(rig, args.device, file, args.tcp))
    else:
        print(asyncio.run(record_session(rig.devices[args.device], file)))
    print(f"recorded: {file}")
    return 0


def _demand_device(rig: Rig, name: str) -> None:
    from qnoded.errors import UsageError

    if name not in rig.devices:
        problem = f"the rig has no device {name!r}; it has {', '.join(rig.devices)}"
        raise UsageError(problem)


async def _record_others(rig: Rig, name: str, file: Path, text: str) -> None:
    """Stand for the instrument until a signal comes."""
    import asyncio
    import signal

    from qnoded.hil.recorder import port_of, teed
    from qnoded.instruments.transport import read_address
    from qnoded.testing.emulation import on_tcp

    device, here = rig.devices[name], read_address(f"tcp://{text}")
    stop = asyncio.Event()
    for one in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(one, stop.set)
    async with (
        teed(str(device.rig.settings["address"]), port_of(device), file) as tee,
        on_tcp(tee, here.host, here.port) as port,
    ):
        print(f"ready tcp://{here.host}:{port}", flush=True)
        await stop.wait()
