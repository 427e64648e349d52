"""The driver in docs/drivers.md works: it is taken from the page as it stands and keeps the whole contract."""

from __future__ import annotations

import asyncio
import re
import types
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from qnoded.testing import contract
from qnoded.testing.relay import relay

PAGE = (Path(__file__).parents[2] / "docs" / "drivers.md").read_text(encoding="utf-8")
MOST_LINES = 100


def code_blocks() -> list[str]:
    return re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)


def driver_of_the_page() -> Any:
    module = types.ModuleType("acme_qnoded")
    exec(compile(code_blocks()[0], "docs/drivers.md", "exec"), module.__dict__)
    return module


ACME = driver_of_the_page()


async def _laser(state: dict[str, str], reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer as the manual says."""
    try:
        while question := (await reader.readline()).decode().strip():
            match question.split():
                case ["*IDN?"]:
                    answer = "ACME,CW-1,SN42,1.0"
                case ["OUT", value]:
                    state["OUT"], answer = value, "OK"
                case ["POW", value] if -10.0 <= float(value) <= 10.0:
                    state["POW"], answer = value, "OK"
                case ["OUT?" | "POW?" as name]:
                    answer = state[name.rstrip("?")]
                case _:
                    answer = "ERR 1"
            writer.write(f"{answer}\n".encode())
    except ConnectionError:
        pass
    finally:
        writer.close()


@asynccontextmanager
async def bench() -> AsyncIterator[contract.Bench]:
    state = {"OUT": "0", "POW": "-10.00"}
    server = await asyncio.start_server(lambda *streams: _laser(state, *streams), "127.0.0.1", 0)
    async with relay("127.0.0.1", server.sockets[0].getsockname()[1]) as cable:
        settings = ACME.AcmeLaserSettings(host="127.0.0.1", port=cable.port)
        yield contract.Bench(settings, cable.cut, cable.restore)
    server.close()


@pytest.mark.parametrize("check", contract.checks(ACME.AcmeLaser), ids=contract.name)
def test_the_driver_of_the_page_keeps_the_contract(check: contract.Check) -> None:
    contract.verify(check, ACME.AcmeLaser, bench)


def test_it_is_short() -> None:
    assert len([line for line in code_blocks()[0].splitlines() if line.strip()]) < MOST_LINES


def test_all_code_of_the_page_compiles() -> None:
    for block in code_blocks():
        compile(block, "docs/drivers.md", "exec")
