"""The pytest plug-in: a rig's devices and the safe-state matrix as parameters of tests, hazard levels as a gate.

    pytest -p qnoded.hil.plugin --rig hil/example.toml --backend emulated my_tests/

A test that takes ``device`` runs once for each device of the rig (of the kinds in its marker ``kinds``), one that takes
``check`` as well once for each rule of the driver's contract, one that takes ``row`` once for each way to fail. ``hil``
gives it its bench and takes its measurements. On a real bench each test needs the level in its marker ``level``, or
that of the device; what may not run is skipped, with the reason.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest

from qnoded.errors import QnodedError
from qnoded.hil.arming import quarantine_unconfirmed, quarantined, why_not_armed
from qnoded.hil.benches import BACKENDS, ON_HARDWARE, Backend, Bench, check_unit, standing
from qnoded.hil.guarding import read_ledger
from qnoded.hil.matrix import MATRIX
from qnoded.hil.report import Report, Verdict, write_html
from qnoded.hil.rig import HIGHEST_LEVEL, Rig, load_rig
from qnoded.hil.twin import Twin
from qnoded.testing import contract

RIG: Final = pytest.StashKey[Rig]()
REPORT: Final = pytest.StashKey[Report]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the options of a rig."""
    group = parser.getgroup("hil", "hardware in the loop")
    group.addoption("--rig", metavar="FILE", type=Path, help="the rig file; see docs/hil.md")
    group.addoption("--backend", choices=BACKENDS, default="emulated", help="what stands for the instruments")
    group.addoption(
        "--hil-level",
        metavar="N",
        type=int,
        choices=range(HIGHEST_LEVEL + 1),
        default=1,
        help="on the real bench: 1 read only, 2 moves, 3 emission, 4 fault injection (default: %(default)s)",
    )
    group.addoption("--recordings", metavar="DIR", type=Path, help="transcripts for --backend replay")
    group.addoption("--hil-report", metavar="DIR", type=Path, default=Path("out/hil"), help="where the report goes")


def pytest_configure(config: pytest.Config) -> None:
    """Read the rig."""
    config.addinivalue_line("markers", "level(n): hazard level that the test needs on a real bench")
    config.addinivalue_line("markers", "kinds(*names): kinds of instruments that the test is for")
    file: Path | None = config.getoption("--rig")
    if file is None:
        problem = "--rig FILE is missing; see docs/hil.md"
        raise pytest.UsageError(problem)
    try:
        rig = load_rig(file)
    except QnodedError as error:
        raise pytest.UsageError(str(error)) from None
    folder: Path = config.getoption("--hil-report").absolute()
    folder.mkdir(parents=True, exist_ok=True)
    for old in ("results.jsonl", "ledger.jsonl"):
        (folder / old).unlink(missing_ok=True)
    config.stash[RIG] = rig
    config.stash[REPORT] = Report(rig, config.getoption("--backend"), config.getoption("--hil-level"), folder)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test once for each device of the rig, and for each rule or way to fail."""
    if "device" not in metafunc.fixturenames:
        return
    rig = metafunc.config.stash[RIG]
    marker = metafunc.definition.get_closest_marker("kinds")
    devices = [one for one in rig.devices.values() if marker is None or one.binding.kind in marker.args]
    if "check" in metafunc.fixturenames:
        pairs = [(one.name, check) for one in devices for check in contract.checks(one.binding.driver_class)]
        names = [f"{name}-{contract.name(check)}" for name, check in pairs]
        metafunc.parametrize(("device", "check"), pairs, ids=names)
    elif "row" in metafunc.fixturenames:
        rows = [(one.name, row) for one in devices for row in MATRIX]
        metafunc.parametrize(("device", "row"), rows, ids=[f"{name}-{row.name}" for name, row in rows])
    else:
        metafunc.parametrize("device", [one.name for one in devices])


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what may not run here, and fail what must not be touched."""
    if item.config.getoption("--backend") not in ON_HARDWARE:
        return
    rig, name = item.config.stash[RIG], _device(item)
    if name is not None and (why := quarantined(rig).get(name)):
        pytest.fail(f"{name} is in quarantine ({why}); look at it, then qnoded hil acknowledge {rig.file} {name}")
    marker = item.get_closest_marker("level")
    level = int(marker.args[0]) if marker else rig.devices[name].hazard if name else HIGHEST_LEVEL
    allowed = item.config.getoption("--hil-level")
    if level > allowed:
        pytest.skip(f"needs hazard level {level}, this run may go to {allowed}")
    if (why := why_not_armed(rig, level)) is not None:
        pytest.skip(why)
    emits = name is not None and rig.devices[name].emits
    if emits and level > 1 and rig.devices[str(name)].rig.serial is None:
        pytest.skip(f"devices.{name}.serial is missing: no laser is used without knowing which one it is")


class Hil:
    """What a test has of its rig; the fixture ``hil``."""

    def __init__(self, config: pytest.Config, test: str, folder: Path) -> None:
        self.rig = config.stash[RIG]
        self.report = config.stash[REPORT]
        self.folder = folder
        """Of this test alone."""
        self._test = test
        self._recordings: Path | None = config.getoption("--recordings")
        self._twins: dict[str, Twin] = {}

    @property
    def backend(self) -> Backend:
        """What stands for the instruments."""
        return self.report.backend

    @property
    def ledger(self) -> Path:
        """Safe-state ledger of the run."""
        return self.report.folder / "ledger.jsonl"

    @asynccontextmanager
    async def standing(self, device: str, *, stranger: bool = False, alone: bool = False) -> AsyncIterator[Bench]:
        """Give a device, ready to be connected.

        Parameters
        ----------
        stranger
            Whether a unit that the rig file does not mean will do, for a test that only asks who it is.
        alone
            Whether no twin follows it, for a test that looks at the clock.

        Raises
        ------
        InstrumentFault
            If it is another unit, or one that cannot keep the bench's limits; it was asked who it is, and made safe.
        """
        async with standing(self.rig, device, self.backend, self._recordings) as bench:
            if not stranger and self.backend in ON_HARDWARE and device not in self.report.known:
                await check_unit(bench.device)
                self.report.known.add(device)
            if self.backend != "shadow" or alone:
                yield bench
                return
            twin = self._twin_of(device)
            binding = replace(bench.device.binding, driver_class=twin.driver)
            async with twin.living():
                yield replace(bench, device=replace(bench.device, binding=binding))

    def driver(self, device: str) -> type[Any]:
        """Return the class of a device's driver, of whose calls a twin hears where there is one."""
        if self.backend == "shadow":
            return self._twin_of(device).driver
        return self.rig.devices[device].binding.driver_class

    def _twin_of(self, device: str) -> Twin:
        if device not in self._twins:
            self._twins[device] = Twin(self.rig, self.rig.devices[device])
        return self._twins[device]

    def contract_bench(self, device: str) -> Callable[[], AbstractAsyncContextManager[contract.Bench]]:
        """Return what the contract suite needs of a device."""

        @asynccontextmanager
        async def bench() -> AsyncIterator[contract.Bench]:
            async with self.standing(device) as stand:
                pulled = (stand.cut, stand.restore) if stand.cables else (None, None)
                yield contract.Bench(stand.device.binding.settings, *pulled)

        return bench

    def note_twins(self) -> None:
        """Write down where twins differed, each place once."""
        for device, twin in self._twins.items():
            for one in {one.what: one for one in twin.differences}.values():
                line = {"device": device, "what": one.what, "real": one.real, "emulated": one.twin}
                self.report.note(self._test, line | {"tolerance": one.tolerance})
            self.report.compared += twin.compared

    def measured(self, what: str, value: float | str, unit: str, limit: str, *, holds: bool) -> None:
        """Write a measurement into the report, before the test says what it thinks of it."""
        self.report.note(self._test, {"measured": what, "value": value, "unit": unit, "limit": limit, "holds": holds})


@pytest.fixture
def hil(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Hil]:
    """Bench and measurements of this test; what was not confirmed safe in it goes into quarantine."""
    mine = Hil(request.config, request.node.name, tmp_path)
    before = len(read_ledger(mine.ledger))
    yield mine
    mine.note_twins()
    if mine.backend in ON_HARDWARE:
        quarantine_unconfirmed(mine.rig, read_ledger(mine.ledger)[before:], request.node.name)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Any:
    """Note what became of each test, and turn what an instrument could not do into one line."""
    made: pytest.TestReport = yield
    if made.when == "call" or made.outcome != "passed":
        words = ""
        if made.outcome == "skipped" and isinstance(made.longrepr, tuple):
            words = made.longrepr[2].removeprefix("Skipped: ")
        elif made.outcome == "failed":
            words = _last_line(made)
        item.config.stash[REPORT].add(Verdict(item.name, _device(item), made.outcome, round(made.duration, 3), words))
    return made


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write the page."""
    if REPORT in session.config.stash:
        report = session.config.stash[REPORT]
        write_html(report, datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"))


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Say where the report is, and the bounds that were kept."""
    report = config.stash[REPORT]
    if report.backend == "shadow":
        terminalreporter.section("twin")
        for line in report.twin:
            shown = f"{line['what']} is {line['real']}, the twin says {line['emulated']}"
            terminalreporter.write_line(f"the twin differs: {shown}  {line['test']}")
        terminalreporter.write_line(f"{report.compared} answers compared, {len(report.twin)} places differ")
    terminalreporter.section("safe states")
    for line in report.measurements("time to safe"):
        verdict = "" if line["holds"] else "  BROKEN"
        terminalreporter.write_line(f"{line['value']:8.3f} s  {line['limit']:<60}  {line['test']}{verdict}")
    terminalreporter.write_line(f"report: {report.folder / 'report.html'}")


def _device(item: pytest.Item) -> str | None:
    call = getattr(item, "callspec", None)
    return None if call is None else call.params.get("device")


def _last_line(made: pytest.TestReport) -> str:
    crash = getattr(made.longrepr, "reprcrash", None)
    text = getattr(crash, "message", None) or str(made.longrepr)
    return text.strip().splitlines()[0] if text.strip() else "failed"
